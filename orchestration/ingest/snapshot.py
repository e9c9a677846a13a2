"""A second lake with the rows that the first one had at some moment.

The lake's files never change, so a file whose rows are all known is linked, not copied; only a file that holds rows of
before and of after the moment, as merged ones do, is read and filtered. Linked files outlive a compaction of the
original.
"""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.files import link
from orchestration.ingest.lake import DATASETS, Lake
from orchestration.ingest.parquet import column_bounds, read_parquet_file, write_parquet


def snapshot_lake(lake: Lake, target: Path, known_by: dt.datetime | None, fetches_by: dt.datetime | None) -> Lake:
    """A lake below `target` with the rows that were observed by then.

    Args:
        lake: a prepared lake.
        target: a folder that does not exist yet.
        known_by: last moment of bars and quarantined rows, UTC without a zone mark; None means all.
        fetches_by: last moment of the log of fetches, likewise.

    Raises:
        LakeError: a file cannot be read.
    """
    for dataset in DATASETS:
        (target / dataset).mkdir(parents=True)
        until = fetches_by if dataset == "fetches" else known_by
        for path in sorted((lake.root / dataset).glob("*.parquet")):
            _copy_known(path, target / dataset / path.name, until)
    return Lake(target)


def first_observation(lake: Lake) -> dt.datetime | None:
    """When the oldest stored version of any bar was seen, UTC without a zone mark; None if nothing is stored."""
    found: dt.datetime | None = pc.min(lake.read("bars", ["observed_at"])["observed_at"]).as_py()
    return found


def _copy_known(path: Path, copy: Path, until: dt.datetime | None) -> None:
    if until is None:
        link(path, copy)
        return
    first, last = column_bounds(path, "observed_at")
    if last is None or last <= until:
        link(path, copy)
    elif first is not None and first <= until:
        rows = read_parquet_file(path)
        write_parquet(copy, rows.filter(pc.less_equal(rows["observed_at"], pa.scalar(until, pa.timestamp("us")))))
