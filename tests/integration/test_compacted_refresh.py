"""The whole job on a lake whose files are merged after every batch: the same tables, and nothing new afterwards."""

import datetime as dt
import functools
from pathlib import Path

import pandas as pd
import pytest

from orchestration.cli.refresh import is_current
from orchestration.cli.verify import verify
from orchestration.ingest import run
from orchestration.ingest.compaction import compact
from orchestration.ingest.lake import Lake
from orchestration.ingest.report import IngestReport
from orchestration.market.fetch_plan import PlanRules
from orchestration.market.universe import load_universe
from orchestration.publish.manifest import current_manifest
from orchestration.settings import DBT_PROJECT_DIR
from orchestration.sources.files import FilesSource
from orchestration.transform.fingerprint import fingerprint
from tests.histories import NOW, SESSIONS
from tests.jobs import ClockedSettings, published, run_job, small_seeds

pytestmark = pytest.mark.integration

KEPT = "select symbol, session_date, close, volume from daily_bars order by all"
REVISED = "select symbol, session_date, field, old_value, new_value from price_revisions order by all"


def home(folder: Path) -> ClockedSettings:
    (folder / "drop").mkdir(parents=True)
    seeds = small_seeds(folder / "seeds", "AAA", "BBB")
    return ClockedSettings(source="files", home=folder / "home", files=folder / "drop", seeds=seeds, moment=NOW)


def deliver(settings: ClockedSettings, corrected: dt.date | None, sessions: int) -> None:
    for symbol in ("AAA", "BBB"):
        days = SESSIONS[:sessions]
        closes = [50.0 + n % 7 + (0.5 if day == corrected else 0.0) for n, day in enumerate(days)]
        frame = pd.DataFrame({"Date": [d.isoformat() for d in days], "Close": closes, "Volume": 100.0})
        assert settings.files is not None
        frame.to_csv(settings.files / f"{symbol}.csv", index=False)


@pytest.mark.slow
def test_merged_files_give_the_same_tables_and_a_refresh_that_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rebuilt_in_process: None
) -> None:
    plain, merged = home(tmp_path / "plain"), home(tmp_path / "merged")
    for settings in (plain, merged):
        if settings is merged:
            monkeypatch.setattr(run, "compact", functools.partial(compact, small_files=0))
        deliver(settings, None, len(SESSIONS) - 1)
        assert run_job(settings).success
        deliver(settings, SESSIONS[-3], len(SESSIONS))
        assert run_job(settings).success
    assert len(Lake(merged.paths.lake).paths("bars")) == 2 < len(Lake(plain.paths.lake).paths("bars"))
    assert Lake(merged.paths.lake).read("bars").num_rows == Lake(plain.paths.lake).read("bars").num_rows
    assert published(merged, KEPT) == published(plain, KEPT)
    revisions = published(merged, REVISED)
    assert revisions == published(plain, REVISED)
    assert [(r["symbol"], r["field"], r["new_value"] - r["old_value"]) for r in revisions] == [
        ("AAA", "close", 0.5),
        ("BBB", "close", 0.5),
    ]
    assert verify(merged).equal

    # Nothing new: the same fingerprint, although the log of fetches was merged once more.
    assert is_current(merged.paths)
    manifest = current_manifest(merged.paths.published)
    assert manifest is not None
    assert ingested_again(merged).new_rows == 0
    assert manifest.fingerprint == fingerprint(Lake(merged.paths.lake), merged.paths.reference, DBT_PROJECT_DIR)
    assert is_current(merged.paths)


def ingested_again(settings: ClockedSettings) -> IngestReport:
    """What a refresh does first, and, if nothing is new, all that it does."""
    assert settings.files is not None
    lake = Lake(settings.paths.lake)
    lake.prepare()
    universe = load_universe(settings.seeds)
    return run.ingest(universe, FilesSource(settings.files), "files", lake, settings.now(), PlanRules(None))
