"""The reference tables: validated seeds and closed exchange sessions, as Parquet that the dbt models read.

Each is replaced as a whole, and only when it has changed: their content decides whether a build is due.
See docs/decisions/0002-seeds-are-sources.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.files import cannot_be_written
from orchestration.ingest.parquet import schema_of, write_parquet
from orchestration.market.calendar import price_times
from orchestration.market.contracts import Contract
from orchestration.market.currency import money_of
from orchestration.market.errors import LakeError
from orchestration.market.universe import Universe

if TYPE_CHECKING:
    import pandas as pd

# Symbols whose bars a data test has held back.
HELD = "held"

SCHEMAS = {
    name: schema_of(columns)
    for name, columns in {
        "groups": "kind text, name text, label text, position count",
        "instruments": "symbol text, source_symbol text, name text, asset_class text, metal text, tier text,"
        "calendar text, currency text, tick_size number, metal_symbol text, sector_symbol text, active_from date,"
        "watchlists text, contract_months text, price_basis text, money text, base_currency text, clock text",
        "price_levels": "level_id text, symbol text, lower number, upper number, kind text, active_from date,"
        "note text, series text, known_since date, short_symbol text",
        "pairs": "pair_id text, long_symbol text, short_symbol text, kind text, z_threshold number",
        "move_rules": "rule_id text, scope text, scope_value text, measure text, sessions count, threshold number,"
        "note text",
        "event_studies": "study_id text, scope text, scope_value text, signal text, direction text, threshold number,"
        "note text",
        "published_claims": "claim_id text, published_on date, publisher text, symbol text, measure text,"
        "argument text, session_date date, claimed number, tolerance number, note text",
        "sessions": "calendar text, session_date date, open_utc moment, close_utc moment, early_close flag,"
        "bar_expected flag, is_listed flag",
        "price_times": "clock text, session_date date, price_utc moment",
        "dollar_prices": "currency text, symbol text, is_inverse flag",
        "contracts": "contract text, root text, delivery_month date",
        HELD: "symbol text, observed_until moment, reason text",
    }.items()
}


def reference_tables(
    universe: Universe,
    sessions: "pd.DataFrame",
    price_bases: Mapping[str, str],
    held: pa.Table | None = None,
    contracts: Iterable[Contract] = (),
) -> dict[str, pa.Table]:
    """The reference tables by name.

    Args:
        universe: validated seeds.
        sessions: closed sessions of every calendar in use, as `market.calendar.closed_sessions_of` gives them.
        price_bases: the basis of each symbol with prices, as from `Lake.price_bases`.
        held: whose bars a data test has held back; None: nobody's.
        contracts: of futures, those that have ever been asked for.
    """
    legs: dict[str | None, str] = {pair.pair_id: pair.short_symbol for pair in universe.pairs}
    rows: dict[str, Sequence[dict]] = {
        "groups": [{"kind": g.kind, "name": g.name, "label": g.label, "position": g.order} for g in universe.groups],
        "instruments": [
            i.model_dump()
            | {"price_basis": price_bases.get(i.symbol), "money": money_of(i.currency), "clock": i.clock}
            | {"base_currency": universe.base_currency}
            for i in universe.instruments
        ],
        "dollar_prices": [asdict(price) for price in universe.dollar_prices],
        "contracts": [{"contract": c.symbol, "root": c.root.symbol, "delivery_month": c.month} for c in contracts],
        "price_levels": [level.model_dump() | {"short_symbol": legs.get(level.series)} for level in universe.levels],
        "pairs": [pair.model_dump() for pair in universe.pairs],
        "move_rules": [rule.model_dump() for rule in universe.move_rules],
        "event_studies": [study.model_dump() for study in universe.event_studies],
        "published_claims": [claim.model_dump() for claim in universe.claims],
    }
    tables = {name: pa.Table.from_pylist(records, schema=SCHEMAS[name]) for name, records in rows.items()}
    tables[HELD] = SCHEMAS[HELD].empty_table() if held is None else held
    naive = sessions.assign(
        open_utc=sessions["open_utc"].dt.tz_localize(None), close_utc=sessions["close_utc"].dt.tz_localize(None)
    )
    settlements = {i.clock: (i.calendar, i.settlement_time) for i in universe.instruments}
    times = price_times(sessions, settlements)
    times = times.assign(price_utc=times["price_utc"].dt.tz_localize(None))
    for name, frame in (("sessions", naive), ("price_times", times)):
        table = pa.Table.from_pandas(frame, schema=SCHEMAS[name], preserve_index=False)
        tables[name] = table.replace_schema_metadata()
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
