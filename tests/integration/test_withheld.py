"""A delivery that contradicts itself: readers keep the last good version, and everybody who looks is told why."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from orchestration.checks import data_quality
from orchestration.settings import Settings
from orchestration.storage.publish import current_manifest
from orchestration.storage.records import read_reason
from tests.jobs import ClockedSettings, published, read_status, refresh_and_read, small_seeds

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
DAYS = [dt.date(2026, 1, day) for day in (20, 21, 22, 23, 26, 27, 28, 29, 30)]


def deliver(folder: Path, adjusted: Sequence[float]) -> None:
    lines = [f"{day},{100 + i},{a}" for i, (day, a) in enumerate(zip(DAYS, adjusted, strict=True))]
    (folder / "AAA.csv").write_text("Date,Close,Adj Close\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("real_dbt", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_bad_delivery_is_withheld_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_dbt: bool
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    drop = tmp_path / "drop"
    drop.mkdir()
    settings = ClockedSettings(
        source="files", home=tmp_path / "home", files=drop, seeds=small_seeds(tmp_path / "seeds", "AAA"), moment=NOW
    )
    good = [100.0 + i for i in range(len(DAYS))]
    deliver(drop, good)
    assert refresh_and_read(settings)[0]
    first = current_manifest(settings.published_dir)
    assert first is not None
    assert "withheld" not in read_status(settings)

    # The vendor mixes adjusted with unadjusted prices: its adjusted closes tell other returns than its closes.
    deliver(drop, [a * (1.5 if i % 2 else 1) for i, a in enumerate(good)])
    success, said = refresh_and_read(settings, real_dbt)
    assert not success
    assert "vendor_adjustment_agrees" in said
    assert "failed dbt_models: " in said
    assert f"Readers keep the last published version: 1 of {first.published_at}." in said
    assert "What stopped it: orewatch status" in said
    assert "The latest build was withheld from readers on 20" in read_status(settings)
    assert "a model or a blocking data test failed: vendor_adjustment_agrees" in read_status(settings)
    assert current_manifest(settings.published_dir) == first
    assert published(settings, "select max(adj_close) as a from daily_bars") == [{"a": 108.0}]
    with dg.DagsterInstance.get() as instance:
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("int_adjusted_close"), "vendor_adjustment_agrees"), limit=1
        )
    evaluation = records[0].event.asset_check_evaluation if records and records[0].event else None
    assert evaluation is not None
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)

    # It delivers properly again: published, and nothing is withheld any more.
    deliver(drop, good)
    assert refresh_and_read(settings)[0]
    manifest = current_manifest(settings.published_dir)
    assert manifest is not None
    assert manifest.version == 2
    assert "withheld" not in read_status(settings)


def test_a_check_that_stops_says_what_readers_keep(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    stopped = dg.AssetCheckResult(
        asset_key=data_quality.COVERAGE,
        check_name="fresh",
        passed=False,
        description="30 instruments are behind",
        metadata={"n": 1},
    )
    warned = dg.AssetCheckResult(
        asset_key=data_quality.COVERAGE, check_name="no_gaps", passed=False, severity=dg.AssetCheckSeverity.WARN
    )
    assert data_quality.with_what_readers_keep(settings, warned) is warned
    told = data_quality.with_what_readers_keep(settings, stopped)
    assert (told.passed, told.check_name, told.description) == (False, "fresh", "30 instruments are behind")
    assert told.metadata["n"].value == 1
    assert told.metadata["readers_keep"].value == "nothing: there is no version yet"

    data_quality.record_audit(settings, [warned])
    assert read_reason(settings.withheld_record) is None
    data_quality.record_audit(settings, [warned, stopped])
    reason = read_reason(settings.withheld_record)
    assert reason is not None
    assert reason[0] == "fresh: 30 instruments are behind"
    settings.withheld_record.write_text("{")
    assert read_reason(settings.withheld_record) is None
