"""What the web UI shows of an asset beside its name: owners, source, SIMULATED, links, freshness; tags of runs.

An asset says which document is about it and which files define it (`about`); the rest is added to all specs in one
pass (`described`).
"""

import datetime as dt
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.home import Home
from orchestration.instance.runs import home_tags
from orchestration.settings import PROJECT_ROOT

# Of every asset.
OWNERS = ["team:orewatch"]

SIMULATED = "SIMULATED prices. "

# Of assets that say what is asked for, and hold no prices.
REFERENCE_GROUP = "sources"
PUBLISH_GROUP = "publish"

# From the evening after a session to that after the next one: four days at most (a long weekend), the repetition at
# 21:00, and time for it. A policy by cron would fail on each holiday.
FRESH_FOR = dt.timedelta(days=4, hours=6)

# Symbols that a tag names before it only counts.
SYMBOLS_SHOWN = 5


def about(document: str, *code: Path) -> dict[str, Any]:
    """Metadata: the document about an asset by its path in the project, and its files, which open in an editor.

    Where the files lie is found out when the code location is loaded; a browser opens no file by itself.

    Args:
        document: such as docs/measures.md#trend.
        code: files that define the asset, the first one first.
    """
    paths = [*code, PROJECT_ROOT / document.partition("#")[0]]
    with warnings.catch_warnings():
        # Links to code are beta in Dagster, which it would say for every asset.
        warnings.simplefilter("ignore", dg.BetaWarning)
        references: list[dg.LocalFileCodeReference | dg.UrlCodeReference] = [
            dg.LocalFileCodeReference(file_path=str(path), label=path.name) for path in paths
        ]
        return {
            "document": document,
            "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=references),
        }


def described(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], source: str, simulated: bool
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """All assets with owners, the tag of their source, the label of simulated prices, and freshness."""

    def finish(spec: dg.AssetSpec, is_made_here: bool) -> dg.AssetSpec:
        label = SIMULATED if simulated and spec.group_name != REFERENCE_GROUP else ""
        # The simulated market stands still.
        is_awaited = is_made_here and spec.group_name == PUBLISH_GROUP and not simulated
        return spec.replace_attributes(
            description=label + (spec.description or ""),
            owners=OWNERS,
            tags={**spec.tags, "source": source},
            freshness_policy=dg.FreshnessPolicy.time_window(FRESH_FOR) if is_awaited else None,
        )

    return [
        made
        for asset in assets
        for made in dg.map_asset_specs(partial(finish, is_made_here=isinstance(asset, dg.AssetsDefinition)), [asset])
    ]


def column_schema(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Metadata: columns with types and descriptions, as the dbt manifest has them."""
    return {
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn(name, type=facts["data_type"] or "?", description=facts["description"])
                for name, facts in columns.items()
            ]
        )
    }


def first_sentence_first(description: str) -> str:
    """A description whose first line is its first sentence, since lists show one line."""
    first, _, rest = " ".join(description.split()).partition(". ")
    return f"{first}.\n\n{rest}" if rest else first


def tag_run(context: Any, home: Home, **tags: object) -> None:
    """Say on the run what it is about: the source in any case, also of runs that no job has tagged."""
    known = {"source": home.source, "simulated": str(home.simulated).lower(), **home_tags(home)}
    context.instance.add_run_tags(context.run.run_id, known | {name: str(value) for name, value in tags.items()})


def asked_for(symbols: list[str], start: str | None, end: str | None, full: bool) -> str:
    """The run config of a refresh in a few words."""
    if not (symbols or start or full):
        return "what is due"
    more = f" and {len(symbols) - SYMBOLS_SHOWN} more" if len(symbols) > SYMBOLS_SHOWN else ""
    whom = ", ".join(symbols[:SYMBOLS_SHOWN]) + more if symbols else "all symbols"
    if full:
        return f"{whom}, whole history"
    return f"{whom}, from {start}" + (f" to {end}" if end else "") if start else f"{whom}, what is due"
