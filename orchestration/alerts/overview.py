"""What `orewatch alerts` shows, and of that what `orewatch status` shows as well."""

import sqlite3
import time
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.alerts.outbox import Delivery, opened_outbox
from orchestration.alerts.outbox_file import FILE
from orchestration.alerts.senders import send
from orchestration.channels import Channel, Receivers, wrong_filters
from orchestration.home import Home
from orchestration.market.errors import SettingsError
from orchestration.market.universe import Universe

SHOWN = 20

# What was given up longer ago stands in `orewatch alerts` only.
STATUS_SECONDS = 30 * 86400.0


def print_alerts(home: Home, channels: Sequence[Channel], universe: Universe, console: Console) -> None:
    """The channels by name, never by URL; what is pending or was given up; what was sent last."""
    console.print("SIMULATED" if home.simulated else f"Source {home.source}", highlight=False)
    print_wrong_filters(channels, universe, console)
    with opened_outbox(home.alerts) as outbox:
        counts = outbox.counts()
        not_sent, sent = outbox.last(["pending", "expired"], SHOWN), outbox.last(["sent"], SHOWN)
    table = _table("Channels", "channel", "wants", "sent", "pending", "given up")
    wants = {channel.name: channel.filters for channel in channels}
    gone = {name: "(not set any more)" for name, _ in counts if name not in wants}
    for name, filters in {**wants, **gone}.items():
        table.add_row(name, escape(filters), *(str(counts.get((name, s), 0)) for s in ("sent", "pending", "expired")))
    console.print(table if table.row_count else "No channel is set: alerts are logged only. See OREWATCH_ALERTS.")
    if not_sent:
        console.print(_deliveries("Not sent", not_sent))
    if sent:
        console.print(_deliveries("Sent last", sent))


def print_wrong_filters(channels: Sequence[Channel], universe: Universe, console: Console) -> None:
    """Warn of channels that ask for what no seed names; a removed instrument must not stop an evening."""
    for line in wrong_filters(channels, universe.symbols, universe.watchlists):
        console.print(f"[yellow]warning[/] {escape(line)}", highlight=False, soft_wrap=True)


def print_not_sent(home: Home, channels: Sequence[Channel], console: Console) -> None:
    """One line for each channel to which something could not be sent, with the reason; nothing if all is well."""
    if not (home.alerts / FILE).exists():
        return
    try:
        with opened_outbox(home.alerts) as outbox:
            not_sent = outbox.not_sent(time.time() - STATUS_SECONDS)
    except (OSError, sqlite3.Error) as error:
        console.print(f"[yellow]warning[/] alerts: {escape(str(error))}", highlight=False)
        return
    known = {channel.name for channel in channels}
    lines: dict[str, list[str]] = {}
    for channel, state, count, reason in not_sent:
        why = reason or ("not tried yet" if channel in known else "the channel is not set any more")
        lines.setdefault(channel, []).append(f"{count} {'waiting' if state == 'pending' else 'given up'} ({why})")
    for channel, parts in lines.items():
        line = escape(f"Alerts not sent: {channel}: {'; '.join(parts)}")
        console.print(f"[yellow]{line}[/]", highlight=False, soft_wrap=True)


def try_channels(home: Home, receivers: Receivers, universe: Universe, console: Console) -> bool:
    """Send every channel a test message and say how it went; returns whether all accepted it.

    Raises:
        SettingsError: a channel asks for a symbol or a watchlist that no seed names; nothing was sent.
    """
    if not receivers.channels:
        console.print("No channel is set: alerts are logged only. See OREWATCH_ALERTS.")
        return False
    if wrong := wrong_filters(receivers.channels, universe.symbols, universe.watchlists):
        raise SettingsError("; ".join(wrong))
    outcomes = send(home, receivers, test=True)
    for outcome in outcomes:
        console.print(f"{outcome.channel}: {escape(outcome.reason or 'accepted')}", highlight=False)
    return all(outcome.reason is None for outcome in outcomes)


def _deliveries(title: str, deliveries: list[Delivery]) -> Table:
    table = _table(title, "at (UTC)", "channel", "event", "why not" if title == "Not sent" else "")
    for delivery in deliveries:
        table.add_row(
            f"{delivery.at:%Y-%m-%d %H:%M}",
            delivery.channel,
            escape(f"{delivery.session} {delivery.title}"),
            escape(f"{delivery.reason or 'not tried yet'} (attempts: {delivery.attempts})")
            if delivery.state != "sent"
            else "",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=name in ("at (UTC)", "channel"), overflow="fold")
    return table
