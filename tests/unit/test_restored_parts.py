"""What a restore leaves of a lake, of versions and of a file system: proof before anything goes, one line else."""

import datetime as dt
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from orchestration.alerts.outbox import opened_outbox
from orchestration.alerts.outbox_file import FILE
from orchestration.cli.main import app
from orchestration.files import disk_error, must_link, must_lock
from orchestration.ingest.compaction import compact
from orchestration.ingest.lake import DATASETS, Lake
from orchestration.instance.scratch import scratch
from orchestration.market.errors import LakeError, OrewatchError, PublishError, SettingsError
from orchestration.publish.current import let_readers_in
from orchestration.publish.manifest import current_manifest, is_whole
from orchestration.publish.marts import Mart
from orchestration.publish.versions import publish


def rows(batch: str, *days: int, close: float | None = 1.5) -> pa.Table:
    """Bars of a batch, one without a known close among them."""
    bars = [
        {
            "symbol": symbol,
            "session_date": dt.date(2026, 1, day),
            "close": float("nan") if symbol == "B" else close,
            "observed_at": dt.datetime(2026, 1, day, 21),  # noqa: DTZ001
            "batch_id": batch,
        }
        for day in days
        for symbol in "AB"
    ]
    return pa.Table.from_pylist(bars, schema=DATASETS["bars"])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.prepare()
    for day in (5, 6, 7):
        lake.append("bars", rows(f"b{day}", day), f"b{day}", 0)
    return lake


def content(lake: Lake) -> Counter:
    return Counter(map(str, lake.read("bars").to_pylist()))


def counting(lake: Lake) -> Path:
    return (lake.root / "bars").resolve()


def beside(lake: Lake, name: str = ".bars-00000000") -> Path:
    """A copy of the folder that counts, as an older state of the lake."""
    return Path(shutil.copytree(counting(lake), lake.root / name))


def merged(lake: Lake) -> Path:
    """The same, and the folder that counts is another one since: the same rows in one file."""
    older = beside(lake)
    assert compact(lake, "bars", small_files=0)
    return older


def test_a_folder_whose_rows_all_stand_in_the_one_that_counts_goes(lake: Lake) -> None:
    before, older = content(lake), merged(lake)
    assert lake.prepare() == []
    assert not older.exists()
    assert content(lake) == before


def test_rows_that_stand_beside_it_only_are_taken_over(lake: Lake) -> None:
    older = beside(lake)
    lake.append("bars", rows("today", 8), "today", 0)
    everything = content(lake)
    # The link is that of yesterday again.
    newer = counting(lake)
    (lake.root / "bars").unlink()
    (lake.root / "bars").symlink_to(older.name)
    assert lake.prepare() == [f"{lake.root / 'bars'}: 2 rows taken over that stood in {newer.name} only"]
    assert content(lake) == everything
    assert lake.prepare() == []


def test_two_histories_become_one(lake: Lake) -> None:
    """Each has rows that the other lacks, and both have some of the same batches."""
    merged(lake)
    other = Lake(lake.root.parent / "other")
    shutil.copytree(lake.root, other.root, symlinks=True)
    lake.append("bars", rows("here", 8, 9), "here", 0)
    other.append("bars", rows("there", 8), "there", 0)
    compact(other, "bars", small_files=0)
    everything = content(lake) | content(other)
    shutil.copytree(counting(other), lake.root / counting(other).name)
    (lake.root / "bars").unlink()
    assert len(lake.prepare()) == 2
    assert content(lake) == everything


@pytest.mark.parametrize("change", [None, 2.5])
def test_a_row_that_differs_in_one_value_is_another(change: float | None, lake: Lake) -> None:
    older = beside(lake)
    (older / "b7-0000.parquet").unlink()
    Lake(lake.root).append("bars", rows("b7", 7, close=change), "b7", 1)
    (counting(lake) / "b7-0001.parquet").rename(older / "b7-0001.parquet")
    before = content(lake)
    lake.prepare()
    assert sum((content(lake) - before).values()) == 1
    assert before <= content(lake)


