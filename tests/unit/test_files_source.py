"""The drop folder: what each kind of file and each kind of fault becomes."""

import datetime as dt
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.market.bars import RAW_COLUMNS
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.validation import validate
from orchestration.sources import csv_table, price_file, price_table
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.files import FilesSource
from orchestration.sources.price_cells import DATES_ALLOWED, NUMBERS_ALLOWED

END = dt.date(2026, 1, 30)
WANTED = f"{price_table.WANTED} (Date and Close at least)"
WHOLE_ROWS = "one cell per column (a text that holds a comma in quotes; no line that is no bar)"
ONE_TICKER = "SIL, as the file's name says (one file for each ticker, named after it)"
NO_OTHER = " (and no other row of the file can be read)"
ONE_BAR = "Date,Close\n2026-01-30,94.3\n"


def request(symbol: str = "SIL", start: dt.date | None = None, end: dt.date = END) -> FetchRequest:
    return FetchRequest(symbol, symbol, start, end, "forced")


def fetch(folder: Path, *requests: FetchRequest, **arguments: int) -> list[FetchOutcome]:
    return list(FilesSource(folder, **arguments).fetch(requests or [request()]))


def read(folder: Path, content: str | bytes, name: str = "SIL.csv") -> FetchOutcome:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (outcome,) = fetch(folder)
    return outcome


def malformed(folder: Path, content: str | bytes) -> str:
    outcome = read(folder, content)
    assert outcome.status == FetchStatus.MALFORMED
    assert outcome.failed
    assert outcome.bars.empty
    assert list(outcome.bars.columns) == list(RAW_COLUMNS)
    return outcome.detail


def days(outcome: FetchOutcome) -> list[str]:
    return [str(day.date()) for day in outcome.bars["session_date"]]


# ---- what is read


def test_yahoo_column_names(tmp_path: Path) -> None:
    outcome = read(
        tmp_path,
        "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits\n"
        "2026-01-29,110.5,111.25,107,110.65,110.61,2500000,0.25,0.0\n"
        "2026-01-30,100,101.5,93.5,94.3,94.3,9900000,0,2\n",
    )
    assert outcome.status == FetchStatus.OK
    assert outcome.detail == ""
    assert outcome.currency is None
    bars = outcome.bars
    assert list(bars.columns) == list(RAW_COLUMNS)
    assert bars["session_date"].dtype == "datetime64[s]"
    assert days(outcome) == ["2026-01-29", "2026-01-30"]
    assert bars["open"].tolist() == [110.5, 100.0]
    assert bars["high"].tolist() == [111.25, 101.5]
    assert bars["low"].tolist() == [107.0, 93.5]
    assert bars["close"].tolist() == [110.65, 94.3]
    assert bars["adj_close"].tolist() == [110.61, 94.3]
    assert bars["volume"].tolist() == [2_500_000.0, 9_900_000.0]
    assert bars["dividend"].tolist() == [0.25, 0.0]
    assert bars["split_ratio"].tolist() == [0.0, 2.0]
    assert bars["origin"].tolist() == ["SIL.csv", "SIL.csv"]
    assert bars["row_number"].tolist() == [2, 3]
    assert bars["parse_error"].isna().all()


def test_our_column_names(tmp_path: Path) -> None:
    outcome = read(
        tmp_path,
        "symbol,session_date,open,high,low,close,adj_close,volume,dividend,split_ratio,currency\n"
        "SIL,2026-01-30,100,101,93,94.3,94.2,10,0.5,1,USD\n",
    )
    row = outcome.bars.iloc[0]
    assert outcome.currency == "USD"
    assert row[["open", "high", "low", "close", "adj_close"]].tolist() == [100, 101, 93, 94.3, 94.2]
    assert row[["volume", "dividend", "split_ratio"]].tolist() == [10, 0.5, 1]


@pytest.mark.parametrize("date", ["Date", "DATE", "datetime", "Date_Time", "Session Date", " session_date "])
@pytest.mark.parametrize("close", ["Close", "CLOSE", " close"])
def test_names_in_any_case_with_spaces_and_underscores(tmp_path: Path, date: str, close: str) -> None:
    outcome = read(tmp_path, f"Note,{date},{close},Repaired?\nhello,2026-01-30,94.3,True\n")
    assert outcome.bars["close"].tolist() == [94.3]
    assert days(outcome) == ["2026-01-30"]


