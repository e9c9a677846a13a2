"""The lake: whole files or none, every version kept, the newest one found."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.ingest.compaction import compact
from orchestration.ingest.lake import BARS, FETCHES, Lake
from orchestration.ingest.parquet import new_batch_id
from orchestration.market.errors import LakeError


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.prepare()
    return lake


def bar(symbol: str, day: int, close: float, observed_hour: int, batch: str = "b") -> dict:
    return {
        "symbol": symbol,
        "session_date": dt.date(2026, 1, day),
        "close": close,
        "dividend": 0.0,
        "split_ratio": 1.0,
        "bar_quality": "close_only",
        "currency": "USD",
        "source": "files",
        "observed_at": dt.datetime(2026, 1, 31, observed_hour),  # noqa: DTZ001
        "batch_id": batch,
    }


def table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=BARS)


def test_an_empty_lake_has_columns_and_no_rows(lake: Lake) -> None:
    assert lake.newest_bars().schema == BARS
    assert lake.newest_bars().num_rows == 0
    assert lake.whole_history_at() == {}


def test_the_newest_version_of_each_bar_wins_whatever_the_order_of_files(lake: Lake) -> None:
    lake.append("bars", table(bar("A", 5, 2.0, 9), bar("B", 5, 7.0, 8)), "z", 0)
    lake.append("bars", table(bar("A", 5, 1.0, 8), bar("A", 6, 3.0, 8)), "a", 0)
    newest = lake.newest_bars().to_pylist()
    assert [(r["symbol"], r["session_date"].day, r["close"]) for r in newest] == [
        ("A", 5, 2.0),
        ("A", 6, 3.0),
        ("B", 5, 7.0),
    ]
    assert lake.read("bars").num_rows == 4


def test_no_rows_leave_no_file(lake: Lake) -> None:
    before = lake.files()
    lake.append("bars", BARS.empty_table(), "a", 0)
    assert lake.files() == before


def test_what_a_killed_run_left_is_never_read_and_goes_away(lake: Lake) -> None:
    lake.append("bars", table(bar("A", 5, 2.0, 9)), "a", 0)
    torn = lake.root / "bars" / ".writing-1-abc"
    torn.write_bytes(b"PAR1 torn")
    assert lake.newest_bars().num_rows == 1
    lake.prepare()
    assert not torn.exists()
    assert lake.newest_bars().num_rows == 1


def test_a_file_that_is_no_parquet_is_named(lake: Lake) -> None:
    (lake.root / "bars" / "x.parquet").write_bytes(b"not parquet")
    with pytest.raises(LakeError, match=r"x\.parquet: cannot be read as Parquet"):
        lake.newest_bars()


def test_an_unwritable_root_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LakeError, match=r"cannot be written .*set OREWATCH_HOME"):
        Lake(tmp_path / "file").prepare()


def test_appending_never_changes_what_was_there(lake: Lake) -> None:
    lake.append("bars", table(bar("A", 5, 2.0, 9)), "a", 0)
    first = (lake.root / "bars" / "a-0000.parquet").read_bytes()
    lake.append("bars", table(bar("A", 5, 2.5, 10)), "b", 0)
    assert (lake.root / "bars" / "a-0000.parquet").read_bytes() == first
    assert pq.read_table(lake.root / "bars" / "b-0000.parquet").num_rows == 1


def test_whole_history_counts_only_when_it_was_delivered(lake: Lake) -> None:
    def fetch(symbol: str, whole: bool, status: str, hour: int) -> dict:
        return {
            "symbol": symbol,
            "whole_history": whole,
            "status": status,
            "observed_at": dt.datetime(2026, 1, 31, hour),  # noqa: DTZ001
        }

    rows = [
        fetch("A", True, "ok", 8),
        fetch("A", True, "timeout", 9),
        fetch("B", False, "ok", 9),
        fetch("A", True, "ok", 7),
    ]
    lake.append("fetches", pa.Table.from_pylist(rows, schema=FETCHES), "a", 0)
    assert lake.whole_history_at() == {"A": dt.datetime(2026, 1, 31, 8, tzinfo=dt.UTC)}
    assert lake.latest_statuses() == {"A": "timeout", "B": "ok"}


def test_a_log_of_an_earlier_release_has_a_column_less(lake: Lake) -> None:
    row = {"symbol": "A", "status": "ok", "whole_history": True, "observed_at": dt.datetime(2026, 1, 5)}  # noqa: DTZ001
    earlier = pa.schema([field for field in FETCHES if field.name != "price_basis"])
    pq.write_table(pa.Table.from_pylist([row], schema=earlier), lake.root / "fetches" / "a-0000.parquet")
    assert lake.price_bases() == {}
    newer = {**row, "observed_at": dt.datetime(2026, 1, 6), "price_basis": "dividend_adjusted"}  # noqa: DTZ001
    failed = {**row, "observed_at": dt.datetime(2026, 1, 7), "status": "empty"}  # noqa: DTZ001
    lake.append("fetches", pa.Table.from_pylist([newer, failed], schema=FETCHES), "b", 0)
    assert lake.price_bases() == {"A": "dividend_adjusted"}
    assert lake.read("fetches")["price_basis"].to_pylist() == [None, "dividend_adjusted", None]
    assert lake.latest_statuses() == {"A": "empty"}
    compact(lake, "fetches")
    assert lake.price_bases() == {"A": "dividend_adjusted"}


def test_ranges_that_were_answered(lake: Lake) -> None:
    def fetch(symbol: str, start: dt.date | None, end: dt.date | None, status: str) -> dict:
        return {
            "symbol": symbol,
            "requested_from": start,
            "requested_to": end,
            "whole_history": start is None,
            "status": status,
        }

    early, late = dt.date(2026, 1, 5), dt.date(2026, 1, 9)
    rows = [
        fetch("A", None, early, "ok"),
        fetch("A", early, late, "ok"),
        fetch("A", early, late, "ok"),
        fetch("A", None, late, "timeout"),
        fetch("B", None, late, "empty"),
        fetch("C", None, None, "ok"),
    ]
    assert lake.answered_ranges() == {}
    lake.append("fetches", pa.Table.from_pylist(rows, schema=FETCHES), "a", 0)
    assert lake.answered_ranges() == {"A": {(None, early), (early, late)}}


def test_batch_ids_sort_by_time_and_differ() -> None:
    early, late = dt.datetime(2026, 1, 30, tzinfo=dt.UTC), dt.datetime(2026, 1, 30, 0, 0, 1, tzinfo=dt.UTC)
    assert new_batch_id(early) < new_batch_id(late)
    assert new_batch_id(early) != new_batch_id(early)
