"""What tools and people do to a home: copies without links, half restores, parts of two days. Nothing is lost by it."""

import datetime as dt
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from orchestration.alerts.outbox_file import FILE
from orchestration.ingest.compaction import compact
from orchestration.ingest.lake import DATASETS, Lake
from orchestration.market.calendar import closed_sessions
from orchestration.market.errors import PublishError
from orchestration.publish.current import let_readers_in
from orchestration.publish.gate import may_publish
from orchestration.publish.manifest import current_manifest
from orchestration.settings import Settings
from orchestration.transform.build_state import BuildState, Built
from tests.homes import clone, made_once
from tests.jobs import ClockedSettings, evaluations, published, refresh_and_read, run_job, small_seeds

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = [d.date() for d in closed_sessions("XNYS", NOW)["session_date"]][-30:]
YESTERDAY = dt.datetime(2026, 1, 30, 1, 0, tzinfo=dt.UTC)


def deliver(settings: ClockedSettings, sessions: list[dt.date]) -> None:
    assert settings.files is not None
    for symbol in ("AAA", "BBB"):
        # One more that goes to the quarantine: a Sunday.
        days = [d.isoformat() for d in [*sessions, dt.date(2026, 1, 11)]]
        closes = [100.0 + (i % 7) * 0.25 for i in range(len(days))]
        pd.DataFrame({"Date": days, "Close": closes}).to_csv(settings.files / f"{symbol}.csv", index=False)


def settings_of(folder: Path, home: str = "home", moment: dt.datetime = NOW) -> ClockedSettings:
    seeds = small_seeds(folder / "seeds", "AAA", "BBB")
    return ClockedSettings(source="files", home=folder / home, files=folder / "drop", seeds=seeds, moment=moment)


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> ClockedSettings:
    """A home of today, its lake merged since yesterday; `yesterday` beside it is what it was then."""

    def make(folder: Path) -> None:
        (folder / "drop").mkdir()
        yesterday, today = settings_of(folder, moment=YESTERDAY), settings_of(folder)
        deliver(yesterday, SESSIONS[:-1])
        assert run_job(yesterday).success
        shutil.copytree(folder / "home", folder / "yesterday", symlinks=True)
        deliver(today, SESSIONS)
        assert run_job(today).success
        for dataset in DATASETS:
            assert compact(Lake(today.paths.lake), dataset, small_files=0), dataset
        assert run_job(today).success
        (folder / "home").rename(folder / "today")

    made = made_once(tmp_path_factory, "two_days", make)
    # In the place where it was published: views and records know it.
    shutil.copytree(made, tmp_path / "made", symlinks=True)
    shutil.move(tmp_path / "made" / "today", tmp_path / "made" / "home")
    return settings_of(tmp_path / "made")


def links(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink()]


def content(settings: Settings) -> dict[str, Counter]:
    lake = Lake(settings.paths.lake)
    return {dataset: Counter(map(str, lake.read(dataset).to_pylist())) for dataset in DATASETS}


BARS = "select * exclude (observed_at) from daily_bars order by all"


def yesterdays(settings: ClockedSettings, name: str) -> Path:
    return settings.home.with_name("yesterday") / "files" / name


def drop_links(settings: ClockedSettings) -> None:
    for link in links(settings.home):
        link.unlink()


def follow_links(settings: ClockedSettings) -> None:
    shutil.copytree(settings.home, settings.home.with_name("copy"), symlinks=False)
    shutil.rmtree(settings.home)
    settings.home.with_name("copy").rename(settings.home)


def zip_and_unzip(settings: ClockedSettings) -> None:
    archive = shutil.make_archive(str(settings.home.with_name("home_archive")), "zip", settings.home)
    shutil.rmtree(settings.home)
    shutil.unpack_archive(archive, settings.home)
    for path in settings.home.rglob("*"):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def links_as_texts(settings: ClockedSettings) -> None:
    for link in links(settings.home):
        target = link.readlink()
        link.unlink()
        link.write_text(str(target))


def lose_times(settings: ClockedSettings) -> None:
    for path in settings.home.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)


def put_back(*names: str) -> Callable[[ClockedSettings], None]:
    """Parts of yesterday in the place of those of today."""

    def restore(settings: ClockedSettings) -> None:
        for name in names:
            old, new = yesterdays(settings, name), settings.paths.root / name
            if old.is_dir():
                shutil.rmtree(new)
                shutil.copytree(old, new, symlinks=True)
            else:
                shutil.copy2(old, new)

    return restore