def test_close_alone_suffices(tmp_path: Path) -> None:
    outcome = read(tmp_path, ONE_BAR)
    others = ["open", "high", "low", "adj_close", "volume", "dividend", "split_ratio"]
    assert outcome.bars["close"].tolist() == [94.3]
    assert outcome.bars[others].isna().all(axis=None)


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2026-01-30", "2026-01-30"),
        (" 2026-01-30 ", "2026-01-30"),
        ("2023-04-14 00:00:00+09:00", "2023-04-14"),
        ("2024-08-21 00:00:00-04:00", "2024-08-21"),
        ("2024-08-21T16:00:00.000Z", "2024-08-21"),
        ("2024-08-21 23:59", "2024-08-21"),
        ("2024-02-29T00:00:00+0530", "2024-02-29"),
        ("9999-12-31", "9999-12-31"),
        *((other, "2026-01-30") for other in ("30/01/2026", "01-30-2026", "20260130", "2026-1-30", "Jan 30 2026")),
        *((other, "2026-01-30") for other in ("2026.01.30", "30-Jan-26", "2026-01-30 00:00:00 UTC")),
        ("2026-01-30 00:00:00 -0500", "2026-01-30"),
    ],
)
def test_dates_that_are_read(tmp_path: Path, written: str, day: str) -> None:
    assert days(read(tmp_path, f"Date,Close\n{written},1\n")) == [day]


@pytest.mark.parametrize(
    "written",
    [
        "2026-02-30", "2025-02-29", "2026-13-01", "0000-01-01", "1769731200", "45000", "2026-01-30 25:00:00",
        "2026-01-30 00:00:00 EST", "2026-01-30+01:00", "x2026-01-30", "30.01.26", "null", "NaT", "",
    ],
)  # fmt: skip
def test_dates_that_are_not_read(tmp_path: Path, written: str) -> None:
    outcome = read(tmp_path, f"Date,Close\n2026-01-29,1\n{written},2\n")
    bars = outcome.bars
    assert outcome.status == FetchStatus.OK
    assert outcome.detail == "SIL.csv: 1 of 2 rows cannot be read"
    assert bars["close"].tolist() == [1.0, 2.0]
    assert pd.isna(bars["session_date"][1])
    assert bars["parse_error"].tolist() == [
        None,
        f"SIL.csv, row 3, column Date: '{written}' is not a date; allowed: {DATES_ALLOWED}",
    ]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("94.3", 94.3), ("94", 94.0), ("94.", 94.0), (".5", 0.5), ("-37.63", -37.63), ("+1.5", 1.5),
        (" 7 ", 7.0), ("1e3", 1000.0), ("1.5E+05", 150000.0), ("2.5e-05", 0.000025), ("0", 0.0),
        ("94.30000305175781", 94.30000305175781), ('"94.3"', 94.3),
    ],
)  # fmt: skip
def test_numbers_that_are_read(tmp_path: Path, written: str, value: float) -> None:
    assert read(tmp_path, f"Date,Close\n2026-01-30,{written}\n").bars["close"].tolist() == [value]


@pytest.mark.parametrize(
    "written", ["", "  ", "null", "NULL", "None", "NaN", "nan", "N/A", "n/a", "NA", "#N/A", "-", "--"]
)
def test_unknown_values(tmp_path: Path, written: str) -> None:
    bars = read(tmp_path, f"Date,Close,Volume\n2026-01-30,{written},{written}\n").bars
    assert bars[["close", "volume"]].isna().all(axis=None)
    assert bars["parse_error"].tolist() == [None]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("94.3%", "94.3%"), ("abc", "abc"), ("1e999", "1e999"), ("0x10", "0x10"), ("1_000", "1_000"),
        ("94.3.1", "94.3.1"), ("٣", "٣"),
        ("1" * 41, "1" * 40 + "..."), ("a\tb", "a\\tb"), ("\u2028x", "\\u2028x"),
    ],
)  # fmt: skip
def test_numbers_that_are_not_read(tmp_path: Path, written: str, value: str) -> None:
    """What a bar can do without is unknown then; the bar is not lost."""
    outcome = read(tmp_path, f"Date,Close,Volume\n2026-01-29,1.5,2\n2026-01-30,94.3,{written}\n")
    bars = outcome.bars
    assert outcome.detail == ""
    assert bars["close"].tolist() == [1.5, 94.3]
    assert np.isnan(bars["volume"][1])
    assert bars["parse_error"].tolist() == [None, None]
    said = f"SIL.csv, row 3, column Volume: '{value}' is not a number; allowed: {NUMBERS_ALLOWED}"
    assert bars["cell_error"].tolist() == [None, said]
    closed = pd.DatetimeIndex(["2026-01-29", "2026-01-30"])
    result = validate(bars, closed, closed)
    assert result.accepted["close"].tolist() == [1.5, 94.3]
    assert result.rejected[["rule", "severity", "detail", "row_number"]].to_numpy().tolist() == [
        ["unreadable_cell", "demoted", said, 3]
    ]