@pytest.mark.parametrize("is_linked", [True, False])
def test_what_cannot_be_read_proves_nothing_and_stays(is_linked: bool, lake: Lake) -> None:
    before, older = content(lake), merged(lake)
    broken = older / "b6-0000.parquet"
    broken.write_bytes(broken.read_bytes()[:-9])
    if not is_linked:
        (lake.root / "bars").unlink()
    (said,) = lake.prepare()[-1:]
    assert said.startswith(f"{older}: is kept, as nothing proves that its rows stand in {lake.root / 'bars'}: {broken}")
    assert broken.exists()
    assert content(lake) == before


def test_the_folder_that_counts_is_broken_and_the_other_stays(lake: Lake) -> None:
    before, older = content(lake), merged(lake)
    (file,) = [path for path in lake.paths("bars") if path.name != "schema.parquet"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    lake.prepare()
    assert older.exists()
    with pytest.raises(LakeError, match=r"put a copy of it back, or move it out of the lake"):
        lake.read("bars")
    # As the message says: what stands beside it is taken over.
    file.rename(lake.root.parent / "broken")
    lake.prepare()
    assert content(lake) == before


def test_a_file_of_somebody_elses_stays(lake: Lake) -> None:
    before, older = content(lake), merged(lake)
    (older / "notes.txt").write_text("of mine")
    (said,) = lake.prepare()
    assert "is kept, as it holds notes.txt" in said
    assert (older / "notes.txt").exists()
    assert content(lake) == before


def test_a_folder_that_was_being_filled_goes_only_if_its_rows_stand_elsewhere(lake: Lake) -> None:
    making = beside(lake, ".making-bars-00000000")
    (making / "torn.parquet").write_bytes(b"PAR1")
    (making / ".writing-1").write_bytes(b"PAR1")
    assert lake.prepare() == []
    assert not making.exists()
    making = beside(lake, ".making-bars-00000000")
    (counting(lake) / "b7-0000.parquet").unlink()
    (said,) = lake.prepare()
    assert said == f"{making}: is kept, as 2 rows of it do not stand in {lake.root / 'bars'}"
    assert (making / "b7-0000.parquet").exists()


def test_without_links_the_folder_with_the_most_rows_counts(lake: Lake) -> None:
    lake.append("bars", rows("b8", 8), "b8", 0)
    before, counted = content(lake), counting(lake)
    older = beside(lake)
    (older / "b8-0000.parquet").unlink()
    (lake.root / "bars").unlink()
    (said,) = lake.prepare()
    assert said == f"{lake.root / 'bars'}: its link was gone; {counted.name}, which holds the most rows, counts again"
    assert counting(lake) == counted
    assert content(lake) == before
    assert not older.exists()


@pytest.mark.parametrize("target", ["{folder}", ".bars-ffffffff"])
def test_a_link_that_leads_nowhere_or_is_a_text(target: str, lake: Lake) -> None:
    before, link = content(lake), lake.root / "bars"
    folder = counting(lake).name
    link.unlink()
    link.symlink_to(".bars-ffffffff")
    lake.prepare()
    assert content(lake) == before
    link.unlink()
    link.write_text(target.format(folder=folder))
    if target == "{folder}":
        lake.prepare()
        assert content(lake) == before
    else:
        with pytest.raises(LakeError, match=r"bars: is a file where a folder or a link to one should be; move it away"):
            lake.prepare()
        link.unlink()
        lake.prepare()
    assert content(lake) == before


def test_a_link_into_the_home_that_was_copied_is_made_one_of_this_home(lake: Lake, tmp_path: Path) -> None:
    before = content(lake)
    copy = Lake(tmp_path / "copy" / "lake")
    shutil.copytree(lake.root, copy.root, symlinks=True)
    link = copy.root / "bars"
    link.unlink()
    link.symlink_to(counting(lake))
    assert any("its link led out of the lake" in line for line in copy.prepare())
    copy.append("bars", rows("later", 7), "later", 0)
    assert compact(copy, "bars", small_files=0)
    assert content(lake) == before
    assert content(copy) == before + Counter(map(str, rows("later", 7).to_pylist()))
    # Without a folder of its own there is nothing to go on with.
    shutil.rmtree(counting(copy))
    link.unlink()
    link.symlink_to(counting(lake))
    with pytest.raises(LakeError, match=r"out of this lake, where it may be another home's; copy that folder"):
        copy.prepare()
    assert content(lake) == before


def test_columns_that_are_not_known_are_not_thrown_away(lake: Lake) -> None:
    folder = beside(lake)
    later = rows("first", 5).append_column("of_a_later_version", pa.array([1.0, 2.0]))
    pq.write_table(later, folder / "first-0000.parquet")
    assert any("has columns that are not known: of_a_later_version" in line for line in lake.prepare())
    assert folder.is_dir()


def test_a_link_to_what_is_not_there_is_no_empty_lake(lake: Lake) -> None:
    """A disk that is not mounted, or a copy without what begins with a dot."""
    before, folder = content(lake), counting(lake)
    away = folder.rename(lake.root.parent / "away")
    with pytest.raises(LakeError, match=rf"bars: leads to {folder.name}, which is not there; put that back"):
        lake.prepare()
    assert (lake.root / "bars").readlink() == Path(folder.name)
    away.rename(folder)
    assert lake.prepare() == []
    assert content(lake) == before


# ---- published versions


@pytest.fixture
def published(tmp_path: Path) -> Path:
    for number in range(3):
        with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
            connection.execute("create or replace table bars as select ? as x, range as y from range(3)", [number])
        publish(tmp_path / "warehouse.duckdb", {"bars": Mart()}, tmp_path / "published", f"f{number}", "files", False)
    return tmp_path / "published"


def version(published: Path) -> int:
    manifest = current_manifest(published)
    assert manifest is not None
    assert (published / "current").is_symlink()
    assert is_whole(published / "current")
    return manifest.version


def as_folder(published: Path) -> Path:
    current = published / "current"
    folder = current.resolve()
    current.unlink()
    return Path(shutil.copytree(folder, current))


def test_a_sound_publication_is_left_alone(published: Path) -> None:
    # Also one that somebody has rolled back.
    (published / "current").unlink()
    (published / "current").symlink_to("versions/1")
    assert let_readers_in(published) == []
    assert version(published) == 1
    assert let_readers_in(published / "none") == []


def test_a_version_that_somebody_writes_into_is_not_taken_for_a_lost_one(published: Path) -> None:
    database = published / "versions" / "3" / "market.duckdb"
    database.chmod(0o644)
    writing = "import sys, duckdb; duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", writing, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"open\n"
            assert let_readers_in(published) == []
        finally:
            writer.kill()
    assert version(published) == 3


def test_a_publication_alone_sets_it_right_too(published: Path, tmp_path: Path) -> None:
    as_folder(published)
    publish(tmp_path / "warehouse.duckdb", {"bars": Mart()}, published, "f", "files", False)
    assert version(published) == 4


def test_versions_that_cannot_be_shown_do_not_pile_up(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as here:
        here.setattr(Path, "symlink_to", failing(errno.EPERM))
        for _ in range(2):
            with pytest.raises(PublishError, match="readers keep the last one"):
                publish(tmp_path / "warehouse.duckdb", {"bars": Mart()}, published, "f", "files", False)
    assert sorted(path.name for path in (published / "versions").iterdir()) == ["1", "2", "3"]
    assert version(published) == 3


def test_a_link_into_another_home_leads_to_a_version_of_this_one(published: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(published, other, symlinks=True)
    (published / "current").unlink()
    (published / "current").symlink_to(other / "versions" / "3")
    assert len(let_readers_in(published)) == 1
    assert (published / "current").readlink() == Path("versions/3")


def test_what_somebody_has_put_beside_the_versions_stays(published: Path, tmp_path: Path) -> None:
    versions = published / "versions"
    (versions / "1999").mkdir()
    (versions / "1999" / "notes.txt").write_text("mine")
    (versions / "0").write_text("mine")
    (versions / "²").mkdir()
    for _ in range(4):
        publish(tmp_path / "warehouse.duckdb", {"bars": Mart()}, published, "f", "files", False)
    assert {"1999", "0", "²"} <= {path.name for path in versions.iterdir()}


def test_a_link_that_is_gone_leads_to_the_newest_whole_version(published: Path) -> None:
    (published / "current").unlink()
    (published / "versions" / "3" / "bars.parquet").unlink()
    assert len(let_readers_in(published)) == 1
    assert version(published) == 2
    assert (published / "versions" / "3").is_dir()


def test_a_folder_that_was_a_link_is_one_again(published: Path) -> None:
    as_folder(published)
    assert len(let_readers_in(published)) == 1
    assert version(published) == 3
    assert sorted(p.name for p in published.iterdir()) == ["current", "versions"]


def test_a_version_in_parts_is_whole_wherever_its_home_has_gone(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute(
            "create table bars as select 'A' as symbol, date '2024-12-20' + i::int as session_date, i as x"
            " from range(40) as t(i)"
        )
    for _ in range(2):
        marts = {"bars": Mart(("symbol", "session_date"))}
        manifest = publish(tmp_path / "warehouse.duckdb", marts, tmp_path / "home", "f", "files", False, large_rows=9)
    assert manifest.partitions["bars"].years
    copy = Path(shutil.copytree(tmp_path / "home", tmp_path / "copy"))
    shutil.rmtree(tmp_path / "home")
    assert len(let_readers_in(copy)) == 1
    assert version(copy) == 2
    (copy / "versions" / "2" / "bars" / "2025.parquet").unlink()
    assert not is_whole(copy / "current")
    let_readers_in(copy)
    assert version(copy) == 1


@pytest.mark.parametrize("other", [True, False])
def test_readers_keep_what_they_see_and_the_other_is_kept(other: bool, published: Path) -> None:
    current = as_folder(published)
    place = published / "versions" / "3"
    if other:
        (place / "bars.parquet").unlink()
    else:
        shutil.rmtree(place)
    seen = (current / "market.duckdb").read_bytes()
    let_readers_in(published)
    assert version(published) == 3
    assert (current / "market.duckdb").read_bytes() == seen
    assert len(list(published.glob(".kept-3-*"))) == other


def test_a_broken_folder_is_kept_and_a_whole_version_shown(published: Path) -> None:
    current = as_folder(published)
    (current / "manifest.json").write_text("{")
    assert len(let_readers_in(published)) == 2
    assert version(published) == 3
    (kept,) = published.glob(".kept-*")
    assert (kept / "market.duckdb").exists()


def test_where_no_version_is_whole_nothing_is_touched(published: Path) -> None:
    for path in (published / "versions").rglob("bars.parquet"):
        path.unlink()
    names = sorted(published.rglob("*"))
    assert let_readers_in(published) == []
    assert sorted(published.rglob("*")) == names


def test_a_version_that_lies_on_another_disk_is_not_unlinked(published: Path, tmp_path: Path) -> None:
    moved = (published / "versions" / "2").rename(tmp_path / "elsewhere")
    (published / "versions" / "2").symlink_to(moved)
    publish(tmp_path / "warehouse.duckdb", {"bars": Mart()}, published, "f", "files", False)
    assert (published / "versions" / "2" / "market.duckdb").exists()
    for _ in range(2):
        publish(tmp_path / "warehouse.duckdb", {"bars": Mart()}, published, "f", "files", False)
    assert not (published / "versions" / "2").is_symlink()
    assert (moved / "market.duckdb").exists()


def test_the_last_three_that_are_there_stay(published: Path, tmp_path: Path) -> None:
    shutil.rmtree(published / "versions" / "2")
    (published / "versions" / "3").rename(published / "versions" / "9")
    (published / "current").unlink()
    publish(tmp_path / "warehouse.duckdb", {"bars": Mart()}, published, "f", "files", False)
    assert sorted(path.name for path in (published / "versions").iterdir()) == ["1", "10", "9"]


# ---- file systems and users


LACKING: dict[str, tuple[Callable[[Path], None], object, str, int, str]] = {
    "flock": (must_lock, fcntl, "flock", errno.ENOSYS, r"has no locks \(flock: Function not implemented\)"),
    "flock of NFS": (must_lock, fcntl, "flock", errno.ENOLCK, r"has no locks \(flock: No locks available\)"),
    "flock of FUSE": (must_lock, fcntl, "flock", errno.EOPNOTSUPP, r"has no locks \(flock: Operation not supported\)"),
    "links": (must_link, Path, "symlink_to", errno.EPERM, r"has no symbolic links \(Operation not permitted\)"),
    "links of SMB": (must_link, Path, "symlink_to", errno.EOPNOTSUPP, r"has no symbolic links"),
}


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("what", LACKING)
def test_a_file_system_that_lacks_something_is_named(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    must, where, name, number, says = LACKING[what]
    must(tmp_path)
    with monkeypatch.context() as here:
        here.setattr(where, name, failing(number))
        with pytest.raises(SettingsError, match=says) as told:
            must(tmp_path)
    assert str(told.value).startswith(f"{tmp_path}: its file system")
    assert "set OREWATCH_HOME" in str(told.value)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "what"),
    [("refresh", "flock"), pytest.param("refresh", "links", marks=pytest.mark.slow), ("verify", "flock")],
)
def test_a_command_that_needs_it_stops_at_the_start_in_one_line(
    command: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OREWATCH_HOME", str(tmp_path))
    _, where, name, number, _ = LACKING[what]
    monkeypatch.setattr(where, name, failing(number))
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("error:")]
    assert "its file system has no" in line
    assert not (tmp_path / "sample" / "lake").exists()


def test_a_scratch_folder_needs_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOSYS))
    with pytest.raises(SettingsError, match="has no locks"), scratch(tmp_path):
        pass


def test_a_damaged_journal_is_named_with_the_remedy(tmp_path: Path) -> None:
    with opened_outbox(tmp_path):
        pass
    file = tmp_path / FILE
    whole = file.read_bytes()
    for damaged in (b"no database at all, but long enough" * 99, whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(OrewatchError, match=r"journal\.sqlite: is damaged \(.*\); put a copy of it back, or move"):
            opened_outbox(tmp_path).__enter__()
        assert file.read_bytes() == damaged


def test_a_damaged_database_of_dagster_is_named_with_the_remedy(tmp_path: Path) -> None:
    told = disk_error(RuntimeError("(sqlite3.DatabaseError) database disk image is malformed"), tmp_path)
    assert told is not None
    assert "a database of Dagster is damaged" in told
    assert "put a copy of the source's folder dagster/ back, or move it away" in told


# What is imported late is imported before: the other user may not see the packages.
AS_ANOTHER_USER = """
import os, sys, duckdb
from pathlib import Path
from orchestration.market.errors import OrewatchError
from orchestration.ingest.lake import Lake
from orchestration.publish.current import let_readers_in
os.setuid(65534)
lake = Lake(Path(sys.argv[1]))
try:
    lake.prepare()
except OrewatchError as error:
    print(error)
try:
    let_readers_in(Path(sys.argv[2]))
except OrewatchError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_home_of_another_user_loses_nothing_and_says_whose_it_must_be(
    lake: Lake, published: Path, tmp_path: Path
) -> None:
    before = content(lake)
    merged(lake)
    for link in (lake.root / "bars", published / "current"):
        link.unlink()
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        lake = Lake(Path(shutil.copytree(lake.root, Path(open_to_all, "lake"), symlinks=True)))
        published = Path(shutil.copytree(published, Path(open_to_all, "published"), symlinks=True))
        files = sorted(Path(open_to_all).rglob("*"))
        said = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER_USER, lake.root, published], capture_output=True, text=True, check=False
        )
        assert said.stderr == ""
        of_lake, of_versions = said.stdout.splitlines()
        for line, place in ((of_lake, lake.root), (of_versions, published)):
            assert line.startswith(str(place))
            assert "cannot be written (Permission denied); " in line
            assert "give the home to the user who refreshes, or set OREWATCH_HOME" in line
        assert sorted(Path(open_to_all).rglob("*")) == files
        lake.prepare()
        assert content(lake) == before