def lay_over(settings: ClockedSettings) -> None:
    """As rsync does without --delete: what is newer stays beside it, but every link leads to what it did."""
    for old in sorted(yesterdays(settings, "lake").rglob("*")):
        new = settings.paths.lake / old.relative_to(yesterdays(settings, "lake"))
        if old.is_symlink():
            new.unlink()
            new.symlink_to(old.readlink())
        elif old.is_dir():
            new.mkdir(exist_ok=True)
        else:
            shutil.copy2(old, new)


def lay_over_without_links(settings: ClockedSettings) -> None:
    lay_over(settings)
    drop_links(settings)


def lose(*names: str) -> Callable[[ClockedSettings], None]:
    def remove(settings: ClockedSettings) -> None:
        for name in names:
            path = settings.paths.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def cut(name: str, at: float = 0.5) -> Callable[[ClockedSettings], None]:
    def shorten(settings: ClockedSettings) -> None:
        path = (settings.paths.root / name).resolve()
        path.chmod(0o644)
        os.truncate(path, int(path.stat().st_size * at))

    return shorten


HEALED: dict[str, Callable[[ClockedSettings], None]] = {
    "links dropped": drop_links,
    "links followed": follow_links,
    "zipped and unzipped": zip_and_unzip,
    "links as texts": links_as_texts,
    "times lost": lose_times,
    "yesterday's lake laid over": lay_over,
    "yesterday's lake laid over, then links dropped": lay_over_without_links,
    "yesterday's publication": put_back("published"),
    "yesterday's warehouse": put_back("warehouse.duckdb"),
    "yesterday's warehouse and its state": put_back("warehouse.duckdb", "build_state.json"),
    "yesterday's state": put_back("build_state.json"),
    "yesterday's flags": put_back("market_checks.json"),
    "yesterday's control tables": put_back("control"),
    "no publication": lose("published"),
    "no current version": lose("published/versions/3"),
    "no version at all": lose("published/versions"),
    "no warehouse": lose("warehouse.duckdb"),
    "no state": lose("build_state.json", "market_checks.json"),
    "no control tables": lose("control"),
    "a cut database": cut("published/current/market.duckdb"),
    "a cut table": cut("published/current/daily_bars.parquet"),
    "a cut manifest": cut("published/current/manifest.json"),
    "a cut warehouse": cut("warehouse.duckdb"),
    "a cut control table": cut("control/sessions.parquet"),
    "cut flags": cut("market_checks.json"),
    "a cut state": cut("build_state.json"),
}


OFTEN = ("links dropped", "links followed", "a cut table")


@pytest.mark.parametrize("done", [*OFTEN, *(pytest.param(d, marks=pytest.mark.slow) for d in HEALED if d not in OFTEN)])
def test_the_next_refresh_heals(done: str, settings: ClockedSettings) -> None:
    before, told = content(settings), published(settings, BARS)
    HEALED[done](settings)
    assert run_job(settings.model_copy(update={"full_refresh_below_bars": 0})).success
    after = content(settings)
    # Another answer of the source in the log of fetches is all that has been added.
    assert after["fetches"] > before.pop("fetches")
    assert before.items() <= after.items()
    assert published(settings, BARS) == told
    assert (settings.paths.published / "current").is_symlink()
    # Nothing is left to be said, and nothing silts up: a folder for each dataset, but where links were followed.
    assert [*Lake(settings.paths.lake).prepare(), *let_readers_in(settings.paths.published)] == []
    assert len(list(settings.paths.lake.glob(".*"))) <= len(DATASETS)
    assert len(list((settings.paths.published / "versions").iterdir())) <= 3


def test_yesterdays_lake_gets_today_again(settings: ClockedSettings) -> None:
    """Of a lake that is gone nothing can be kept; what is published stays until all of it has been fetched again."""
    told = published(settings, BARS)
    put_back("lake")(settings)
    assert run_job(settings).success
    assert published(settings, BARS) == told