def test_first_fault_of_a_row_names_it(tmp_path: Path) -> None:
    bars = read(tmp_path, "Dividends,Close,Date\n1,1,2026-01-29\nx,y,z\na,b,2026-01-30\n").bars
    assert [str(error)[:37] for error in bars["parse_error"]] == [
        "None",
        "SIL.csv, row 3, column Date: 'z' is n",
        "SIL.csv, row 4, column Close: 'b' is ",
    ]


def test_an_unreadable_row_is_rejected_and_the_others_are_kept(tmp_path: Path) -> None:
    outcome = read(tmp_path, "Date,Close\n2026-01-28,1\n2026-01-29,oops\n2026-01-30,3\n")
    closed = pd.DatetimeIndex(["2026-01-28", "2026-01-29", "2026-01-30"])
    result = validate(outcome.bars, closed, closed)
    assert outcome.detail == "SIL.csv: 1 of 3 rows cannot be read"
    assert result.accepted["close"].tolist() == [1.0, 3.0]
    assert result.rejected[["rule", "severity", "origin", "row_number"]].to_numpy().tolist() == [
        ["malformed_value", "rejected", "SIL.csv", 3]
    ]
    assert result.rejected["detail"].tolist() == [
        f"SIL.csv, row 3, column Close: 'oops' is not a number; allowed: {NUMBERS_ALLOWED}"
    ]


@pytest.mark.parametrize("written", ["inf", "-Infinity"])
def test_what_is_infinite_costs_its_cell_alone_or_the_bar_whose_close_it_is(tmp_path: Path, written: str) -> None:
    text = f"Date,Close,Adj Close,Volume\n2026-01-29,1.5,{written},{written}\n2026-01-30,{written},1,1\n"
    closed = pd.DatetimeIndex(["2026-01-29", "2026-01-30"])
    from_csv = validate(read(tmp_path, text).bars, closed, closed)
    (tmp_path / "SIL.csv").unlink()
    number = float(written)
    columns = {"Close": [1.5, number], "Adj Close": [number, 1.0], "Volume": [number, 1.0]}
    from_parquet = validate(parquet(tmp_path, {"Date": THREE[1:], **columns}).bars, closed, closed)
    for result in (from_csv, from_parquet):
        assert result.accepted["close"].tolist() == [1.5]
        assert result.accepted[["adj_close", "volume"]].isna().all(axis=None)
        assert sorted(result.rejected["rule"]) == ["invalid_volume", "non_finite_close"]


def test_rows_in_any_order_are_delivered_as_they_stand(tmp_path: Path) -> None:
    outcome = read(tmp_path, "Date,Close\n2026-01-30,3\n2026-01-28,1\n2026-01-29,2\n2026-01-28,1\n")
    assert days(outcome) == ["2026-01-30", "2026-01-28", "2026-01-29", "2026-01-28"]
    assert outcome.bars["row_number"].tolist() == [2, 3, 4, 5]


def test_blank_lines_do_not_count_as_rows_but_keep_their_number(tmp_path: Path) -> None:
    bars = read(tmp_path, "\n\nDate,Close\n\n2026-01-29,1\n\n\n2026-01-30,x\n\n").bars
    assert bars["row_number"].tolist() == [5, 8]
    assert bars["parse_error"][1].startswith("SIL.csv, row 8, column Close: 'x'")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "end"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, end: str, mark: str, last: str) -> None:
    text = end.join([mark + "Date,Close", "2026-01-29,1", "2026-01-30,2"]) + (end if last else "")
    outcome = read(tmp_path, text)
    assert days(outcome) == ["2026-01-29", "2026-01-30"]
    assert outcome.bars["row_number"].tolist() == [2, 3]


def test_quoted_cells_may_hold_commas(tmp_path: Path) -> None:
    outcome = read(tmp_path, '"Date","Note, long","Close"\n"2026-01-30","a, b","94.3"\n')
    assert outcome.bars["close"].tolist() == [94.3]


def test_the_three_header_lines_of_yfinance(tmp_path: Path) -> None:
    outcome = read(
        tmp_path,
        "Price,Close,High,Low,Open,Volume\nTicker,SIL,SIL,SIL,SIL,SIL\nDate,,,,,\n"
        "2026-01-29,110.65,111.25,107,110.5,2500000\n2026-01-30,94.3,101.5,93.5,100,9900000\n",
    )
    assert outcome.bars["close"].tolist() == [110.65, 94.3]
    assert outcome.bars["open"].tolist() == [110.5, 100.0]
    assert outcome.bars["row_number"].tolist() == [4, 5]


