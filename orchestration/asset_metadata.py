"""What the web UI shows of an asset beside its name: columns, links to its code and its document; tags of runs."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.instance.runs import home_tags
from orchestration.settings import PROJECT_ROOT, Settings

# Of every asset.
OWNERS = ["team:orewatch"]

# Symbols that a tag names before it only counts.
SYMBOLS_SHOWN = 5


def links(document: str, *code: Path) -> dict[str, Any]:
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


def tag_run(context: Any, settings: Settings, **tags: object) -> None:
    """Say on the run what it is about: the source in any case, also of runs that no job has tagged."""
    known = {"source": settings.source, "simulated": str(settings.simulated).lower(), **home_tags(settings.paths)}
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
