"""What `orewatch verify` and `orewatch as-of` print."""

import datetime as dt
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.cli.as_of import build_as_of, default_folder
from orchestration.cli.compare import TOLERANCE, TableComparison
from orchestration.cli.progress import shown_on
from orchestration.cli.status import print_header
from orchestration.cli.then_and_now import Then, changes_since, explain_event, explain_session
from orchestration.cli.verify import verify
from orchestration.settings import Settings

DIFFERENCES_SHOWN = 3
CHANGES_SHOWN = 10


def run_verify(settings: Settings, console: Console | None = None) -> bool:
    """Verify the published version and print what was found; returns whether nothing differs.

    Raises:
        OrewatchError: there is nothing to compare, or no rebuild.
    """
    console = console or Console(file=sys.stdout)
    print_header(console, settings.paths, settings.as_of)
    with shown_on(console) as progress:
        found = verify(settings, progress)
    console.print(_comparison_table(found.tables))
    for table in found.tables:
        for line in differences(table):
            console.print(f" {escape(line)}", soft_wrap=True, highlight=False)
    rows, cells = (sum(getattr(table, name) for table in found.tables) for name in ("rows", "cells"))
    wrong = [table.table for table in found.tables if not table.equal]
    if wrong:
        console.print(
            f"[bold red]Version {found.version} is not what a full rebuild gives[/]: {', '.join(wrong)}."
            " Readers still see it; the next orewatch refresh that builds replaces it."
        )
    else:
        console.print(
            f"Version {found.version} is what a full rebuild gives: {len(found.tables)} tables, {rows:,} rows,"
            f" {cells:,} cells, floats within {TOLERANCE:g}",
            soft_wrap=True,
        )
    return found.equal


def differences(table: TableComparison) -> list[str]:
    """What differs in a table, a line each, the first few."""
    if table.problem:
        return [f"{table.table}: {table.problem}"]
    lines = []
    for found in table.examples[:DIFFERENCES_SHOWN]:
        key = " ".join(str(value) for value in found.key.values())
        if found.column:
            lines.append(f"{table.table} {key}: {found.column} is {found.left!s}, rebuilt {found.right!s}")
        else:
            lines.append(f"{table.table} {key}: {'not in the rebuild' if found.left else 'only in the rebuild'}")
    more = table.differing_cells + table.only_left + table.only_right - len(lines)
    return [*lines, f"{table.table}: and {more:,} more"] if more > 0 else lines


def run_as_of(
    settings: Settings,
    moment: dt.datetime,
    folder: Path | None,
    event_id: str | None,
    session: tuple[str, dt.date] | None,
    console: Console | None = None,
) -> None:
    """Build the tables of a moment, and print where they are and what was asked for then and now.

    Raises:
        OrewatchError: they cannot be built, or what was asked for is neither in them nor in those of now.
    """
    console = console or Console(file=sys.stdout)
    folder = folder or default_folder(settings.paths, moment)
    print_header(console, settings.paths, settings.as_of)
    with shown_on(console) as progress:
        manifest = build_as_of(settings, moment, folder, progress)
    console.print(
        f"As known at {moment:%Y-%m-%d %H:%M:%S} UTC: {len(manifest.rows)} tables, {sum(manifest.rows.values()):,} rows"
        f"\nInstruments, levels and rules are today's, of {settings.seeds}; OREWATCH_SEEDS names others."
        f"\nTables: {folder / 'market.duckdb'}",
        soft_wrap=True,
        highlight=False,
    )
    if event_id:
        facts = explain_event(settings.paths, folder, event_id)
    elif session:
        facts = explain_session(settings.paths, folder, *session)
    else:
        return
    label = "SIMULATED " if settings.simulated else ""
    for fact in facts:
        _print_fact(console, label, fact)
    concerned = session or _session_of(facts)
    if concerned:
        _print_changes(console, changes_since(settings.paths, moment, *concerned))


def _session_of(facts: list[Then]) -> tuple[str, dt.date] | None:
    row = facts[0].then or facts[0].now
    return (row["symbol"], row["session_date"]) if row else None


def _print_fact(console: Console, label: str, fact: Then) -> None:
    state = "otherwise now" if fact.changed else "the same now"
    if fact.then is None or fact.now is None:
        state = "not known then" if fact.then is None else "no longer so now"
    console.print(f"[bold]{label}{escape(fact.what)}: {state}[/]", soft_wrap=True, highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "then", "now"):
        table.add_column(name, overflow="fold")
    for name in fact.then or fact.now or {}:
        before, after = (None if side is None else side.get(name) for side in (fact.then, fact.now))
        if before is None and after is None:
            continue
        style = "bold" if name in fact.changed else ""
        table.add_row(name, _text(before, fact.then), _text(after, fact.now), style=style)
    console.print(table)


def _text(value: Any, side: dict[str, Any] | None) -> str:
    if side is None:
        return ""
    return escape(f"{value:.10g}" if isinstance(value, float) else "unknown" if value is None else str(value))


def _print_changes(console: Console, changes: list[dict[str, Any]]) -> None:
    if not changes:
        console.print("Nothing of what it rests on has been changed by the vendor since.")
        return
    console.print("[bold]Changed by the vendor since, up to that session[/]")
    for row in changes[:CHANGES_SHOWN]:
        by = "" if row["corrected_by"] is None else f" ({row['corrected_by']:+.2%})"
        console.print(
            f" {row['session_date']} {row['field']} {_value(row['old_value'])} -> {_value(row['new_value'])}{by},"
            f" {row['reason']}, seen {row['changed_at']:%Y-%m-%d %H:%M} UTC",
            highlight=False,
        )
    if len(changes) > CHANGES_SHOWN:
        console.print(f" and {len(changes) - CHANGES_SHOWN} more; price_revisions has all")


def _value(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.8g}"


def _comparison_table(tables: tuple[TableComparison, ...]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("table", no_wrap=True)
    for name in ("rows", "cells", "largest difference", "differing cells", "rows lacking"):
        shown.add_column(name, justify="right")
    for table in tables:
        lacking = table.only_left + table.only_right
        shown.add_row(
            table.table,
            f"{table.rows:,}",
            f"{table.cells:,}",
            f"{table.largest_difference:.1e}" if table.largest_difference else "0",
            f"{table.differing_cells:,}",
            "not comparable" if table.problem else f"{lacking:,}",
            style="" if table.equal else "bold red",
        )
    return shown