def test_yfinance_header_of_another_symbol(tmp_path: Path) -> None:
    text = "Price,Close\nTicker,SILJ\nDate,\n2026-01-30,31.8\n"
    assert malformed(tmp_path, text) == f"SIL.csv, row 2: holds 'SILJ'; allowed: {ONE_TICKER}"


def test_currency(tmp_path: Path) -> None:
    assert read(tmp_path, "Date,Close,Currency\n2026-01-30,1,GBp\n2026-01-29,1,\n").currency == "GBp"
    assert read(tmp_path, "Date,Close,Currency\n2026-01-30,1,\n").currency is None
    assert malformed(tmp_path, "Date,Close,Currency\n2026-01-29,1,GBp\n2026-01-30,1,GBP\n") == (
        "SIL.csv, row 3, column Currency: 'GBP' where rows before have 'GBp'; allowed: one currency per file"
    )


# ---- which rows are delivered


def test_range_of_the_request(tmp_path: Path) -> None:
    text = "Date,Close\n2026-01-30,4\n2026-01-26,1\nnever,0\n2026-01-27,2\n2026-01-29,3\n2026-02-02,5\n"
    (tmp_path / "SIL.csv").write_text(text)
    (part,) = fetch(tmp_path, request(start=dt.date(2026, 1, 27), end=dt.date(2026, 1, 29)))
    # A row whose date cannot be read may belong to the range: it is reported rather than lost.
    assert part.bars["row_number"].tolist() == [4, 5, 6]
    (whole,) = fetch(tmp_path, request())
    assert whole.bars["close"].tolist() == [4, 1, 0, 2, 3, 5]


def test_range_without_rows_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "SIL.csv").write_text(ONE_BAR)
    (outcome,) = fetch(tmp_path, request(start=dt.date(2020, 1, 1), end=dt.date(2020, 2, 1)))
    assert outcome.status == FetchStatus.OK
    assert outcome.bars.empty


def test_header_only(tmp_path: Path) -> None:
    outcome = read(tmp_path, "Date,Close\n\n")
    assert outcome.status == FetchStatus.EMPTY
    assert outcome.detail == "SIL.csv: no rows below the header"


def test_one_outcome_per_request_in_order_and_faults_stay_with_their_symbol(tmp_path: Path) -> None:
    (tmp_path / "SIL.csv").write_text(ONE_BAR)
    (tmp_path / "BAD.csv").write_text("nothing here\n")
    (tmp_path / "SI=F.csv").write_text("Date,Close\n2026-01-30,78.29\n")
    outcomes = fetch(tmp_path, *(request(symbol) for symbol in ("SIL", "BAD", "NONE", "SI=F")))
    assert [(o.request.symbol, o.status.value, len(o.bars)) for o in outcomes] == [
        ("SIL", "ok", 1),
        ("BAD", "malformed", 0),
        ("NONE", "absent", 0),
        ("SI=F", "ok", 1),
    ]
    assert outcomes[2].detail == f"no NONE.csv or NONE.parquet in {tmp_path}"
    assert not outcomes[2].failed


def test_is_local(tmp_path: Path) -> None:
    assert FilesSource(tmp_path).local


def test_folder_that_vanished(tmp_path: Path) -> None:
    first, second = fetch(tmp_path / "gone", request("SIL"), request("SLV"))
    assert first.status == second.status == FetchStatus.UNREACHABLE
    assert first.detail == (
        f"{tmp_path / 'gone'}: cannot be read (No such file or directory); allowed: a readable folder"
    )


# ---- which file is read


@pytest.mark.parametrize("name", ["SIL.csv", "SIL.CSV", "sil.Csv"])
def test_file_names_match_in_any_case(tmp_path: Path, name: str) -> None:
    outcome = read(tmp_path, ONE_BAR, name)
    assert outcome.status == FetchStatus.OK
    assert outcome.bars["origin"].tolist() == [name]


@pytest.mark.parametrize("name", ["SIL", "SIL.csv.bak", "SIL.xlsx", ".SIL.csv", "SIL.csv~", "XSIL.csv"])
def test_other_files_are_left_alone(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, ONE_BAR, name).status == FetchStatus.ABSENT


