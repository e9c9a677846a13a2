"""A delivery that contradicts itself: readers keep the last good version, and everybody who looks is told why."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from orchestration.ingest.lake import BARS, Lake
from orchestration.publish import audit as data_quality
from orchestration.publish import gate
from orchestration.publish.manifest import current_manifest
from orchestration.settings import Settings
from orchestration.transform.build_state import BuildState
from tests.jobs import ClockedSettings, published, read_status, refresh_and_read, small_seeds

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
DAYS = [dt.date(2026, 1, day) for day in (20, 21, 22, 23, 26, 27, 28, 29, 30)]


GOOD = [100.0 + i for i in range(len(DAYS))]


def deliver(folder: Path, adjusted: Sequence[float], symbol: str = "AAA") -> None:
    lines = [f"{day},{100 + i},{a}" for i, (day, a) in enumerate(zip(DAYS, adjusted, strict=False))]
    (folder / f"{symbol}.csv").write_text("Date,Close,Adj Close\n" + "\n".join(lines) + "\n")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClockedSettings:
    """A home with two instruments, published once but for the last session."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    drop = tmp_path / "drop"
    drop.mkdir()
    for symbol in ("AAA", "BBB"):
        deliver(drop, GOOD[:-1], symbol)
    settings = ClockedSettings(
        source="files",
        home=tmp_path / "home",
        files=drop,
        seeds=small_seeds(tmp_path / "seeds", "AAA", "BBB"),
        moment=NOW,
    )
    assert refresh_and_read(settings)[0]
    return settings


def test_a_delivery_that_contradicts_itself_is_named_and_the_others_are_published(settings: ClockedSettings) -> None:
    # The vendor mixes adjusted with unadjusted prices: its adjusted closes tell other returns than its closes.
    deliver(settings.drop_folder(), [a * (1.5 if i % 2 else 1) for i, a in enumerate(GOOD)])
    deliver(settings.drop_folder(), GOOD, "BBB")
    success, said = refresh_and_read(settings)
    assert success
    assert "AAA: adjusted closes contradict closes and dividends over 8 sessions, the first 2026-01-21" in said
    assert "leave out its Adj Close" in said
    assert "inconsistent" in read_status(settings)
    last = "select symbol, max(session_date) as day, max(adj_close) as a from daily_bars group by 1 order by 1"
    assert published(settings, last) == [
        {"symbol": "AAA", "day": DAYS[-2], "a": 107.0},
        {"symbol": "BBB", "day": DAYS[-1], "a": 108.0},
    ]
    # It delivers properly again, and nobody has to do anything.
    deliver(settings.drop_folder(), GOOD)
    assert refresh_and_read(settings)[0]
    assert published(settings, last)[0] == {"symbol": "AAA", "day": DAYS[-1], "a": 108.0}
    assert "inconsistent" not in read_status(settings)


def write_impossible(settings: ClockedSettings, symbols: Sequence[str]) -> None:
    """Write into the lake what no delivery brings past the door, of sessions that files do not correct."""
    for symbol in symbols:
        file = settings.drop_folder() / f"{symbol}.csv"
        header, *lines = file.read_text().splitlines()
        file.write_text("\n".join([header, *lines[5:]]) + "\n")
    lake = Lake(settings.paths.lake)
    bars = lake.newest_bars(symbols).to_pandas().query("session_date < @DAYS[5]")
    later = {"observed_at": bars["observed_at"] + dt.timedelta(seconds=1), "batch_id": "by-hand", "open": 1.0}
    impossible = bars.assign(**later, high=2.0, low=1.0, bar_quality="ok")
    lake.append("bars", pa.Table.from_pandas(impossible, schema=BARS, preserve_index=False), "by-hand", 0)


@pytest.mark.parametrize("real_dbt", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_a_data_test_finds_in_one_instrument_is_held_back(settings: ClockedSettings, real_dbt: bool) -> None:
    content = "select * exclude (observed_at) from daily_bars where symbol = 'AAA' order by session_date"
    before = published(settings, content)
    write_impossible(settings, ["AAA"])
    deliver(settings.drop_folder(), GOOD, "BBB")
    success, said = refresh_and_read(settings, real_dbt)
    assert success
    assert "AAA" in said
    assert "ohlc_is_possible" in said
    assert "AAA is held back: its latest bars failed ohlc_is_possible (5)" in read_status(settings)
    last = "select symbol, max(session_date) as day from daily_bars group by 1 order by 1"
    assert published(settings, last) == [{"symbol": "AAA", "day": DAYS[-2]}, {"symbol": "BBB", "day": DAYS[-1]}]
    assert published(settings, content) == before
    held = "select symbol, held_back from data_coverage where held_back is not null"
    assert published(settings, held) == [{"symbol": "AAA", "held_back": "ohlc_is_possible (5)"}]
    assert published(settings, "select * from price_revisions") == []
    # It stays so while nothing new of it comes, and heals by itself.
    assert refresh_and_read(settings, real_dbt)[0]
    assert published(settings, held) != []
    deliver(settings.drop_folder(), GOOD)
    assert refresh_and_read(settings, real_dbt)[0]
    assert published(settings, held) == []
    assert published(settings, last)[0] == {"symbol": "AAA", "day": DAYS[-1]}
    assert "held back" not in read_status(settings)


@pytest.mark.parametrize("real_dbt", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_build_that_fails_a_data_test_is_withheld_and_says_so(settings: ClockedSettings, real_dbt: bool) -> None:
    first = current_manifest(settings.paths.published)
    assert first is not None
    assert "withheld" not in read_status(settings)

    write_impossible(settings, ["AAA", "BBB"])
    success, said = refresh_and_read(settings, real_dbt)
    assert not success
    assert "ohlc_is_possible" in said
    assert "failed dbt_models: " in said
    assert f"Readers keep the last published version: 1 of {first.published_at}." in said
    assert "What stopped it: orewatch status" in said
    assert "The latest build was withheld from readers on 20" in read_status(settings)
    assert "a model or a blocking data test failed: ohlc_is_possible" in read_status(settings)
    assert current_manifest(settings.paths.published) == first
    with dg.DagsterInstance.get() as instance:
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("daily_bars"), "ohlc_is_possible"), limit=1
        )
    evaluation = records[0].event.asset_check_evaluation if records and records[0].event else None
    assert evaluation is not None
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)

    # What was written by hand is taken back: published, and nothing is withheld any more.
    for path in (settings.paths.lake / "bars").glob("by-hand*.parquet"):
        path.unlink()
    deliver(settings.drop_folder(), GOOD)
    assert refresh_and_read(settings)[0]
    manifest = current_manifest(settings.paths.published)
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
    assert data_quality.with_what_readers_keep(settings.paths.published, warned) is warned
    told = data_quality.with_what_readers_keep(settings.paths.published, stopped)
    assert (told.passed, told.check_name, told.description) == (False, "fresh", "30 instruments are behind")
    assert told.metadata["n"].value == 1
    assert told.metadata["readers_keep"].value == "nothing: there is no version yet"

    gate.note_audit(settings.paths, [warned])
    assert BuildState.load(settings.paths.build_state).blocked is None
    gate.note_audit(settings.paths, [warned, stopped])
    blocked = BuildState.load(settings.paths.build_state).blocked
    assert blocked is not None
    assert blocked.reason == "fresh: 30 instruments are behind"
