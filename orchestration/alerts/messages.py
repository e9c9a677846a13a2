"""What an alert says, and how several of them make one message.

Pure text: what happened comes from `alerts.flagged` and `alerts.data_alerts`, where it goes from
`orchestration.channels`.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.channels import SEVERITIES

# The service had the message, and nobody learned what it made of it.
NO_ANSWER = "no answer in time"

# Beyond these an evening has one line each: somebody reads this on a telephone.
SHOWN_IN_FULL = 10


@dataclass(frozen=True)
class Alert:
    """One event.

    Attributes:
        event_id: the same for the same event, whenever and however often it is found.
        kind: one of `channels.KINDS`.
        severity: one of `channels.SEVERITIES`.
        symbols: instruments that it is about; empty if it is about all of them.
        session: its session or, of a failure, the day on which it was found.
        title: what happened, in one line.
        lines: how unusual, since when, what else a reader needs.
        rank: how unusual, for the order within a message; the scale of an absolute z score.
    """

    event_id: str
    kind: str
    severity: str
    symbols: tuple[str, ...]
    session: dt.date
    title: str
    lines: tuple[str, ...] = ()
    rank: float = 0.0


@dataclass(frozen=True)
class Pending:
    """An alert that has still to be sent to a channel.

    Attributes:
        alert: the event.
        run_id: the run that found it, if known.
        maybe_delivered: whether an earlier attempt may have reached the channel.
        rejections: how often the service refused a message with this alert for good.
        unanswered: how often it may have taken one and did not say so in time.
    """

    alert: Alert
    run_id: str | None = None
    maybe_delivered: bool = False
    rejections: int = 0
    unanswered: int = 0


@dataclass(frozen=True)
class Message:
    """What a channel is sent: one or more alerts."""

    title: str
    body: str
    severity: str
    event_ids: tuple[str, ...]


def ordered(pending: Sequence[Pending]) -> list[Pending]:
    """The most severe first, then the most unusual, then by name."""
    return sorted(
        pending, key=lambda p: (-SEVERITIES.index(p.alert.severity), -p.alert.rank, p.alert.title, p.alert.event_id)
    )


def compose(pending: Sequence[Pending], simulated: bool, ui_url: str, limit: int) -> Message:
    """The next message for a channel: as many of its alerts as its limit allows, and at least one.

    `limit` is the length that the body may have, in characters.
    """
    queue = ordered(pending)
    label = "SIMULATED " if simulated else ""
    taken: list[Pending] = []
    parts: list[str] = []
    for number, item in enumerate(queue):
        part = _full(item.alert) if number < SHOWN_IN_FULL else _short(item.alert)
        if taken and len("\n".join([*parts, part, *_end([*taken, item], simulated, ui_url)])) > limit:
            break
        taken.append(item)
        parts.append(part)
    first, more = taken[0].alert, len(taken) - 1
    # A failure's title does not name its day.
    return Message(
        title=f"{label}Orewatch {first.session}: {first.title}" + (f", and {more} more" if more else ""),
        body="\n".join([*parts, *_end(taken, simulated, ui_url)]),
        severity=first.severity,
        event_ids=tuple(item.alert.event_id for item in taken),
    )


def _full(alert: Alert) -> str:
    lines = [f"{alert.session}  {alert.title}", *alert.lines, f"id {alert.event_id}"]
    return "\n   ".join(lines) + "\n"


def _short(alert: Alert) -> str:
    return f"{alert.session}  {alert.title}  [id {alert.event_id}]"


def _end(taken: Sequence[Pending], simulated: bool, ui_url: str) -> list[str]:
    end = [""] if len(taken) > SHOWN_IN_FULL else []
    runs = list(dict.fromkeys(item.run_id for item in taken if item.run_id))
    end += [f"Run: {ui_url}/runs/{run}" for run in runs] or [f"Web UI: {ui_url}"]
    if simulated:
        end.append("SIMULATED: every price is made up.")
    if maybe := sum(item.maybe_delivered for item in taken):
        end.append(
            f"{maybe} of these may have reached you before: an attempt broke off before the answer came."
            " The same id is the same event."
        )
    return end