@pytest.mark.parametrize("symbol", ["^GSPC", "BRK.B", "FRES.L", "SI=F", "A_B-C"])
def test_symbols_with_signs(tmp_path: Path, symbol: str) -> None:
    (tmp_path / f"{symbol}.csv").write_text(ONE_BAR)
    assert fetch(tmp_path, request(symbol))[0].status == FetchStatus.OK


def test_csv_and_parquet_of_one_symbol(tmp_path: Path) -> None:
    (tmp_path / "SIL.parquet").write_bytes(b"")
    assert malformed(tmp_path, ONE_BAR) == (
        "SIL.csv and SIL.parquet both hold SIL; allowed: one file per source symbol"
    )


@pytest.mark.parametrize("symbol", ["../SIL", "/etc/passwd", "sub/SIL", "..", ".", "", "SIL\n", "SIL\0"])
def test_requests_cannot_leave_the_folder(tmp_path: Path, symbol: str) -> None:
    folder = tmp_path / "drop"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "SIL.csv").write_text(ONE_BAR)
    (folder / "sub" / "SIL.csv").write_text(ONE_BAR)
    (outcome,) = fetch(folder, request(symbol))
    assert outcome.status == FetchStatus.ABSENT
    assert outcome.detail.isprintable()


def test_link_that_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    (tmp_path / "drop-secret.csv").write_text(ONE_BAR)
    (folder / "SIL.csv").symlink_to(tmp_path / "drop-secret.csv")
    (outcome,) = fetch(folder)
    assert outcome.status == FetchStatus.MALFORMED
    assert outcome.detail == "SIL.csv: a link that leaves the drop folder; allowed: a file inside it"


def test_link_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "7.csv").write_text(ONE_BAR)
    (tmp_path / "SIL.csv").symlink_to("versions/7.csv")
    (outcome,) = fetch(tmp_path)
    assert outcome.status == FetchStatus.OK
    assert outcome.bars["origin"].tolist() == ["SIL.csv"]


def test_folder_that_is_itself_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "SIL.csv").write_text(ONE_BAR)
    (tmp_path / "link").symlink_to("real")
    assert fetch(tmp_path / "link")[0].status == FetchStatus.OK


def test_links_to_nothing_and_in_circles(tmp_path: Path) -> None:
    (tmp_path / "SIL.csv").symlink_to("missing.csv")
    (tmp_path / "SLV.csv").symlink_to("SLV.csv")
    broken, circle = fetch(tmp_path, request("SIL"), request("SLV"))
    assert broken.status == circle.status == FetchStatus.MALFORMED
    assert broken.detail == "SIL.csv: cannot be read (No such file or directory); allowed: a readable file"
    assert circle.detail.startswith("SLV.csv: cannot be read (Too many levels of symbolic links)")


def test_folders_and_pipes_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "SIL.csv").mkdir()
    os.mkfifo(tmp_path / "SLV.csv")
    for outcome in fetch(tmp_path, request("SIL"), request("SLV")):
        assert outcome.status == FetchStatus.MALFORMED
        assert outcome.detail.endswith(".csv: not a regular file; allowed: a CSV or Parquet file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "SIL.csv").write_text(ONE_BAR)
    (tmp_path / "SIL.csv").chmod(0)
    (outcome,) = fetch(tmp_path)
    assert outcome.status == FetchStatus.MALFORMED
    assert outcome.detail == "SIL.csv: cannot be read (Permission denied); allowed: a readable file"


# ---- files that are refused as a whole


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "SIL.csv: the file is empty; allowed: a header row and one row per session"),
        (b"\n\r\n\n", "SIL.csv: the file is empty; allowed: a header row and one row per session"),
        (b"\xef\xbb\xbf", "SIL.csv: the file is empty; allowed: a header row and one row per session"),
        (
            b"Date,Close\n2026-01-30,1\nM\xfcnchen,2\n",
            "SIL.csv, row 3: byte 0xfc is not UTF-8; allowed: a CSV saved as UTF-8",
        ),
        (
            "Date,Close\n2026-01-30,1\n".encode("utf-16")[:-1],
            "SIL.csv: is no UTF-16 to its end; allowed: a CSV saved as UTF-8",
        ),
        (b"Date,Close\n2026-01-30,1\x00\n", "SIL.csv, row 2: a NUL byte; allowed: text"),
        (
            b"Exceeded the daily hits limit\n",
            f"SIL.csv, row 1: no column Date among Exceeded the daily hits limit; allowed: {WANTED}",
        ),
        (b"when,close\n1,2\n", f"SIL.csv, row 1: no column Date among when, close; allowed: {WANTED}"),
        (b"Date,Price\n2026-01-30,1\n", f"SIL.csv, row 1: no column Close among Date, Price; allowed: {WANTED}"),
        (
            b"Date,Close,close\n2026-01-30,1,2\n",
            "SIL.csv, row 1, column close: means the same as column Close; allowed: each column once",
        ),
        (
            b"Date,Session_Date,Close\n2026-01-30,2026-01-30,2\n",
            "SIL.csv, row 1, column Session_Date: means the same as column Date; allowed: each column once",
        ),
        (
            b"Date,Close\n2026-01-29,1\n2026-01-30\n",
            f"SIL.csv, row 3: 1 cells where the header has 2; allowed: {WHOLE_ROWS}",
        ),
        (
            b"Date,Close\n\n2026-01-28,1\n\n\n2026-01-29,1,234.5\n2026-01-30,1\n",
            f"SIL.csv, row 6: 3 cells where the header has 2; allowed: {WHOLE_ROWS}",
        ),
        (
            b'Date,Close,Note\n2026-01-28,1,x\n2026-01-29,1,"two\nlines"\n2026-01-30,1,x\n',
            "SIL.csv, row 3: a quoted text runs over the end of the line; allowed: one bar a line",
        ),
        (
            b"Date,Close\n30.01.26,1\n29.01.26,2\n",
            f"SIL.csv, row 2, column Date: '30.01.26' is not a date; allowed: {DATES_ALLOWED}{NO_OTHER}",
        ),
        (b"<html>\n", f"SIL.csv, row 1: no column Date among <html>; allowed: {WANTED}"),
    ],
)
def test_refused_csv(tmp_path: Path, content: bytes, detail: str) -> None:
    assert malformed(tmp_path, content) == detail


