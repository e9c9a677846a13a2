"""The tables that the ingest step writes, as assets: keys, descriptions, columns, links."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.asset_metadata import about, column_schema
from orchestration.market.universe import SEED_FILES
from orchestration.settings import DBT_PROJECT_DIR

BARS = dg.AssetKey(["raw", "bars"])
REJECTED_BARS = dg.AssetKey(["raw", "rejected_bars"])
FETCHES = dg.AssetKey(["raw", "fetches"])
LAKE = {
    "bars": "Daily bars as they were delivered, every version of each, append-only.",
    "rejected_bars": "Delivered rows that were rejected or lost their range, each with the rule it broke.",
    "fetches": "What was asked of the source for each symbol, and how it ended.",
}
REFERENCE = {
    "groups": "What instruments and pairs may be called; groups.csv.",
    "instruments": "What is watched; a row of instruments.csv is all it takes to add one.",
    "price_levels": "Lines and zones of as-traded prices to watch; price_levels.csv.",
    "pairs": "Instruments whose gap is watched; pairs.csv.",
    "move_rules": "When a move is large; move_rules.csv.",
    "event_studies": "What is studied beside every kind of signal; event_studies.csv.",
    "published_claims": "What publications said, to be held against our figures; published_claims.csv.",
    "sessions": "Closed sessions of every exchange in use.",
    "price_times": "When the closing prices of each session are made.",
    "dollar_prices": "Which exchange rate says what a currency is worth in dollars.",
    "contracts": "The contracts of futures that are, or were, collected.",
    "held": "Whose latest bars a data test has held back from the tables.",
}

# Of the others: the page about the seed files.
DOCUMENTS = {
    "bars": "docs/architecture.md#how-a-refresh-decides-what-to-ask-for",
    "fetches": "docs/architecture.md#how-a-refresh-decides-what-to-ask-for",
    "rejected_bars": "docs/data-quality.md#rules",
    "sessions": "docs/decisions/0003-comex-sessions.md",
    "held": "docs/data-quality.md#held-back",
    "price_levels": "docs/instruments-and-levels.md#levels",
    "move_rules": "docs/instruments-and-levels.md#move-rules",
    "event_studies": "docs/instruments-and-levels.md#event-studies",
    "published_claims": "docs/instruments-and-levels.md#claims",
}

INGESTED = (BARS, REJECTED_BARS, FETCHES, *(dg.AssetKey(["control", name]) for name in REFERENCE))


def asset_specs(source: str, seeds: Path, tables: Mapping[str, Any]) -> list[dg.AssetSpec]:
    """One for each table.

    Args:
        source: name of the source.
        seeds: the folder of the seed files.
        tables: what the dbt manifest says of its sources, by dbt's unique id.
    """

    def spec(folder: str, name: str, description: str, group: str, *kinds: str) -> dg.AssetSpec:
        table = tables[f"source.orewatch.{folder}.{name}"]
        # The first file is the one that users edit, where there is one.
        code = [Path(__file__).with_name("assets.py"), DBT_PROJECT_DIR / table["original_file_path"]]
        if name in SEED_FILES:
            code.insert(0, seeds / f"{name}.csv")
        return dg.AssetSpec(
            dg.AssetKey([folder, name]),
            group_name=group,
            kinds={"python", *kinds},
            description=description,
            metadata=column_schema(table["columns"])
            | about(DOCUMENTS.get(name, "docs/instruments-and-levels.md#the-files"), *code),
        )

    lake = [spec("raw", name, text, "lake", "parquet", *([source] * (name == "bars"))) for name, text in LAKE.items()]
    reference = [
        spec("control", name, text, "sources", "csv" if name in SEED_FILES else "parquet")
        for name, text in REFERENCE.items()
    ]
    return lake + reference
