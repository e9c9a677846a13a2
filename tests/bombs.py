"""Files that are small and claim, or unpack to, very much; and what is no price file at all."""

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY = 20_000  # in 2024


def _days(rows: int) -> pa.Array:
    return pa.array(np.full(rows, DAY, dtype="int32")).cast(pa.date32())


def _repeated(rows: int, text: str) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype="int32")), pa.array([text]))


def many_rows(path: Path) -> None:
    """A few hundred kilobytes that hold 20 million rows."""
    rows = pa.table({"Date": _days(2_000_000), "Close": pa.array(np.ones(2_000_000))})
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(rows)


def one_long_text(path: Path) -> None:
    """A text of 100 KB that every one of 400,000 rows repeats: 40 GB."""
    pq.write_table(pa.table({"Date": _days(400_000), "Close": _repeated(400_000, "1" * 100_000)}), path)


def folded_texts(path: Path) -> None:
    """The same, written as what each text shares with the one before."""
    text = pa.array(["1" * 100_000] * 100)
    table = pa.table({"Date": _days(100), "Close": text})
    pq.write_table(table, path, use_dictionary=False, column_encoding={"Close": "DELTA_BYTE_ARRAY"})


def packed_numbers(path: Path) -> None:
    """Plain pages of 400 MB that compress to nothing."""
    columns = {name: pa.array(np.zeros(490_000)) for name in ("Close", "Open", "High", "Low", "Volume")}
    text = pa.array(["0" * 100] * 490_000)
    table = pa.table({"Date": _days(490_000), **columns, "Adj Close": text, "Dividends": text})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)


def nested(path: Path) -> None:
    """A close within lists within lists."""
    deep: object = 1.0
    for _ in range(20):
        deep = [deep]
    pq.write_table(pa.table({"Date": _days(3), "Close": pa.array([deep] * 3)}), path)


def many_columns(path: Path) -> None:
    """Twenty thousand columns that mean nothing here."""
    other = pa.array([1, 2, 3])
    pq.write_table(pa.table({"Date": _days(3), **{f"c{i}": other for i in range(20_000)}}), path)


def one_line(path: Path) -> None:
    """A CSV of one line without end; a sparse file of a gigabyte would be as large."""
    with path.open("wb") as stream:
        stream.write(b"Date,Close\n2026-01-30,")
        for _ in range(60):
            stream.write(b"1" * 1_000_000)


def a_gigabyte(path: Path) -> None:
    """A CSV of a gigabyte of zero bytes, which takes no room on the disk."""
    path.write_bytes(b"Date,Close\n")
    os.truncate(path, 2**30)


def full(path: Path) -> None:
    """As large as a CSV may be: this one is good, and read."""
    line = b"2024-10-04,1.25,1.50,1.00,1.25,1.25,1000,0.0,0.0"
    line += b"," + b"x" * (130 - len(line) - 2) + b"\n"
    header = b"Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits,note\n"
    path.write_bytes(header + line * 499_999)


def full_parquet(path: Path) -> None:
    """As many rows, and as long texts, as a Parquet file may hold: this one is read."""
    texts = {
        name: _repeated(499_999, "1." + "0" * 60)
        for name in ("Open", "High", "Low", "Close", "Adj Close", "Volume", "Dividends", "Stock Splits")
    }
    pq.write_table(pa.table({"Date": _days(499_999), **texts}), path)


def gzipped(path: Path) -> None:
    """Nobody unpacks it."""
    with gzip.open(path, "wb") as stream:
        stream.write(b"0" * 10_000_000)


def zipped(path: Path) -> None:
    """Nobody unpacks it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.csv", b"0" * 10_000_000)


def pipe(path: Path) -> None:
    """Reading it would wait for ever."""
    os.mkfifo(path)


def folder(path: Path) -> None:
    """A folder."""
    path.mkdir()


def device(path: Path) -> None:
    """A link to something that never ends."""
    path.symlink_to("/dev/zero")


# What is put in the drop folder, as what, and what is said of it.
BOMBS = (
    (many_rows, "X.parquet", "20000000 rows; allowed: at most 500000"),
    (one_long_text, "X.parquet", "a text of 100000 bytes; allowed: at most 120"),
    (folded_texts, "X.parquet", "DeltaByteArray"),
    (packed_numbers, "X.parquet", "unpacks to"),
    (nested, "X.parquet", "cannot be read as a number"),
    (many_columns, "X.parquet", "no column Close"),
    (one_line, "X.csv", "row 2: longer than 1000000 bytes"),
    (a_gigabyte, "X.csv", "more than 67108864 bytes"),
    (gzipped, "X.csv", "is not UTF-8"),
    (zipped, "X.csv", "is not UTF-8"),
    (pipe, "X.csv", "not a regular file"),
    (folder, "X.csv", "not a regular file"),
    (device, "X.csv", "a link that leaves the drop folder"),
)
LARGEST = ((full, "X.csv"), (full_parquet, "X.parquet"))
