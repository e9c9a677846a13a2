"""The reference tables: validated seeds and closed exchange sessions, as Parquet that the dbt models read.

Each is replaced as a whole, and only when it has changed: their content decides whether a build is due.
See docs/decisions/0002-seeds-are-sources.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.files import cannot_be_written
from orchestration.ingest.lake import TIMESTAMP
from orchestration.ingest.parquet import write_parquet
from orchestration.market.errors import LakeError
from orchestration.market.universe import Universe

if TYPE_CHECKING:
    import pandas as pd

# Symbols whose bars a data test has held back.
HELD = "held"

_TEXT, _DATE, _NUMBER = pa.string(), pa.date32(), pa.float64()


def _texts(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, _TEXT) for name in names]


SCHEMAS: dict[str, pa.Schema] = {
    "instruments": pa.schema(
        [
            *_texts("symbol", "source_symbol", "name", "asset_class", "metal", "tier", "calendar", "currency"),
            ("tick_size", _NUMBER),
            *_texts("metal_symbol", "sector_symbol"),
            ("active_from", _DATE),
            ("price_basis", _TEXT),
        ]
    ),
    "price_levels": pa.schema(
        [
            *_texts("level_id", "symbol"),
            ("lower", _NUMBER),
            ("upper", _NUMBER),
            ("kind", _TEXT),
            ("active_from", _DATE),
            ("note", _TEXT),
        ]
    ),
    "pairs": pa.schema([*_texts("pair_id", "long_symbol", "short_symbol", "kind"), ("z_threshold", _NUMBER)]),
    "move_rules": pa.schema(
        [
            *_texts("rule_id", "scope", "scope_value", "measure"),
            ("sessions", pa.int64()),
            ("threshold", _NUMBER),
            ("note", _TEXT),
        ]
    ),
    "published_claims": pa.schema(
        [
            ("claim_id", _TEXT),
            ("published_on", _DATE),
            *_texts("publisher", "symbol", "measure", "argument"),
            ("session_date", _DATE),
            ("claimed", _NUMBER),
            ("tolerance", _NUMBER),
            ("note", _TEXT),
        ]
    ),
    "sessions": pa.schema(
        [
            ("calendar", _TEXT),
            ("session_date", _DATE),
            ("open_utc", TIMESTAMP),
            ("close_utc", TIMESTAMP),
            ("early_close", pa.bool_()),
            ("bar_expected", pa.bool_()),
            ("is_listed", pa.bool_()),
        ]
    ),
    HELD: pa.schema([("symbol", _TEXT), ("observed_until", TIMESTAMP), ("reason", _TEXT)]),
}


def reference_tables(
    universe: Universe, sessions: "pd.DataFrame", price_bases: Mapping[str, str], held: pa.Table | None = None
) -> dict[str, pa.Table]:
    """The reference tables by name.

    Args:
        universe: validated seeds.
        sessions: closed sessions of every calendar in use, as `market.calendar.closed_sessions_of` gives them.
        price_bases: the basis of each symbol with prices, as from `Lake.price_bases`.
        held: whose bars a data test has held back; None: nobody's.
    """
    rows: dict[str, Sequence[dict]] = {
        "instruments": [{**i.model_dump(), "price_basis": price_bases.get(i.symbol)} for i in universe.instruments],
        "price_levels": [level.model_dump() for level in universe.levels],
        "pairs": [pair.model_dump() for pair in universe.pairs],
        "move_rules": [rule.model_dump() for rule in universe.move_rules],
        "published_claims": [claim.model_dump() for claim in universe.claims],
    }
    tables = {name: pa.Table.from_pylist(records, schema=SCHEMAS[name]) for name, records in rows.items()}
    tables[HELD] = SCHEMAS[HELD].empty_table() if held is None else held
    naive = sessions.assign(
        open_utc=sessions["open_utc"].dt.tz_localize(None), close_utc=sessions["close_utc"].dt.tz_localize(None)
    )
    tables["sessions"] = pa.Table.from_pandas(
        naive, schema=SCHEMAS["sessions"], preserve_index=False
    ).replace_schema_metadata()
    return tables


def still_held(folder: Path, delivered: Iterable[str]) -> pa.Table:
    """The rows of `HELD` of symbols without new bars.

    Args:
        folder: of the reference tables.
        delivered: symbols with new bars.
    """
    path = folder / f"{HELD}.parquet"
    known = pq.read_table(path, partitioning=None) if path.exists() else SCHEMAS[HELD].empty_table()
    new = set(delivered)
    return pa.Table.from_pylist([row for row in known.to_pylist() if row["symbol"] not in new], schema=SCHEMAS[HELD])


def store_reference(folder: Path, tables: dict[str, pa.Table]) -> list[str]:
    """Write the tables that differ from what `folder` holds; returns the names of those.

    Raises:
        LakeError: a file cannot be written.
    """
    changed = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            path = folder / f"{name}.parquet"
            if path.exists() and _holds(path, table):
                continue
            write_parquet(path, table)
            changed.append(name)
    except OSError as error:
        raise LakeError(cannot_be_written(error, folder)) from error
    return changed


def _holds(path: Path, table: pa.Table) -> bool:
    """Whether a file holds a table; one that cannot be read is written again."""
    try:
        return bool(pq.read_table(path, partitioning=None).equals(table))
    except (pa.ArrowInvalid, OSError):
        return False