def test_long_line(tmp_path: Path) -> None:
    text = "Date,Close,Note\n2026-01-29,1,x\n2026-01-30,1," + "x" * 1_000_000 + "\n"
    assert malformed(tmp_path, text) == ("SIL.csv, row 3: longer than 1000000 bytes; allowed: one bar a line")


def test_longest_line(tmp_path: Path) -> None:
    text = "Date,Close,Note\n2026-01-30,1," + "x" * 999_980 + "\n"
    assert read(tmp_path, text).bars["close"].tolist() == [1.0]


def test_large_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "SIL.csv").write_text(ONE_BAR * 10)
    pq.write_table(pa.table({"Date": ["2026-01-30"], "Close": [1.0]}), tmp_path / "SLV.parquet")
    for outcome in fetch(tmp_path, request("SIL"), request("SLV"), max_bytes=100):
        assert outcome.status == FetchStatus.MALFORMED
        assert outcome.detail.endswith(": more than 100 bytes; allowed: at most 100")


def test_small_files_that_grow_in_memory_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "SIL.csv").write_text("Date,Close" + "\n" * 500_001)
    same = pa.table({"Date": pa.array([THREE[0]] * 500_001), "Close": np.ones(500_001)})
    pq.write_table(same, tmp_path / "SLV.parquet")
    random = pa.table({"Date": pd.bdate_range("2000-01-03", periods=5_000).date, "Close": np.arange(5_000.0)})
    pq.write_table(random, tmp_path / "GDX.parquet", use_dictionary=False, compression="zstd")
    lines, rows, bytes_ = fetch(tmp_path, request("SIL"), request("SLV"), request("GDX"), max_bytes=20_000_000)
    assert lines.detail == "SIL.csv: 500001 lines; allowed: at most 500000"
    assert rows.detail == "SLV.parquet: 500001 rows; allowed: at most 500000"
    assert bytes_.status == FetchStatus.OK
    (unpacked,) = fetch(tmp_path, request("GDX"), max_bytes=30_000)
    assert re.fullmatch(r"GDX.parquet: unpacks to \d+ bytes; allowed: at most 30000", unpacked.detail)


def test_texts_that_unfold_are_not_read(tmp_path: Path) -> None:
    days = pa.array([THREE[0]] * 3)
    long = pa.DictionaryArray.from_arrays(pa.array([0, 0, 0]), pa.array(["1" * 121]))
    outcome = parquet(tmp_path, {"Date": days, "Close": long})
    assert outcome.detail == "SIL.parquet, column Close: a text of 121 bytes; allowed: at most 120"
    table = pa.table({"Date": days, "Close": ["1.25", "1.50", "1.75"]})
    encoding = {"Close": "DELTA_BYTE_ARRAY"}
    pq.write_table(table, tmp_path / "SLV.parquet", use_dictionary=False, column_encoding=encoding)
    (outcome,) = fetch(tmp_path, request("SLV"))
    assert outcome.status == FetchStatus.MALFORMED
    assert "DeltaByteArray" in outcome.detail
    pq.write_table(table, tmp_path / "SLV.parquet", use_dictionary=True)
    (outcome,) = fetch(tmp_path, request("SLV"))
    assert outcome.bars["close"].tolist() == [1.25, 1.5, 1.75]


