"""Compaction: many small files of the lake become a few, with every row and every version of them.

The rows of the small files are written, sorted, into a new folder; every other file is linked into it; then the folder
takes the place of the dataset's by one rename of a link. So no reader of `bars/*.parquet` finds a row twice or not at
all. A killed compaction leaves a folder that nobody reads; the next refresh removes it. See
docs/decisions/0016-compaction.md.
"""

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from orchestration.files import link
from orchestration.ingest.lake import DATASETS, SCHEMA_FILE, VERSION_ORDER, Lake
from orchestration.ingest.parquet import new_batch_id, parquet_footer, read_files, write_parquet
from orchestration.market.errors import LakeError

# More small files than this are merged; up to this many a scan takes hardly longer than of one.
SMALL_FILES = 32
# A file with so many rows is never merged again: what a merge holds in memory is bounded, and so is what it costs.
FULL_ROWS = 2_000_000

# In the order of the symbols a reader of some of them skips the row groups of the others.
ORDER = {
    "bars": VERSION_ORDER,
    "rejected_bars": ("symbol", "session_date", "observed_at", "batch_id", "rejected_id"),
    "fetches": ("symbol", "observed_at", "batch_id"),
}


def compact(lake: Lake, dataset: str, small_files: int = SMALL_FILES, full_rows: int = FULL_ROWS) -> int:
    """Merge the small files of a dataset, if there are too many; how many were merged.

    Only the holder of the refresh lock may call this, and not between the moment at which a fingerprint is taken and
    the publication of what was built from it.

    Args:
        lake: a prepared lake.
        dataset: bars, rejected_bars or fetches.
        small_files: that may stay.
        full_rows: of a file that is not small.

    Raises:
        LakeError: a file cannot be read, or the new ones not be written; the dataset is what it was.
    """
    paths = lake.paths(dataset)
    try:
        rows = {path: parquet_footer(path).num_rows for path in paths if path.name != SCHEMA_FILE}
        small = [path for path in rows if rows[path] < full_rows]
        if len(small) <= small_files:
            return 0
        folders = lake.folders(dataset)
        folder = folders.new()
        try:
            for path in paths:
                if path not in small:
                    link(path, folder / path.name)
            name = new_batch_id(dt.datetime.now(dt.UTC))
            for number, group in enumerate(_groups(small, rows, full_rows)):
                merged = _merged(group, dataset)
                if merged.num_rows != sum(rows[path] for path in group):
                    raise LakeError(f"{folder}: merging {len(group)} files lost rows; nothing was changed")
                write_parquet(folder / f"{name}-{number:04d}.parquet", merged)
            folders.exchange(folder)
        except BaseException:
            # Once it counts it has another name.
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise LakeError(
            f"{lake.root / dataset}: small files cannot be merged ({error.strerror or error}); they stay as they are"
        ) from error
    return len(small)


def _groups(small: list[Path], rows: dict[Path, int], full_rows: int) -> Iterator[list[Path]]:
    """Neighbours by name, hence by time, that fill a file each."""
    group: list[Path] = []
    filled = 0
    for path in small:
        group.append(path)
        filled += rows[path]
        if filled >= full_rows:
            yield group
            group, filled = [], 0
    if group:
        yield group


def _merged(paths: list[Path], dataset: str) -> pa.Table:
    table = read_files(paths, DATASETS[dataset])
    return table.sort_by([(name, "ascending") for name in ORDER[dataset]])
