"""What the command line shows: the header, what was flagged, the state of the store."""

import datetime as dt

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.alerts.overview import print_not_sent
from orchestration.duckdb_io import rows
from orchestration.home import Home
from orchestration.publish.copies import copies
from orchestration.publish.manifest import MISPLACED, PublishedManifest, current_manifest, is_in_place
from orchestration.publish.watchlists import members_of
from orchestration.settings import Settings
from orchestration.signals.new_events import NewEvents, new_events
from orchestration.signals.registry import signals
from orchestration.signals.signal import TextTable
from orchestration.transform.build_state import BuildState

COVERAGE = """
    select symbol, first_session, last_session, stored_sessions, missing_sessions, staleness_sessions, last_fetch_status
    from data_coverage order by symbol
"""

CLAIMS = """
    select claim_id, symbol, session_date, measure, argument, claimed, computed, verdict, base_date
    from claim_checks order by session_date, claim_id
"""

# Genuine ones only: a new basis changes thousands of values and corrects none.
CORRECTIONS = """
    select symbol, session_date, field, old_value, new_value, corrected_by, changed_at, is_large
    from price_revisions
    where
        reason in ('correction', 'action')
        and field not in ('adj_close', 'volume')
        and changed_at >= ?
    order by is_large desc, changed_at desc, abs(corrected_by) desc, symbol, session_date, field
"""

CORRECTIONS_SHOWN = 8
CORRECTIONS_DAYS = 30
LINES_SHOWN = 8

VERDICT_STYLES = {"confirmed": "green", "refuted": "bold red", "not computable": "yellow"}


def print_header(console: Console, home: Home, as_of: dt.date) -> None:
    """Which source this is, and loudly so when its prices are made up."""
    if home.simulated:
        console.print(
            f"[black on yellow] SIMULATED [/] sample market as of {as_of}; real prices: OREWATCH_SOURCE=yahoo"
        )
    else:
        console.print(f"Source [bold]{home.source}[/], data in {home.root}")


def print_new_events(console: Console, settings: Settings, rebuilt: bool) -> None:
    """What was flagged in the sessions looked at last, and where to look next."""
    manifest = current_manifest(settings.paths.published)
    if manifest is None:
        console.print("Nothing has been published yet.")
        return
    if rebuilt:
        console.print(
            f"Published version {manifest.version}: {len(manifest.rows)} tables, {sum(manifest.rows.values()):,} rows"
        )
    else:
        console.print(f"Nothing new: published version {manifest.version} stands")
    found = new_events(settings.paths)
    label = "SIMULATED " if settings.simulated else ""
    for kind in signals():
        if kind.table and (flagged := found.rows.get(kind.name)):
            console.print(signal_table(f"{label}{kind.title}", kind.table(flagged, _price)))
    for title, lines in _lines(found).items():
        console.print(f"[bold]{label}{title}[/]")
        for line in lines[:LINES_SHOWN]:
            console.print(f" {escape(line)}", highlight=False)
        if len(lines) > LINES_SHOWN:
            console.print(f" and {len(lines) - LINES_SHOWN} more")
        console.print()
    if not any(found.rows.values()):
        console.print(
            f"Nothing was flagged in the latest sessions ({found.state.latest}): no level met, no rule broken."
        )
    if pages := sorted(settings.paths.briefs.glob("*.html")):
        console.print(f"Brief:          {pages[-1]}", soft_wrap=True)
    console.print(f"Tables for BI:  {settings.paths.published_file}")
    # Where the user says that it is, or where `make dev` opens it.
    opened = "" if "ui_url" in settings.model_fields_set else "make dev, then "
    console.print(f"Web UI:         {opened}{settings.ui_url}", soft_wrap=True)


def _lines(found: NewEvents) -> dict[str, list[str]]:
    """What happened, a line each, by title; of kinds that have no table."""
    found_lines: dict[str, list[str]] = {}
    for kind in signals():
        if not kind.table and (flagged := found.rows.get(kind.name)):
            lines = found_lines.setdefault(kind.title, [])
            lines += [f"{row['session_date']} {kind.line(row, _price)}" for row in flagged]
    return found_lines


def print_status(settings: Settings, console: Console | None = None, watchlist: str = "") -> None:
    """Alerts not sent, the published version, and per instrument what is stored and how its last request ended.

    Args:
        settings: of the source.
        console: where it is printed.
        watchlist: only its instruments; all if empty.
    """
    from orchestration.ingest.reference import still_held

    console = console or Console()
    print_header(console, settings.paths, settings.as_of)
    print_not_sent(settings.paths, settings.channels, console)
    manifest = _published(settings.paths, console)
    if manifest is None:
        _print_blocked(console, settings.paths)
        return
    console.print(f"Published version {manifest.version} of {manifest.published_at}, {_content(manifest)}")
    _print_blocked(console, settings.paths)
    _print_copies(console, settings, manifest)
    title = "SIMULATED coverage" if manifest.simulated else "Coverage"
    table = _table(title, ("symbol", "first", "latest"), ("bars", "missing", "behind", "last request"))
    held = {row["symbol"]: row["reason"] for row in still_held(settings.paths.reference, ()).to_pylist()}
    members = members_of(settings.paths.published_file, watchlist) if watchlist else None
    for row in rows(settings.paths.published_file, COVERAGE):
        if members is not None and row["symbol"] not in members:
            continue
        table.add_row(
            row["symbol"],
            _text(row["first_session"]),
            _text(row["last_session"]),
            f"{row['stored_sessions']:,}",
            _text(row["missing_sessions"] or None),
            _text(row["staleness_sessions"] or None),
            "held back" if row["symbol"] in held else _text(row["last_fetch_status"]),
        )
    console.print(table)
    for symbol, reason in held.items():
        console.print(
            f"[yellow]{symbol} is held back: its latest bars failed {escape(reason)}; its next delivery is let in[/]"
        )
    _print_calendars(console, settings.paths, settings.now().date())
    _print_corrections(console, "SIMULATED corrections" if manifest.simulated else "Corrections", settings.paths)