def test_too_many_unreadable_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_file, "MAX_UNREADABLE_ROWS", 2)
    text = "Date,Close\n2026-01-29,1\n" + "2026-01-30,x\n" * 3
    assert malformed(tmp_path, text) == (
        f"SIL.csv, row 3, column Close: 'x' is not a number; allowed: {NUMBERS_ALLOWED} (and more than 2 rows like it)"
    )


def test_many_blocks_keep_their_row_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "MAX_LINE_BYTES", 25)  # blocks of a hundred bytes
    days = pd.bdate_range("2020-01-01", periods=1000)
    rows = [f"{day.date()},{i}" for i, day in enumerate(days)]
    rows[777] = "2026-01-05,x"
    bars = read(tmp_path, "Date,Close\n" + "\n".join(rows)).bars
    assert bars["row_number"].tolist() == list(range(2, 1002))
    assert np.flatnonzero(bars["parse_error"].notna()).tolist() == [777]
    assert bars["parse_error"][777].startswith("SIL.csv, row 779, column Close: 'x'")
    rows[900] = "2026-01-05"
    assert malformed(tmp_path, "Date,Close\n" + "\n".join(rows)).startswith("SIL.csv, row 902: 1 cells")


# ---- Parquet


def parquet(folder: Path, columns: dict[str, object], **arguments: object) -> FetchOutcome:
    pq.write_table(pa.table(columns), folder / "SIL.parquet", **arguments)
    (outcome,) = fetch(folder)
    return outcome


THREE = [dt.date(2026, 1, 28), dt.date(2026, 1, 29), dt.date(2026, 1, 30)]
THREE_DAYS = ["2026-01-28", "2026-01-29", "2026-01-30"]


@pytest.mark.parametrize(
    "dates",
    [
        pa.array(THREE, pa.date32()),
        pa.array(THREE, pa.date64()),
        pa.array(THREE).cast(pa.timestamp("s")),
        pa.array(THREE).cast(pa.timestamp("ns")),
        pa.array([dt.datetime(2026, 1, d, 16, 0) for d in (28, 29, 30)], pa.timestamp("us")),  # noqa: DTZ001
        pa.array(THREE_DAYS),
        pa.array(THREE_DAYS, pa.large_string()),
        pa.array(THREE_DAYS).dictionary_encode(),
        pa.array([f"{d} 00:00:00+09:00" for d in THREE_DAYS]),
        # Midnight in Tokyo and in New York, as pandas stores them.
        pa.array(pd.date_range("2026-01-28", periods=3, tz="Asia/Tokyo")),
        pa.array(pd.date_range("2026-01-28", periods=3, tz="America/New_York")),
        pa.array(pd.date_range("2026-01-28", periods=3, tz="+09:00")),
    ],
    ids=str,
)
def test_parquet_dates(tmp_path: Path, dates: pa.Array) -> None:
    outcome = parquet(tmp_path, {"Date": dates, "Close": [1.0, 2.0, 3.0]})
    assert outcome.status == FetchStatus.OK, outcome.detail
    assert days(outcome) == THREE_DAYS
    assert outcome.bars["session_date"].dtype == "datetime64[s]"
    assert outcome.bars["row_number"].tolist() == [1, 2, 3]
    assert outcome.bars["origin"].tolist() == ["SIL.parquet"] * 3


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.float64(), [1.0, np.nan, 3.0]),
        (pa.float32(), [1.0, np.nan, 3.0]),
        (pa.int64(), [1.0, np.nan, 3.0]),
        (pa.uint8(), [1.0, np.nan, 3.0]),
        (pa.decimal128(10, 2), [1.0, np.nan, 3.0]),
        (pa.string(), [1.0, np.nan, 3.0]),
    ],
    ids=str,
)
def test_parquet_numbers(tmp_path: Path, kind: pa.DataType, expected: list[float]) -> None:
    values = pa.array(["1", None, "3"]).cast(kind)
    outcome = parquet(tmp_path, {"session_date": THREE, "close": values, "volume": pa.nulls(3)})
    np.testing.assert_array_equal(outcome.bars["close"], expected)
    assert outcome.bars["volume"].isna().all()
    assert outcome.bars["parse_error"].isna().all()


