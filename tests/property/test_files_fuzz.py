"""Whatever lies in the drop folder: one outcome per request, never an exception, and no row is lost."""

import datetime as dt
import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestration.market.bars import RAW_COLUMNS, VALUE_COLUMNS
from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.files import FilesSource

bounded = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits,currency"
LINES = (f"2026-01-{n:02d},{n},{n + 1},{n - 1},{n}.5,{n}.25,1000,0.0,0.0,USD" for n in range(1, 31))
VALID = "\n".join([HEADER, *LINES]).encode()


def _parquet() -> bytes:
    days = [dt.date(2026, 1, day) for day in range(1, 31)]
    stream = io.BytesIO()
    pq.write_table(pa.table({"Date": days, "Close": [float(day.day) for day in days], "Volume": ["1"] * 30}), stream)
    return stream.getvalue()


VALID_PARQUET = _parquet()


def read(content: bytes, name: str) -> FetchOutcome:
    """The outcome of the fuzzed file, beside a good one that must not suffer."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        (Path(folder) / "GOOD.csv").write_bytes(b"Date,Close\n2026-01-30,1\n")
        requests = [FetchRequest(s, s, None, dt.date(2026, 1, 30), "forced") for s in ("X", "GOOD")]
        outcome, good = FilesSource(Path(folder)).fetch(requests)
    assert good.status == FetchStatus.OK
    assert len(good.bars) == 1
    assert outcome.request is requests[0]
    return outcome


def check(outcome: FetchOutcome, rows: int | None) -> None:
    """The outcome is well-formed; of the `rows` rows of the file (None: not known), each is delivered."""
    assert outcome.status in (FetchStatus.OK, FetchStatus.MALFORMED, FetchStatus.EMPTY)
    assert list(outcome.bars.columns) == list(RAW_COLUMNS)
    assert outcome.detail == "" or outcome.detail.isprintable()
    if outcome.status != FetchStatus.OK:
        assert outcome.bars.empty
        assert outcome.detail.startswith("X.")
        return
    bars = outcome.bars
    assert len(bars) > 0
    if rows is not None:
        assert len(bars) == rows
    assert bars["row_number"].is_monotonic_increasing
    assert bars["row_number"].is_unique
    assert (bars["session_date"].notna() | bars["parse_error"].notna()).all()
    assert all(error.isprintable() for error in bars["parse_error"].dropna())
    assert all(str(bars[column].dtype) == "float64" for column in VALUE_COLUMNS)


# A spreadsheet writes an empty row as separators and quotes alone.
BLANK = b',;|\t "'


def data_lines(content: bytes) -> int:
    """Lines below the header that hold something; None of the fuzzed headers is yfinance's of three lines.

    What a mutation cuts off before the header is a remark above it: the header is the first line that names a close.
    One cell that begins with no digit, or one in quotes, is a remark where nothing else is below it.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = text.split(b"\n")
    header = next((number for number, line in enumerate(lines) if b"close" in line.lower()), 0)
    separator = b";" if b";" in lines[header] else b","
    rows = [line for line in lines[header + 1 :] if line.strip(BLANK)]
    while rows and _is_remark(rows[-1], separator):
        rows.pop()
    return len(rows)


def _is_remark(line: bytes, separator: bytes) -> bool:
    others = line.split(separator)[1:]
    is_quoted = len(line) > 1 and line[:1] == line[-1:] == b'"' and line.count(b'"') == 2
    return (is_quoted or not any(cell.strip(b' "') for cell in others)) and not line.lstrip(b' "')[:1].isdigit()


cells = st.one_of(
    st.sampled_from(
        [
            *("", "null", "NaN", "-", "1", "-1", "1e5", "1e999", "inf", '"', '""', '"1,5"', "2026-01-30"),
            *("2026-02-30", "2026-01-30 00:00:00+09:00", "9" * 20, "0x1", " 7 ", "\x00", "\u2028", "\ud7ff"),
        ]
    ),
    st.floats().map(str),
    st.dates().map(str),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
headers = st.sampled_from(["Date,Close", "date,close,volume", "Date,Open,High,Low,Close", "Close;Date", "Price,Close"])


@bounded
@given(st.binary(max_size=300))
def test_random_bytes_as_csv(content: bytes) -> None:
    check(read(content, "X.csv"), None)


@bounded
@given(st.binary(max_size=300))
def test_random_bytes_below_a_header(content: bytes) -> None:
    content = b"Date,Close\n" + content
    check(read(content, "X.csv"), data_lines(content))


@bounded
@given(
    headers,
    st.lists(st.lists(cells, min_size=1, max_size=6), max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_random_tables(header: str, rows: list[list[str]], end: str) -> None:
    content = end.join([header, *(",".join(row) for row in rows)]).encode()
    check(read(content, "X.csv"), data_lines(content))


@bounded
@example([("", "", ""), ("0011-01-01", "", "")])
@example([("2026-01-29", "1", ""), ("null", "", "")])
@example([("2026-01-29", "1", ""), ('""', "", " "), ("2026-01-30", "1", "")])
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8))
def test_random_cells_in_rows_of_the_right_width(rows: list[tuple[str, str, str]]) -> None:
    content = "\n".join(["Date,Close,Volume", *(",".join(row) for row in rows)]).encode()
    check(read(content, "X.csv"), data_lines(content))


edits = st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=5)


def mutated(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The content with some bytes overwritten, taken out or put in, each at a place."""
    for place, taken, put in changes:
        at = place % (len(content) + 1)
        content = content[:at] + put + content[at + taken :]
    return content


@bounded
@example([(1, 3, b"\r")])
@given(edits)
def test_mutated_csv(changes: list[tuple[int, int, bytes]]) -> None:
    content = mutated(VALID, changes)
    check(read(content, "X.csv"), data_lines(content))


@bounded
@given(st.one_of(st.binary(max_size=300), edits.map(lambda changes: mutated(VALID_PARQUET, changes))))
def test_mutated_parquet(content: bytes) -> None:
    check(read(content, "X.parquet"), None)


@bounded
@given(st.text(max_size=30))
def test_random_symbols(symbol: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "drop"
        inner.mkdir()
        (Path(folder) / "X.csv").write_bytes(VALID)
        (outcome,) = FilesSource(inner).fetch([FetchRequest("X", symbol, None, dt.date(2026, 1, 30), "forced")])
    assert outcome.status == FetchStatus.ABSENT
    assert outcome.detail.isprintable()
