"""The control tables: validated seeds and closed exchange sessions, as Parquet that the dbt models read.

They are derived (from the seed files, the calendar library and the clock), so they are replaced as a whole whenever
they change, and only then: their content decides whether the models have anything new to work on.
See docs/decisions/0002-seeds-are-sources.md.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.files import cannot_be_written
from orchestration.ingest.lake import TIMESTAMP, write_parquet
from orchestration.market.errors import LakeError
from orchestration.market.universe import SeedRow, Universe

if TYPE_CHECKING:
    import pandas as pd

# Whose bars a data test has held back.
HELD = "held"

_TEXT, _DATE, _NUMBER = pa.string(), pa.date32(), pa.float64()

SCHEMAS: dict[str, pa.Schema] = {
    "instruments": pa.schema(
        [
            (name, _TEXT)
            for name in ("symbol", "source_symbol", "name", "asset_class", "metal", "tier", "calendar", "currency")
        ]
        + [("tick_size", _NUMBER), ("metal_symbol", _TEXT), ("sector_symbol", _TEXT), ("active_from", _DATE)]
        + [("price_basis", _TEXT)]
    ),
    "price_levels": pa.schema(
        [
            ("level_id", _TEXT),
            ("symbol", _TEXT),
            ("lower", _NUMBER),
            ("upper", _NUMBER),
            ("kind", _TEXT),
            ("active_from", _DATE),
            ("note", _TEXT),
        ]
    ),
    "pairs": pa.schema(
        [*((name, _TEXT) for name in ("pair_id", "long_symbol", "short_symbol", "kind")), ("z_threshold", _NUMBER)]
    ),
    "move_rules": pa.schema(
        [
            ("rule_id", _TEXT),
            ("scope", _TEXT),
            ("scope_value", _TEXT),
            ("measure", _TEXT),
            ("sessions", pa.int64()),
            ("threshold", _NUMBER),
            ("note", _TEXT),
        ]
    ),
    "published_claims": pa.schema(
        [
            ("claim_id", _TEXT),
            ("published_on", _DATE),
            ("publisher", _TEXT),
            ("symbol", _TEXT),
            ("measure", _TEXT),
            ("argument", _TEXT),
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


def control_tables(
    universe: Universe, sessions: "pd.DataFrame", price_bases: Mapping[str, str], held: pa.Table | None = None
) -> dict[str, pa.Table]:
    """The control tables by name.

    Args:
        universe: validated seeds.
        sessions: closed sessions of every calendar in use, as `market.calendar.closed_sessions_of` gives them.
        price_bases: what was taken out of the prices of each symbol that has any, as `Lake.price_bases` says.
        held: whose bars a data test has held back; None: nobody's.
    """
    rows: dict[str, Iterable[SeedRow]] = {
        "price_levels": universe.levels,
        "pairs": universe.pairs,
        "move_rules": universe.move_rules,
        "published_claims": universe.claims,
    }
    tables = {
        name: pa.Table.from_pylist([record.model_dump() for record in records], schema=SCHEMAS[name])
        for name, records in rows.items()
    }
    instruments = [{**i.model_dump(), "price_basis": price_bases.get(i.symbol)} for i in universe.instruments]
    tables["instruments"] = pa.Table.from_pylist(instruments, schema=SCHEMAS["instruments"])
    tables[HELD] = SCHEMAS[HELD].empty_table() if held is None else held
    naive = sessions.assign(
        open_utc=sessions["open_utc"].dt.tz_localize(None), close_utc=sessions["close_utc"].dt.tz_localize(None)
    )
    tables["sessions"] = pa.Table.from_pandas(
        naive, schema=SCHEMAS["sessions"], preserve_index=False
    ).replace_schema_metadata()
    return tables


def still_held(control_dir: Path, delivered: Iterable[str]) -> pa.Table:
    """What is held back and stays so: of whom nothing new was delivered.

    Args:
        control_dir: the control tables.
        delivered: symbols with new bars.
    """
    path = control_dir / f"{HELD}.parquet"
    known = pq.read_table(path, partitioning=None) if path.exists() else SCHEMAS[HELD].empty_table()
    new = set(delivered)
    return pa.Table.from_pylist([row for row in known.to_pylist() if row["symbol"] not in new], schema=SCHEMAS[HELD])


def store_control(folder: Path, tables: dict[str, pa.Table]) -> list[str]:
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
    """Whether a file holds a table; one that cannot be read holds none, and what it held is made of the seeds again."""
    try:
        return bool(pq.read_table(path, partitioning=None).equals(table))
    except (pa.ArrowInvalid, OSError):
        return False