def test_parquet_written_by_pandas_with_the_date_as_index(tmp_path: Path) -> None:
    index = pd.DatetimeIndex(THREE_DAYS, name="Date", tz="America/New_York")
    frame = pd.DataFrame({"Open": [1.0, 2, 3], "Close": [1.0, 2, 3], "Stock Splits": [0.0, 0, 0]}, index=index)
    frame.to_parquet(tmp_path / "SIL.parquet")
    (outcome,) = fetch(tmp_path)
    assert days(outcome) == THREE_DAYS
    assert outcome.bars["open"].tolist() == [1.0, 2.0, 3.0]


def test_parquet_rows_that_cannot_be_read(tmp_path: Path) -> None:
    outcome = parquet(tmp_path, {"Date": [THREE[0], None, THREE[2]], "Close": ["1", "2", "x"], "currency": ["USD"] * 3})
    assert outcome.currency == "USD"
    assert outcome.bars["parse_error"].tolist() == [
        None,
        f"SIL.parquet, row 2, column Date: '' is not a date; allowed: {DATES_ALLOWED}",
        f"SIL.parquet, row 3, column Close: 'x' is not a number; allowed: {NUMBERS_ALLOWED}",
    ]


def test_parquet_date_that_no_calendar_has(tmp_path: Path) -> None:
    seconds = pa.array([1_769_731_200, 2**46], pa.timestamp("s"))
    outcome = parquet(tmp_path, {"Date": seconds, "Close": [1.0, 2.0]})
    assert pd.isna(outcome.bars["session_date"][1])
    assert outcome.bars["parse_error"][1].startswith("SIL.parquet, row 2, column Date: '")


@pytest.mark.parametrize(
    ("columns", "detail"),
    [
        (
            {"Close": [1.0]},
            f"SIL.parquet: no column Date among Close; allowed: {WANTED}",
        ),
        ({"Date": [THREE[0]]}, f"SIL.parquet: no column Close among Date; allowed: {WANTED}"),
        (
            {"Date": [THREE[0]], "Close": [1.0], "close": [1.0]},
            "SIL.parquet, column close: means the same as column Close; allowed: each column once",
        ),
        (
            {"Date": [20260130], "Close": [1.0]},
            f"SIL.parquet, column Date: int64 cannot be read as a date; allowed: {DATES_ALLOWED}",
        ),
        (
            {"Date": [THREE[0]], "Close": [True]},
            f"SIL.parquet, column Close: bool cannot be read as a number; allowed: {NUMBERS_ALLOWED}",
        ),
        (
            {"Date": [THREE[0]], "Close": pa.array(["1"]).cast(pa.binary())},
            f"SIL.parquet, column Close: binary cannot be read as a number; allowed: {NUMBERS_ALLOWED}",
        ),
    ],
)
def test_refused_parquet(tmp_path: Path, columns: dict[str, object], detail: str) -> None:
    outcome = parquet(tmp_path, columns)
    assert outcome.status == FetchStatus.MALFORMED
    assert outcome.detail == detail


@pytest.mark.parametrize("content", [b"", b"PAR1", b"Date,Close\n2026-01-30,1\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_files_that_are_not_parquet(tmp_path: Path, content: bytes) -> None:
    outcome = read(tmp_path, content, "SIL.parquet")
    assert outcome.status == FetchStatus.MALFORMED
    assert outcome.detail.startswith("SIL.parquet: ")
    assert outcome.detail.endswith("; allowed: a Parquet file")
    assert outcome.detail.isprintable()


@pytest.mark.parametrize("column", ["Date", "Close", "currency"])
def test_parquet_text_that_is_not_utf8(tmp_path: Path, column: str) -> None:
    columns = {"Date": ["2026-01-30"], "Close": ["1.5"], "currency": ["USD"]}
    length = len(columns[column][0])
    offsets, bytes_ = pa.array([0, length], pa.int32()).buffers()[1], pa.py_buffer(b"\xff" * length)
    broken = pa.Array.from_buffers(pa.string(), 1, [None, offsets, bytes_])
    outcome = parquet(tmp_path, columns | {column: broken})
    assert outcome.status == FetchStatus.MALFORMED
    assert outcome.detail.startswith("SIL.parquet: ")
    assert "UTF8" in outcome.detail


def test_parquet_without_rows(tmp_path: Path) -> None:
    outcome = parquet(tmp_path, {"Date": pa.array([], pa.date32()), "Close": pa.array([], pa.float64())})
    assert outcome.status == FetchStatus.EMPTY
