"""What is in a table, as one short text: equal rows give an equal hash, wherever and whenever they were written.

The hash is over columns and rows, not over files: order on disk, version number and time of publication do not count.
Nor do the columns that only say when a run saw something (tagged `run_time` in the models' yml): asking again and
finding nothing changes no content. Rows are hashed by DuckDB's own `hash`, whose values may differ between releases of
DuckDB, so hashes are compared under the same release only; see docs/decisions/0012-postgresql-and-content-hash.md.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from orchestration.storage.warehouse import identifier

if TYPE_CHECKING:
    import duckdb


def table_hash(table: "duckdb.DuckDBPyRelation", without: Collection[str] = ()) -> str:
    """Hash of the columns and rows of a table, 32 hexadecimal digits.

    A row counts as often as it stands there: the 64-bit hashes of the rows are added up, once over the columns in their
    order and once backwards, so that two tables agree by accident in neither. Doubles count to the last bit, but -0.0
    is 0.0.

    Args:
        table: the relation.
        without: columns that do not count.
    """
    counted = [
        (name, str(kind)) for name, kind in zip(table.columns, table.types, strict=True) if name not in set(without)
    ]
    quoted = [identifier(name) for name, _ in counted]
    forwards, backwards = ", ".join(quoted), ", ".join(reversed(quoted))
    sums = table.aggregate(
        f"count(*), sum(cast(hash({forwards}) as hugeint)), sum(cast(hash({backwards}, 1) as hugeint))"
    ).fetchall()[0]
    return _digest(repr((counted, [None if value is None else int(value) for value in sums])))


def content_hash(tables: Mapping[str, str]) -> str:
    """One hash for all tables, from the hash of each by name."""
    return _digest("".join(f"{name}={value}\n" for name, value in sorted(tables.items())))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
