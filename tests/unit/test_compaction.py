"""Compaction: every row and version stays, at every moment, whatever is killed."""

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.ingest import compaction, dataset_folders
from orchestration.ingest import lake as lake_module
from orchestration.ingest.compaction import SMALL_FILES, compact
from orchestration.ingest.dataset_folders import DatasetFolders
from orchestration.ingest.lake import DATASETS, Lake
from orchestration.ingest.snapshot import snapshot_lake
from orchestration.ingest.stored_sessions import read_stored_sessions
from orchestration.market.errors import LakeError

MORNING = dt.datetime(2026, 1, 5, 9)  # noqa: DTZ001  (the lake's moments are UTC without a mark)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.prepare()
    return lake


def bar(symbol: str, day: int, close: float | None, version: int, batch: str) -> dict:
    return {
        "symbol": symbol,
        "session_date": dt.date(2026, 1, 1) + dt.timedelta(days=day),
        "close": close,
        "dividend": 0.0,
        "split_ratio": 1.0,
        "bar_quality": "close_only",
        "currency": "USD",
        "source": "files",
        "observed_at": MORNING + dt.timedelta(hours=version),
        "batch_id": batch,
    }


def fill(lake: Lake, files: int) -> None:
    """One file a day for three symbols, each with a new version of the day before."""
    for day in range(files):
        rows = [bar(s, d, 10.0 + d + day / 8, day, f"b{day:03d}") for s in "CAB" for d in (day - 1, day) if d >= 0]
        lake.append("bars", pa.Table.from_pylist(rows, schema=DATASETS["bars"]), f"b{day:03d}", 0)


def as_duckdb_sees_it(lake: Lake, dataset: str = "bars") -> Counter:
    with duckdb.connect() as connection:
        return Counter(connection.execute(f"from read_parquet('{lake.root}/{dataset}/*.parquet')").fetchall())


def content(lake: Lake, dataset: str = "bars") -> Counter:
    return Counter(tuple(row.values()) for row in lake.read(dataset).to_pylist())


def test_few_files_stay_as_they_are(lake: Lake) -> None:
    fill(lake, SMALL_FILES)
    before = lake.files()
    assert compact(lake, "bars") == 0
    assert lake.files() == before


def test_many_become_one_with_every_row_and_version(lake: Lake) -> None:
    fill(lake, SMALL_FILES + 1)
    before, newest = content(lake), lake.newest_bars()
    assert max(before.values()) == 1
    assert compact(lake, "bars") == SMALL_FILES + 1
    assert [path.name for path in lake.paths("bars")][-1] == "schema.parquet"
    assert len(lake.paths("bars")) == 2
    assert content(lake) == as_duckdb_sees_it(lake) == before
    assert lake.newest_bars().equals(newest)
    (merged, _) = lake.paths("bars")
    rows = pq.read_table(merged)
    assert rows.schema.remove_metadata() == DATASETS["bars"]
    order = [(r["symbol"], r["session_date"], r["observed_at"]) for r in rows.to_pylist()]
    assert order == sorted(order)


def test_appending_goes_on_afterwards(lake: Lake) -> None:
    fill(lake, SMALL_FILES + 1)
    compact(lake, "bars")
    before = content(lake)
    row = bar("A", 1, 99.0, 99, "z")
    lake.append("bars", pa.Table.from_pylist([row], schema=DATASETS["bars"]), "z", 0)
    assert sum((content(lake) - before).values()) == 1
    lake.prepare()
    assert sum(content(lake).values()) == sum(before.values()) + 1
    assert {r["close"] for r in lake.newest_bars(["A"]).to_pylist() if r["batch_id"] == "z"} == {99.0}


def test_full_files_are_linked_and_not_written_again(lake: Lake) -> None:
    fill(lake, 40)
    assert compact(lake, "bars", full_rows=60) == 40
    full = {path.name: path.stat().st_ino for path in lake.paths("bars") if pq.read_metadata(path).num_rows >= 60}
    assert len(full) == 3  # 237 rows
    before = content(lake)
    for number in range(SMALL_FILES):
        rows = [bar("D", number, 1.0, number, f"c{number}")]
        lake.append("bars", pa.Table.from_pylist(rows, schema=DATASETS["bars"]), f"c{number:03d}", 0)
    assert compact(lake, "bars", full_rows=60) == SMALL_FILES + 1
    now = {path.name: path.stat().st_ino for path in lake.paths("bars")}
    assert full.items() <= now.items()
    assert sum(content(lake).values()) == sum(before.values()) + SMALL_FILES


