"""What is in a table, as one short text: equal rows give an equal hash, wherever and whenever they were written.

The hash is over columns and rows, not over files: order on disk, version number and time of publication do not count.
Nor do the columns that only say when a run saw something (tagged `run_time` in the models' yml): asking again and
finding nothing changes no content. Rows are hashed by DuckDB's own `hash`, whose values may differ between releases of
DuckDB, so hashes are compared under the same release only; see docs/decisions/0012-postgresql-and-content-hash.md.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.duckdb_io import identifier

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Sums:
    """What the rows of a table, or of a partition of one, add up to.

    Attributes:
        rows: how many they are.
        forwards: sum of their 64-bit hashes over the columns in their order.
        backwards: the same over the columns in reverse.
    """

    rows: int = 0
    forwards: int = 0
    backwards: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.rows + other.rows, self.forwards + other.forwards, self.backwards + other.backwards)


def counted_columns(columns: Mapping[str, str], without: Collection[str]) -> dict[str, str]:
    """The columns that count, each with its type."""
    return {name: kind for name, kind in columns.items() if name not in set(without)}


def sums_sql(columns: Collection[str]) -> str:
    """The aggregates of a `Sums`, in its order; the last two are NULL where there is no row."""
    quoted = [identifier(name) for name in columns]
    forwards, backwards = ", ".join(quoted), ", ".join(reversed(quoted))
    return f"count(*), sum(cast(hash({forwards}) as hugeint)), sum(cast(hash({backwards}, 1) as hugeint))"


def columns_of(table: "duckdb.DuckDBPyRelation") -> dict[str, str]:
    """The columns of a relation, in their order, each with its type."""
    return {name: str(kind) for name, kind in zip(table.columns, table.types, strict=True)}


def hash_of(columns: Mapping[str, str], sums: Sums) -> str:
    """The hash of a table with these columns, all of which count, whose rows add up to this."""
    added_up = [sums.rows, *((sums.forwards, sums.backwards) if sums.rows else (None, None))]
    return _digest(repr((list(columns.items()), added_up)))


def table_hash(table: "duckdb.DuckDBPyRelation", without: Collection[str] = ()) -> str:
    """Hash of the columns and rows of a table, 32 hexadecimal digits.

    A row counts as often as it stands there: the 64-bit hashes of the rows are added up, once over the columns in their
    order and once backwards, so that two tables agree by accident in neither. Doubles count to the last bit, but -0.0
    is 0.0. The columns `without` count for nothing. What the partitions of a table add up to may be added up in turn.
    """
    counted = counted_columns(columns_of(table), without)
    return hash_of(counted, Sums(*(int(value or 0) for value in table.aggregate(sums_sql(counted)).fetchall()[0])))


def content_hash(tables: Mapping[str, str]) -> str:
    """One hash for all tables, from the hash of each by name."""
    return _digest("".join(f"{name}={value}\n" for name, value in sorted(tables.items())))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