def test_a_cut_file_of_the_lake_is_named_with_the_remedy(settings: ClockedSettings) -> None:
    told = published(settings, BARS)
    (file,) = [path for path in Lake(settings.paths.lake).paths("bars") if path.name != "schema.parquet"]
    whole = file.read_bytes()
    cut(str(file.relative_to(settings.paths.root.resolve())))(settings)
    success, said = refresh_and_read(settings)
    assert not success
    assert f"{file}: cannot be read as Parquet" in said
    assert "put a copy of it back" in said
    assert published(settings, BARS) == told
    assert file.exists()
    file.write_bytes(whole)
    assert run_job(settings).success
    assert published(settings, BARS) == told


def test_missing_batches_withhold_the_publication(settings: ClockedSettings) -> None:
    """Sessions that the source no longer delivers, gone from the lake too: readers keep them, and a check says so."""
    told = published(settings, BARS)
    put_back("lake")(settings)
    deliver(settings, SESSIONS[:-1])
    result = run_job(settings)
    assert not result.success
    assert not evaluations(result)["no_session_lost"].passed
    assert published(settings, BARS) == told


def test_what_was_set_right_is_said(settings: ClockedSettings) -> None:
    drop_links(settings)
    success, said = refresh_and_read(settings)
    assert success
    assert "bars: its link was gone; .bars-" in said
    assert "readers see version 3 again, the newest that is whole" in said


def test_a_publication_from_another_days_warehouse_is_refused(settings: ClockedSettings) -> None:
    assert may_publish(settings.paths)
    put_back("warehouse.duckdb")(settings)
    with pytest.raises(PublishError, match="run orewatch refresh"):
        may_publish(settings.paths)
    # One that says nothing of its warehouse, as those of earlier revisions.
    BuildState(built=Built(fingerprint="abc"), audited="abc").save(settings.paths.build_state)
    with pytest.raises(PublishError, match="run orewatch refresh"):
        may_publish(settings.paths)


def test_a_reader_of_a_copy_with_links_followed_goes_on_reading(settings: ClockedSettings) -> None:
    follow_links(settings)
    with duckdb.connect(str(settings.paths.published_file), read_only=True) as reader:
        before = reader.execute(BARS).fetchall()
        assert run_job(settings).success
        assert reader.execute(BARS).fetchall() == before
    manifest = current_manifest(settings.paths.published)
    assert manifest is not None
    assert manifest.version == 4


@pytest.mark.slow
def test_a_home_of_an_earlier_revision_keeps_what_was_told_flagged_and_published(
    sample_home: Path, tmp_path: Path
) -> None:
    """Without what later revisions have added: links in the lake, words in manifest and records, a journal's column."""
    settings = Settings(home=clone(sample_home, tmp_path / "home"))
    flagged = json.loads((settings.paths.root / "market_checks.json").read_text())
    told = "select event_id, dealt_out from events order by event_id"
    with closing(sqlite3.connect(settings.paths.alerts / FILE)) as connection:
        before = connection.execute(told).fetchall()
        connection.execute("alter table deliveries drop column rejections")
    for dataset in DATASETS:
        folder = (settings.paths.lake / dataset).resolve()
        (settings.paths.lake / dataset).unlink()
        folder.rename(settings.paths.lake / dataset)
    manifest = settings.paths.published / "versions" / "1" / "manifest.json"
    said = json.loads(manifest.read_text())
    first = ("version", "fingerprint", "source", "simulated", "published_at", "rows")
    manifest.unlink()
    manifest.write_text(json.dumps({name: said[name] for name in first}))
    state = BuildState.load(settings.paths.build_state)
    assert state.built is not None
    settings.paths.build_state.unlink()
    for name in ("build.json", "audit.json"):
        (settings.paths.root / name).write_text(json.dumps({"fingerprint": state.built.fingerprint}))
    rows_before, tables = content(settings), published(settings, BARS)
    assert len(before) > 10
    assert let_readers_in(settings.paths.published) == []
    assert run_job(settings).success
    after = content(settings)
    assert all(rows_before[dataset] <= after[dataset] for dataset in DATASETS)
    assert published(settings, BARS) == tables
    with closing(sqlite3.connect(settings.paths.alerts / FILE)) as connection:
        assert connection.execute(told).fetchall() == before
    now = json.loads((settings.paths.root / "market_checks.json").read_text())
    assert {group: state["flagged"] for group, state in now.items()} == {
        group: state["flagged"] for group, state in flagged.items()
    }