def test_a_lake_from_before_there_were_links(lake: Lake) -> None:
    fill(lake, SMALL_FILES + 1)
    folder = (lake.root / "bars").resolve()
    (lake.root / "bars").unlink()
    folder.rename(lake.root / "bars")
    lake.prepare()
    before = content(lake)
    compact(lake, "bars")
    assert content(lake) == as_duckdb_sees_it(lake) == before
    assert (lake.root / "bars").is_symlink()


def test_a_lake_moves_to_another_place_with_its_links(lake: Lake, tmp_path: Path) -> None:
    fill(lake, SMALL_FILES + 1)
    compact(lake, "bars")
    before = content(lake)
    lake.root.rename(tmp_path / "elsewhere")
    assert content(Lake(tmp_path / "elsewhere")) == before
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "copy", symlinks=True)
    copy = Lake(tmp_path / "copy")
    copy.prepare()
    assert content(copy) == before


def test_what_was_known_at_a_moment_is_the_same_before_and_after(lake: Lake, tmp_path: Path) -> None:
    fill(lake, SMALL_FILES + 1)
    until = MORNING + dt.timedelta(hours=7)
    before = snapshot_lake(lake, tmp_path / "before", known_by=until, fetches_by=until)
    linked = snapshot_lake(lake, tmp_path / "linked", known_by=None, fetches_by=None)
    everything = content(lake)
    compact(lake, "bars")
    after = snapshot_lake(lake, tmp_path / "after", known_by=until, fetches_by=until)
    assert content(after) == content(before)
    assert sum(content(after).values()) == 3 * 15
    assert content(linked) == everything