def _print_calendars(console: Console, home: Home, today: dt.date) -> None:
    """Exchanges whose sessions are not known for much longer."""
    from orchestration.market.calendar import running_out

    known = rows(home.published_file, "select calendar, string_agg(symbol, ', ') as who from instruments group by 1")
    users = {row["calendar"]: row["who"] for row in known}
    for name, last in running_out(users, today).items():
        console.print(
            f"[yellow]Calendar {name} is recorded until {last}; what is missing later of {users[name]} nobody knows;"
            " upgrade exchange_calendars[/]"
        )


def _print_corrections(console: Console, title: str, home: Home) -> None:
    """The vendor's latest corrections of prices and dividends, those that are large first and in bold."""
    import duckdb

    try:
        since = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=CORRECTIONS_DAYS)
        found = rows(home.published_file, CORRECTIONS, [since])
    except duckdb.BinderException:  # a version from before reasons were told apart
        return
    if not found:
        return
    table = _table(
        f"{title} seen in the last {CORRECTIONS_DAYS} days",
        ("symbol", "session", "field"),
        ("from", "to", "by", "seen"),
    )
    for row in found[:CORRECTIONS_SHOWN]:
        table.add_row(
            row["symbol"],
            _text(row["session_date"]),
            row["field"],
            f"{row['old_value']:,g}",
            f"{row['new_value']:,g}",
            "" if row["corrected_by"] is None else f"{row['corrected_by']:+.2%}",
            f"{row['changed_at']:%Y-%m-%d}",
            style="bold" if row["is_large"] else "",
        )
    if len(found) > CORRECTIONS_SHOWN:
        table.caption = f"and {len(found) - CORRECTIONS_SHOWN} more; price_revisions has all"
    console.print(table)


def _content(manifest: PublishedManifest) -> str:
    """The content hash as far as people compare it."""
    return (
        f"content {manifest.content_hash[:12]} ({manifest.hashed_by})" if manifest.content_hash else "no content hash"
    )


def _print_blocked(console: Console, home: Home) -> None:
    if blocked := BuildState.load(home.build_state).blocked:
        console.print(
            f"[bold red]The latest build was withheld[/] from readers on {blocked.since}: {escape(blocked.reason)}"
        )


def _print_copies(console: Console, settings: Settings, manifest: PublishedManifest) -> None:
    for copy in copies(settings):
        status = copy.sync_status(settings, manifest)
        style = "" if status.is_current else "[yellow]"
        console.print(f"{style}{copy.title}: {escape(status.text)}", soft_wrap=True)


def print_claims(home: Home, as_of: dt.date, console: Console | None = None) -> None:
    """Every claim with our value and the verdict."""
    console = console or Console()
    print_header(console, home, as_of)
    manifest = _published(home, console)
    if manifest is None:
        return
    table = _table(
        "SIMULATED claims" if manifest.simulated else "Claims",
        ("claim", "symbol", "session"),
        ("claimed", "computed", "since", "verdict"),
    )
    for row in rows(home.published_file, CLAIMS):
        style = VERDICT_STYLES[row["verdict"]]
        table.add_row(
            escape(row["claim_id"]),
            escape(row["symbol"]),
            str(row["session_date"]),
            _claim_value(row["measure"], row["claimed"]),
            _claim_value(row["measure"], row["computed"]),
            _text(row["base_date"]),
            f"[{style}]{row['verdict']}[/]",
        )
    console.print(table)


def _published(home: Home, console: Console) -> PublishedManifest | None:
    """The version that readers see; None, and a word about it, before the first and if its files are elsewhere."""
    manifest = current_manifest(home.published)
    if manifest is None:
        console.print("Nothing has been published yet; run: orewatch refresh")
    elif not is_in_place(home.published, manifest):
        console.print(MISPLACED.format(version=manifest.version))
        return None
    return manifest


def _claim_value(measure: str, value: float | None) -> str:
    """A return in percent, a statement as yes or no, anything else as a number."""
    if value is None:
        return ""
    if (measure.startswith("return_") and measure != "return_period") or measure == "share_up_after":
        return f"{value:+.2%}"
    if measure in ("close", "largest_fall_rank"):
        return f"{value:,g}"
    return "yes" if value else "no"


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    """A table for a terminal of 80 columns: names may wrap, dates and numbers are never cut."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in (*left, *right):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name != "claim", overflow="fold")
    return table


def signal_table(title: str, content: TextTable) -> Table:
    """A table of a kind of signal."""
    table = _table(title + content.more, (), ())
    for name, place in content.columns.items():
        table.add_column(
            name, justify="right" if place == "right" else "left", no_wrap=place != "wraps", overflow="fold"
        )
    for cells in content.rows:
        table.add_row(*cells)
    table.caption = content.caption
    return table


def _price(value: float) -> str:
    return f"{value:,.1f}" if value >= 1000 else f"{value:,.3f}"


def _text(value: object) -> str:
    return "" if value is None else str(value)
