"""Large tables of a published version: a Parquet file for each calendar year, linked from version to version.

A partition that holds what it held in the version before is the same file under another name. Which ones may differ
the build says (`transform.changed_ranges`); of these the rows are hashed, and only what differs is written. Nothing
else of a large table is read. See docs/decisions/0020-publishing-parts.md.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.duckdb_io import identifier, literal
from orchestration.files import link
from orchestration.publish.content_hash import Sums, counted_columns, hash_of, sums_sql
from orchestration.transform.changed_ranges import ALWAYS

if TYPE_CHECKING:
    import duckdb

SESSION = "session_date"
# Another way to write partitions, another number: then none is linked.
LAYOUT = 1
# The first level of zstd takes two thirds of the time of the third, for files that are 3 % larger.
PARQUET = "format parquet, compression zstd, compression_level 1"
# Types that a Parquet file gives back as they were.
_KEPT = frozenset({"VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN", "DOUBLE", "FLOAT", "BIGINT", "INTEGER", "SMALLINT"})


@dataclass(frozen=True)
class Partition:
    """Rows of one calendar year.

    Attributes:
        content: of the columns that are content; see `content_hash.table_hash`.
        everything: of all columns.
    """

    content: Sums
    everything: Sums

    def to_texts(self) -> list[str]:
        """For the manifest: not every reader of JSON knows integers of this size."""
        both = (self.content.rows, self.content.forwards, self.content.backwards)
        return [str(n) for n in (*both, self.everything.forwards, self.everything.backwards)]

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> "Partition":
        """What `to_texts` gave."""
        rows, *sums = map(int, texts)
        return cls(Sums(rows, *sums[:2]), Sums(rows, *sums[2:]))


@dataclass(frozen=True)
class Partitions:
    """A large table.

    Attributes:
        written: how its files are written: layout, order, release of DuckDB.
        columns: types by name, in their order.
        years: its partitions by year, in order.
    """

    written: str
    columns: dict[str, str]
    years: dict[int, Partition]

    @property
    def rows(self) -> int:
        """Of all partitions."""
        return sum(partition.content.rows for partition in self.years.values())

    def hash(self, run_times: Collection[str]) -> str:
        """What `content_hash.table_hash` gives for the whole table."""
        total = sum((partition.content for partition in self.years.values()), Sums())
        return hash_of(counted_columns(self.columns, run_times), total)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        years = {str(year): partition.to_texts() for year, partition in self.years.items()}
        return {"written": self.written, "columns": self.columns, "years": years}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "Partitions":
        """What `to_dict` gave."""
        years = {int(year): Partition.from_texts(texts) for year, texts in facts["years"].items()}
        return cls(str(facts["written"]), dict(facts["columns"]), years)


@dataclass(frozen=True)
class Before:
    """The version before.

    Attributes:
        folder: where it lies.
        tables: its large tables; none, if there is no version before.
        since: by table, the first session that may have changed since then.
    """

    folder: Path
    tables: Mapping[str, Partitions]
    since: Mapping[str, dt.date]


NOTHING_BEFORE = Before(Path(), {}, {})


def can_be_partitioned(columns: Mapping[str, str]) -> bool:
    """Whether a table with these columns can be cut by year, and read back as it was written."""
    return columns.get(SESSION) == "DATE" and all(
        kind in _KEPT or kind.startswith("DECIMAL(") for kind in columns.values()
    )


def file_of(folder: Path, table: str, year: int) -> Path:
    """The file of a partition below the folder of its version."""
    return folder / table / f"{year:04d}.parquet"


def files_of(folder: Path, table: str, partitions: Partitions) -> list[Path]:
    """The files of a large table, in the order of the years."""
    return [file_of(folder, table, year) for year in partitions.years]


def reading_sql(files: Sequence[Path], columns: Mapping[str, str]) -> str:
    """A query of these files that every DuckDB since 1.0 understands."""
    names = ", ".join(map(identifier, columns))
    return f"select {names} from read_parquet([{', '.join(map(literal, files))}])"  # noqa: S608


def write_partitions(
    connection: "duckdb.DuckDBPyConnection",
    table: str,
    columns: Mapping[str, str],
    order: Sequence[str],
    run_times: Collection[str],
    folder: Path,
    work: Path,
    before: Before,
) -> Partitions | None:
    """Write or link the partitions of one table; None, and nothing is written, if a row has no session.

    Args:
        connection: has the warehouse attached as `warehouse`.
        table: its name.
        columns: types by name.
        order: the columns that order each partition.
        run_times: columns that are no content.
        folder: of the new version.
        work: an empty folder on the same disk, for a sorted copy.
        before: the version before.
    """
    import duckdb

    written = f"layout {LAYOUT}, duckdb v{duckdb.__version__}, order by {', '.join(order)}"
    known = _usable(before, table, columns, written)
    since = before.since[table] if known else ALWAYS
    source = _source(table, columns, since, before, known)
    found = _sums(connection, source, columns, run_times)
    if None in found:
        return None
    unchanged = {year: partition for year, partition in known.items() if year < since.year}
    now = {year: partition for year, partition in found.items() if year is not None}
    years = dict(sorted({**unchanged, **now}.items()))
    (folder / table).mkdir()
    changed = []
    for year, partition in years.items():
        if known.get(year) == partition:
            link(file_of(before.folder, table, year), file_of(folder, table, year))
        else:
            changed.append(year)
    for year, rows in _year_queries(connection, source, changed, order, work):
        # The order of the rows in the file is that of the query.
        connection.execute(f"copy ({rows}) to {literal(file_of(folder, table, year))} ({PARQUET})")
    return Partitions(written, dict(columns), years)


def _usable(before: Before, table: str, columns: Mapping[str, str], written: str) -> Mapping[int, Partition]:
    """The partitions of the version before that could be those of the next; none, if any of its files is missing."""
    last = before.tables.get(table)
    if last is None or last.written != written or list(last.columns.items()) != list(columns.items()):
        return {}
    return last.years if all(path.is_file() for path in files_of(before.folder, table, last)) else {}


def _source(
    table: str, columns: Mapping[str, str], since: dt.date, before: Before, known: Mapping[int, Partition]
) -> str:
    """A query of the rows since the beginning of the first year that may have changed.

    Rows of that year before the first session that may have changed come from the version before: in the warehouse they
    lie among those of all years, in the order of the symbols.
    """
    names = ", ".join(map(identifier, columns))
    stored = f"select {names} from warehouse.main.{identifier(table)}"  # noqa: S608
    if since == ALWAYS:
        return stored
    changed = f"{stored} where {SESSION} >= date '{since}'"
    if since.year not in known:
        return changed
    partition = reading_sql([file_of(before.folder, table, since.year)], columns)
    return f"{partition} where {SESSION} < date '{since}' union all {changed}"


def _sums(
    connection: "duckdb.DuckDBPyConnection", source: str, columns: Mapping[str, str], run_times: Collection[str]
) -> dict[int | None, Partition]:
    """What the rows of each year add up to."""
    counted = counted_columns(columns, run_times)
    aggregates = sums_sql(counted) if len(counted) == len(columns) else f"{sums_sql(counted)}, {sums_sql(columns)}"
    found = connection.execute(f"select year({SESSION}), {aggregates} from ({source}) group by 1").fetchall()  # noqa: S608
    return {year: Partition(Sums(*map(int, sums[:3])), Sums(*map(int, sums[-3:]))) for year, *sums in found}


def _year_queries(
    connection: "duckdb.DuckDBPyConnection", source: str, years: Sequence[int], order: Sequence[str], work: Path
) -> Iterator[tuple[int, str]]:
    """For each year a query of its rows in their order; several are sorted at once, into a copy that goes away."""
    ordered = ", ".join(map(identifier, order))
    if len(years) <= 1:
        for year in years:
            yield year, f"select * from ({source}) where {_between(year, year)} order by {ordered}"  # noqa: S608
        return
    copy = work / "sorted.duckdb"
    connection.execute(f"attach {literal(copy)} as sorted")
    try:
        wanted = f"{_between(years[0], years[-1])} and year({SESSION}) in ({', '.join(map(str, years))})"
        rows = f"select * from ({source}) where {wanted} order by year({SESSION}), {ordered}"  # noqa: S608
        connection.execute(f"create table sorted.main.rows as {rows}")
        for year in years:
            yield year, f"select * from sorted.main.rows where {_between(year, year)}"  # noqa: S608
    finally:
        connection.execute("detach sorted")
        copy.unlink(missing_ok=True)


def _between(first: int, last: int) -> str:
    return f"{SESSION} >= date '{first:04d}-01-01' and {SESSION} <= date '{last:04d}-12-31'"