def test_a_reader_that_is_overtaken_reads_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, SMALL_FILES + 1)
    before = content(lake)
    genuine = lake_module.read_files
    overtaken = []

    def read_files(paths: list[Path], *rest: object) -> pa.Table:
        if not overtaken:
            overtaken.append(True)
            monkeypatch.setattr(compaction, "read_files", genuine)
            compact(lake, "bars")
        return genuine(paths, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(lake_module, "read_files", read_files)
    assert content(lake) == before


def test_stored_sessions_are_those_of_the_newest_bars(lake: Lake) -> None:
    fill(lake, 40)
    for _ in range(2):
        held = read_stored_sessions(lake, ["B", "none", "A"])
        assert list(held.symbols()) == ["B", "A"]
        for symbol in ("B", "A"):
            rows = lake.newest_bars([symbol]).to_pylist()
            assert held.sessions(symbol).astype("datetime64[D]").tolist() == [r["session_date"] for r in rows]
            assert held.count(symbol) == len(rows)
            assert held.latest_observation(symbol) == max(r["observed_at"] for r in rows)
        assert held.count("none") == held.count("C") == 0
        assert held.latest_observation("none") is None
        assert len(held.sessions("C")) == 0
        compact(lake, "bars")


# ---- killed, at every step and at any moment


STEPS: dict[str, tuple[object, str]] = {
    "linking": (compaction, "link"),
    "reading": (compaction, "read_files"),
    "writing": (compaction, "write_parquet"),
    "exchanging": (DatasetFolders, "exchange"),
    "syncing": (dataset_folders, "sync"),
    "linking the folder": (Path, "symlink_to"),
    "replacing the link": (Path, "replace"),
    "removing the old folder": (dataset_folders.shutil, "rmtree"),
}


@pytest.mark.parametrize("is_linked", [True, False], ids=["linked", "from_before_links"])
@pytest.mark.parametrize("step", STEPS)
def test_stopped_between_two_steps(step: str, is_linked: bool, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, SMALL_FILES + 1)
    if not is_linked:
        folder = (lake.root / "bars").resolve()
        (lake.root / "bars").unlink()
        folder.rename(lake.root / "bars")
    before = content(lake)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as here:
        here.setattr(*STEPS[step], stopped)
        if step != "removing the old folder":
            # What is killed tidies nothing up.
            here.setattr(compaction.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            compact(lake, "bars")
    if (lake.root / "bars").exists():
        assert as_duckdb_sees_it(lake) == before
    else:
        assert not is_linked
    lake.prepare()
    assert content(lake) == as_duckdb_sees_it(lake) == before
    compact(lake, "bars")
    assert content(lake) == as_duckdb_sees_it(lake) == before
    assert len(list(lake.root.iterdir())) == 2 * len(DATASETS)


def test_a_full_disk_leaves_everything_as_it_was(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, SMALL_FILES + 1)
    before, files = content(lake), lake.files()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as here:
        here.setattr(compaction, "write_parquet", full)
        with pytest.raises(LakeError, match="small files cannot be merged \\(No space left on device\\)"):
            compact(lake, "bars")
    assert lake.files() == files
    assert content(lake) == before
    assert len(list(lake.root.iterdir())) == 2 * len(DATASETS)


@pytest.mark.parametrize("is_linked", [True, False], ids=["linked", "from_before_links"])
def test_a_link_that_cannot_be_replaced_leaves_everything_as_it_was(
    is_linked: bool, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, SMALL_FILES + 1)
    if not is_linked:
        folder = (lake.root / "bars").resolve()
        (lake.root / "bars").unlink()
        folder.rename(lake.root / "bars")
    before, files = content(lake), lake.files()

    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as here:
        here.setattr(Path, "replace", refused)
        with pytest.raises(LakeError, match="Read-only file system"):
            compact(lake, "bars")
    assert lake.files() == files
    assert content(lake) == as_duckdb_sees_it(lake) == before


def test_a_broken_file_is_named_and_nothing_is_changed(lake: Lake) -> None:
    fill(lake, SMALL_FILES + 1)
    broken = lake.root / "bars" / "b005-0000.parquet"
    broken.write_bytes(broken.read_bytes()[:-40])
    files = lake.files()
    with pytest.raises(LakeError, match=r"b005-0000\.parquet: cannot be read as Parquet"):
        compact(lake, "bars")
    assert lake.files() == files


COMPACTING = """
import sys
from pathlib import Path
from orchestration.ingest.compaction import compact
from orchestration.ingest.lake import Lake
lake = Lake(Path(sys.argv[1]))
lake.prepare()
print("ready", flush=True)
while True:
    compact(lake, "bars", small_files=0, full_rows=40)
"""


@pytest.mark.slow
def test_killed_at_any_moment_no_row_is_missing_or_there_twice(lake: Lake) -> None:
    fill(lake, 20)
    before = content(lake)
    environment = {**os.environ, "PYTHONPATH": str(Path(compaction.__file__).parents[2])}
    for kill in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", COMPACTING, lake.root], env=environment, stdout=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                time.sleep(0.03 + 0.011 * kill)
            finally:
                process.send_signal(signal.SIGKILL)
        assert as_duckdb_sees_it(lake) == content(lake) == before
    lake.prepare()
    assert len(list(lake.root.iterdir())) == 2 * len(DATASETS)
    assert content(lake) == before


def test_a_reader_beside_it_always_sees_every_row_once(lake: Lake) -> None:
    fill(lake, 20)
    before = content(lake)
    environment = {**os.environ, "PYTHONPATH": str(Path(compaction.__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", COMPACTING, lake.root], env=environment, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            folders = set()
            deadline = time.monotonic() + 300
            while len(folders) < 6 and time.monotonic() < deadline:
                assert content(lake) == before
                assert sum(size > 0 for _, size in lake.files()) >= 2 + len(DATASETS)
                folders.add((lake.root / "bars").readlink())
        finally:
            process.send_signal(signal.SIGKILL)
    assert len(folders) > 3


# ---- any lake


symbols = st.sampled_from(["A", "B", "BRK-B", "^GSPC", "SI=F"])
rows = st.tuples(
    symbols, st.integers(0, 6), st.one_of(st.none(), st.floats(0.1, 1e6), st.just(float("nan"))), st.integers(0, 5)
)
# A batch holds one version of a bar, perhaps repeated word for word.
batches = st.lists(
    st.builds(
        lambda versions, repeated: versions + versions[:repeated],
        st.lists(rows, max_size=10, unique_by=lambda row: row[:2]),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=10,
)


@settings(deadline=None, max_examples=30)
@given(batches, st.integers(0, 8), st.integers(1, 30))
def test_compaction_keeps_the_multiset_of_rows(batches: list[list[tuple]], small_files: int, full_rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _compacted_after_every_batch(Lake(Path(folder) / "lake"), batches, small_files, full_rows)


def _compacted_after_every_batch(lake: Lake, batches: list[list[tuple]], small_files: int, full_rows: int) -> None:
    lake.prepare()
    for number, batch in enumerate(batches):
        # Names whose order is not that of the files.
        rows = [bar(*row, batch=f"b{number % 3}-{number}") for row in batch]
        table = pa.Table.from_pylist(rows, schema=DATASETS["bars"])
        lake.append("bars", table, f"b{number:03d}", 0)
        before, newest = as_text(lake.read("bars")), as_text(lake.newest_bars())
        compact(lake, "bars", small_files, full_rows)
        assert as_text(lake.read("bars")) == before
        assert as_text(lake.newest_bars()) == newest
        assert len(lake.paths("bars")) <= small_files + 2 + len(batches) * 12 // full_rows


def as_text(table: pa.Table) -> Counter:
    """Rows that compare, NaN included."""
    return Counter(str(row) for row in table.to_pylist())
