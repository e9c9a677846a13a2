"""Holding back: what a data test finds in the new bars of some instruments must not stop the others.

Their versions that no reader has seen leave the tables, and a second build does without them. The next delivery of such
an instrument is let in with all that came before it: what was wrong may be right by then. The lake keeps everything.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from orchestration.duckdb_io import query, reading
from orchestration.home import Home
from orchestration.ingest.reference import HELD, SCHEMAS, still_held, store_reference

# What it finds is wrong with the model, whatever bar it finds it in.
OF_THE_MODEL = "unique_combination_of_columns"


def blamed(run_results: Path, manifest: Mapping[str, Any], warehouse: Path) -> dict[str, str]:
    """Instruments that failed data tests are about, each with the tests' names; empty if more than those is wrong.

    Args:
        run_results: what dbt wrote of the build.
        manifest: its nodes.
        warehouse: what it built, as far as it came.
    """
    results = orjson.loads(run_results.read_bytes())["results"] if run_results.is_file() else []
    bad = {r["unique_id"]: r for r in results if r["status"] in ("fail", "error")}
    tests = {id_: (manifest["nodes"][id_].get("test_metadata") or {}).get("name") for id_ in bad}
    if any(r["status"] == "error" for r in bad.values()) or {None, OF_THE_MODEL}.intersection(tests.values()):
        return {}
    found: dict[str, list[str]] = {}
    for id_, result in bad.items():
        with reading(warehouse) as connection:
            offenders = Counter(row.get("symbol") for row in query(connection, result["compiled_code"]))
        for symbol, count in offenders.items():
            if symbol is None:
                return {}
            found.setdefault(symbol, []).append(f"{manifest['nodes'][id_]['name']} ({count})")
    return {symbol: ", ".join(sorted(names)) for symbol, names in sorted(found.items())}


def hold_back(
    home: Home, run_results: Path, manifest: Mapping[str, Any], published_table: Callable[[Path, str, str], str]
) -> dict[str, str]:
    """Hold back what readers have not seen of the instruments that failed data tests are about; returns why, by symbol.

    Nobody, if more is wrong than their new bars, or if no others are left.

    Args:
        home: with the warehouse that has failed.
        run_results: what dbt wrote of the build.
        manifest: its nodes.
        published_table: how a query names a table of the version that readers see.
    """
    reasons = blamed(run_results, manifest, home.warehouse)
    return reasons if reasons and _hold_back(home, reasons, published_table) else {}


def _hold_back(home: Home, reasons: Mapping[str, str], published_table: Callable[[Path, str, str], str]) -> bool:
    """Returns whether there are new bars of each of them, and others are left."""
    latest = "select symbol, max(observed_at) as at from {} group by symbol"
    published = {"published": home.published_file} if home.published_file.exists() else None
    with reading(home.warehouse, published) as connection:
        built = {row["symbol"]: row["at"] for row in query(connection, latest.format("int_kept_bars"))}
        readers = published_table(home.published, "daily_bars", "published")
        seen = {row["symbol"]: row["at"] for row in query(connection, latest.format(readers))} if published else {}
    if any(built.get(symbol) == seen.get(symbol) for symbol in reasons) or built.keys() <= reasons.keys():
        return False
    new = [{"symbol": s, "observed_until": seen.get(s), "reason": reason} for s, reason in reasons.items()]
    held = pa.concat_tables([still_held(home.reference, reasons), pa.Table.from_pylist(new, schema=SCHEMAS[HELD])])
    store_reference(home.reference, {HELD: held})
    return True
