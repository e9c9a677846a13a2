"""A lake as it was known: linked where it can be, filtered where it must be."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.ingest.lake import BARS, FETCHES, Lake
from orchestration.ingest.snapshot import first_observation, snapshot_lake

MORNING = dt.datetime(2026, 1, 5, 9)  # noqa: DTZ001  (the lake's moments are UTC without a mark)


def at(hours: int) -> dt.datetime:
    return MORNING + dt.timedelta(hours=hours)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three files of bars, observed at hours 0, 1 and 2, 3; one of requests at 0 to 3."""
    lake = Lake(tmp_path / "lake")
    lake.prepare()
    for number, hours in enumerate(([0], [1, 2], [3])):
        rows = [{"symbol": "A", "session_date": dt.date(2026, 1, 2), "observed_at": at(hour)} for hour in hours]
        lake.append("bars", pa.Table.from_pylist(rows, schema=BARS), f"b{number}", 0)
    rows = [{"symbol": "A", "observed_at": at(hour)} for hour in range(4)]
    lake.append("fetches", pa.Table.from_pylist(rows, schema=FETCHES), "b", 0)
    return lake


@pytest.mark.parametrize(("until", "known"), [(-1, []), (0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (3, [0, 1, 2, 3])])
def test_what_was_observed_by_then(until: int, known: list[int], lake: Lake, tmp_path: Path) -> None:
    then = snapshot_lake(lake, tmp_path / "then", known_by=at(until), fetches_by=at(0))
    assert sorted(then.read("bars")["observed_at"].to_pylist()) == [at(hour) for hour in known]
    assert then.read("fetches")["observed_at"].to_pylist() == [at(0)]
    assert then.read("rejected_bars").num_rows == 0
    assert lake.read("bars").num_rows == 4


def test_all_of_it_is_the_same_files(lake: Lake, tmp_path: Path) -> None:
    copy = snapshot_lake(lake, tmp_path / "copy", known_by=None, fetches_by=None)
    assert copy.files() == lake.files()
    for name, _ in lake.files():
        assert (copy.root / name).samefile(lake.root / name)


def test_the_first_observation(lake: Lake, tmp_path: Path) -> None:
    assert first_observation(lake) == at(0)
    empty = Lake(tmp_path / "empty")
    empty.prepare()
    assert first_observation(empty) is None
