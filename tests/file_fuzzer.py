"""Price files with broken bytes, read one after the other for a while: a process of its own, with a limit on memory.

    python -m tests.file_fuzzer SECONDS SEED

Prints one line of JSON: how many files were read, how many were taken, how much memory that took. Ends with an error at
the first file that meets anything but a clear refusal or sound bars, and leaves it in the working directory.
"""

import datetime as dt
import io
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.market.bars import PRICE_COLUMNS
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.validation import validate
from orchestration.sources.base import FetchStatus
from orchestration.sources.files import FilesSource
from tests.peak_memory import peak_mb

ADDRESS_SPACE = 4 * 2**30

DAYS = pd.date_range("2025-11-03", "2026-01-30", freq="B").astype("datetime64[s]")
REQUEST = FetchRequest("X", "X", None, dt.date(2026, 1, 30), "forced")


def seeds() -> Iterator[tuple[str, bytes]]:
    """Good files, in the ways that writers write them."""
    n = len(DAYS)
    close = 40 + np.arange(n) / 8
    frame = pd.DataFrame(
        {
            "Date": [f"{d:%Y-%m-%d}" for d in DAYS],
            "Open": close - 0.125,
            "High": close + 0.5,
            "Low": close - 0.5,
            "Close": close,
            "Adj Close": close,
            "Volume": 1000.0,
            "Dividends": 0.0,
            "Stock Splits": 0.0,
            "currency": "USD",
        }
    )
    yield "X.csv", frame.to_csv(index=False).encode()
    yield "X.csv", frame[["Date", "Close"]].to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")
    yield "X.csv", frame.assign(Date=frame["Date"] + " 00:00:00-05:00").to_csv(index=False, quoting=1).encode()
    typed = frame.assign(Date=DAYS.date)
    text = frame.astype(str)
    for table in (pa.Table.from_pandas(typed), pa.Table.from_pandas(text), pa.table({"Date": DAYS, "Close": close})):
        for options in (
            {"compression": "none"},
            {"compression": "none", "use_dictionary": False},
            {"compression": "snappy", "row_group_size": 16},
            {"compression": "zstd", "data_page_version": "2.0", "write_page_index": True},
            {"compression": "gzip", "version": "1.0", "write_statistics": False},
        ):
            stream = io.BytesIO()
            pq.write_table(table, stream, **options)
            yield "X.parquet", stream.getvalue()


def broken(content: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, taken out, put in or repeated; more often near the end, where Parquet keeps its plan."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 8, 40))):
        at = chance.randrange(len(data) + 1)
        if chance.random() < 0.4:
            at = max(0, len(data) - 1 - int(chance.expovariate(1 / 300)))
        kind = chance.randrange(6)
        if kind == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            data[at : at + chance.randrange(1, 9)] = b""
        elif kind == 2:
            data[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 3:
            data[at : at + 4] = chance.choice((b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff\xff\xff", b"\0\0\0\0"))
        elif kind == 4 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        else:
            data[at:at] = data[max(0, at - 40) : at]
        if not data:
            break
    return bytes(data)


def read(folder: Path, name: str, content: bytes) -> bool:
    """Read one file; returns whether it was taken.

    Raises:
        AssertionError: something was taken that should not have been.
    """
    path = folder / name
    path.write_bytes(content)
    (outcome,) = FilesSource(folder).fetch([REQUEST])
    path.unlink()
    if outcome.status is not FetchStatus.OK:
        assert outcome.status in (FetchStatus.MALFORMED, FetchStatus.EMPTY), outcome
        assert outcome.bars.empty
        assert outcome.detail.startswith(name), outcome.detail
        assert outcome.detail.isprintable(), outcome.detail
        assert len(outcome.detail) < 1000, outcome.detail
        return False
    taken = validate(outcome.bars, pd.DatetimeIndex(DAYS), pd.DatetimeIndex(DAYS)).accepted
    assert taken["session_date"].is_unique
    # A few days that the calendar lacks may be sessions.
    others = taken.loc[~taken["session_date"].isin(DAYS), "session_date"]
    assert len(others) <= 3
    assert others.between(DAYS[0], DAYS[-1]).all()
    assert (taken["close"].between(1e-9, 1e15)).all()
    whole = taken[taken[list(PRICE_COLUMNS)].notna().all(axis=1)]
    assert (whole["high"] >= whole[["open", "close", "low"]].max(axis=1)).all()
    assert (whole["low"] <= whole[["open", "close", "high"]].min(axis=1)).all()
    assert (whole["low"] > 0).all()
    assert (taken["dividend"] >= 0).all()
    assert (taken["split_ratio"] > 0).all()
    assert not (taken["volume"] < 0).any()
    assert np.isfinite(taken[["close", "dividend", "split_ratio"]].to_numpy()).all()
    return True


def main() -> None:
    """Break and read until the time is up."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)  # noqa: S311
    good = list(seeds())
    files = taken = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, content in good:
            assert read(Path(folder), name, content)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            name, content = chance.choice(good)
            content = broken(content, chance)
            Path("last-file").write_bytes(content)
            taken += read(Path(folder), name, content)
            files += 1
    Path("last-file").unlink(missing_ok=True)
    peak = peak_mb()
    print(json.dumps({"files": files, "taken": taken, "peak_mb": peak}))  # noqa: T201


if __name__ == "__main__":
    main()
