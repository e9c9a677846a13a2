"""The whole job with large tables: what readers see are views of parts, and everybody who reads them still can."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from orchestration.cli.as_of import build_as_of
from orchestration.cli.refresh import is_current
from orchestration.cli.then_and_now import explain_session
from orchestration.cli.verify import verify
from orchestration.duckdb_io import identifier, reading
from orchestration.market.errors import OrewatchError
from orchestration.publish import tables
from orchestration.publish.content_hash import table_hash
from orchestration.publish.manifest import current_manifest, is_in_place, version_file, version_folder
from orchestration.show.brief.facts import read_facts
from tests.histories import NOW, SESSIONS
from tests.jobs import ClockedSettings, published, read_status, run_job, small_seeds

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def deliver(settings: ClockedSettings, sessions: list[dt.date]) -> None:
    closes = [58.0 + (i % 5) * 0.1 for i in range(len(sessions))]
    frame = pd.DataFrame({"Date": [day.isoformat() for day in sessions], "Close": closes})
    for symbol in ("AAA", "BBB"):
        assert settings.files is not None
        frame.to_csv(settings.files / f"{symbol}.csv", index=False)


def hold(settings: ClockedSettings) -> None:
    """Every table that readers see is what is in the warehouse, to the last bit."""
    manifest = current_manifest(settings.paths.published)
    assert manifest is not None
    assert {"daily_bars", "returns", "trend", "volatility"} <= set(manifest.partitions)
    file = version_file(settings.paths.published, manifest.version)
    with reading(settings.paths.warehouse) as built, reading(file) as seen:
        for name in manifest.rows:
            assert table_hash(seen.table(identifier(name))) == table_hash(built.table(identifier(name))), name


def test_parts_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rebuilt_in_process: None) -> None:
    monkeypatch.setattr(tables, "LARGE_ROWS", 10)
    (tmp_path / "drop").mkdir()
    settings = ClockedSettings(
        source="files",
        home=tmp_path / "ho'me",
        files=tmp_path / "drop",
        seeds=small_seeds(tmp_path / "seeds", "AAA", "BBB", levels=f"line,AAA,58.2,58.2,support,{SESSIONS[0]},\n"),
        moment=NOW,
    )
    deliver(settings, SESSIONS[:-1])
    assert run_job(settings).success
    hold(settings)
    moment = dt.datetime.now(dt.UTC)
    deliver(settings, SESSIONS)
    assert run_job(settings).success
    hold(settings)
    # Of the years before, nothing was written.
    before, now = (version_folder(settings.paths.published, number) / "daily_bars" for number in (1, 2))
    years = sorted(path.name for path in now.iterdir())
    rewritten = [year for year in years if not (now / year).samefile(before / year)]
    assert rewritten == [f"{SESSIONS[-1].year}.parquet"]
    assert len(years) > 1

    assert verify(settings).equal
    folder = tmp_path / "then"
    build_as_of(settings, moment, folder)
    assert not any(path.is_dir() for path in folder.iterdir())
    assert explain_session(settings.paths, folder, "AAA", SESSIONS[-1])[0].then is None
    assert read_facts(settings.paths).session == SESSIONS[-1]
    assert "Published version 2 of" in read_status(settings)
    assert is_current(settings.paths)

    moved = settings.model_copy(update={"home": tmp_path / "moved"})
    settings.home.rename(moved.home)
    manifest = current_manifest(moved.paths.published)
    assert manifest is not None
    assert not is_in_place(moved.paths.published, manifest)
    assert not is_current(moved.paths)
    advice = "the home was moved or copied since version 2 was published; run: orewatch refresh"
    assert advice in read_status(moved)
    with pytest.raises(OrewatchError, match=advice):
        read_facts(moved.paths)
    # Whoever compares makes views of his own.
    assert verify(moved).equal
    assert run_job(moved).success
    assert is_current(moved.paths)
    hold(moved)
    assert published(moved, "select count(*) as n from daily_bars") == [{"n": 2 * len(SESSIONS)}]
    healed = current_manifest(moved.paths.published)
    assert healed is not None
    assert (healed.version, healed.content_hash) == (3, manifest.content_hash)
    assert replace(healed, version=2, published_at=manifest.published_at, place=manifest.place) == manifest
