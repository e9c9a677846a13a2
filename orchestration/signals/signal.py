"""What a kind of market signal is: the one class that checks, alerts, terminal and brief know.

A kind is a module of this folder that holds a `Signal`; `signals.registry` finds it. Its events are rows of the mart
market_signals. How to add one: docs/guides/signal.md.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.market.universe import Universe
from orchestration.signals.wording import TOO_FEW, and_more, in_ticks, named, plain_price, short_price

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
# Writes a price.
Price = Callable[[float], str]

# Days that a plot looks back over.
PLOT_DAYS = 365

# Events that the words of a check name; its table has all.
EVENTS_NAMED = 5


@dataclass(frozen=True)
class AlertText:
    """What an alert says of an event.

    Attributes:
        title: what happened, in one line.
        lines: how unusual, since when, what else a reader needs.
        rank: how unusual, for the order within a message; the scale of an absolute z score.
        symbols: instruments that it is about; none: that of the event.
    """

    title: str
    lines: tuple[str, ...] = ()
    rank: float = 0.0
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextTable:
    """A table for the terminal; cells may hold the markup of rich.

    Attributes:
        columns: by name where their text stands: "left", "right", or "wraps", which is left and may be broken.
        rows: as many cells each.
        more: goes on after the title.
        caption: stands below.
    """

    columns: Mapping[str, str]
    rows: Sequence[tuple[str, ...]]
    more: str = ""
    caption: str | None = None


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One kind of event. What is not given is made from its sentence.

    Attributes:
        name: value of the column `signal` in market_signals.
        title: heading of its events in the terminal and the brief; kinds with the same one share it.
        sql: the rows of its events, the latest session first: all of `signals`, which has the events asked for, as in
            market_signals, with name, tick_size and currency of the instrument; and what the kind needs of other marts.
        mart: the one that says more of its events.
        checks: the description of each check in the web UI by its name: what happened when it fails.
        sentence: what happened in a row, in a few words; gets the instrument's name and what writes a price.
        alert_kind: the kind of alert that channels are asked for, one of `channels.KINDS`.
        order: its place among the kinds.
        columns: of its rows, those that the table of a check shows, with blanks between.
        summary: the flagged rows of one check in words, at least one row.
        plot: a picture of these rows from the published DuckDB file; None where there is nothing to draw.
        alert_id: what an alert is known by; rows with the same id are one alert.
        alert: what an alert of these rows says; its severity is that of the first row.
        table: its rows in the terminal, with what writes a price; without it each is a line.
        brief: its sentences about the rows of one session, repeated events among them; none where the brief tells of
            the kind in parts of its own.
        brief_title: of the part of the brief that these stand in, if not the same.
        studied: what studies count of its events, as "Large falls of SLV", by their `signal` in signal_statistics, each
            from a row of that mart.
        once_a_session: whether studies count its events of a session as one, and how rare its return is is known.
    """

    name: str
    title: str
    sql: str
    checks: Callable[[Universe], Mapping[str, str]]
    sentence: Callable[[Row, str, Price], str]
    alert_kind: str
    order: int = 100
    mart: str = "market_signals"
    columns: str = "session_date symbol direction strength"
    summary: Callable[[Sequence[Row]], str] | None = None
    plot: "Callable[[Path, Sequence[Row]], Figure | None] | None" = None
    alert_id: Callable[[Row], str] = lambda row: str(row["event_id"])
    alert: Callable[[Sequence[Row]], AlertText] | None = None
    table: Callable[[Sequence[Row], Price], TextTable] | None = None
    brief: Callable[[Sequence[Row]], list[str]] | None = None
    brief_title: str = ""
    studied: Mapping[str, Callable[[Row], str]] = field(default_factory=dict)
    once_a_session: bool = False

    def summarize(self, rows: Sequence[Row]) -> str:
        """The flagged rows of one check in words."""
        lines = [self.line(row, plain_price) for row in rows[:EVENTS_NAMED]] if self.summary is None else []
        text = self.summary(rows) if self.summary else f"{rows[0]['session_date']}: {and_more(lines, len(rows))}"
        return ". ".join([text, *evidence(rows[:1])])

    def line(self, row: Row, price: Price) -> str:
        """What happened in one row."""
        return self.sentence(row, row["symbol"], price)

    def alert_text(self, rows: Sequence[Row]) -> AlertText:
        """What an alert of these rows, which have one id, says."""
        if self.alert:
            text = self.alert(rows)
        else:
            text = AlertText(self.sentence(rows[0], named(rows[0]), short_price), rank=float(rows[0]["strength"]))
        return replace(text, lines=(*text.lines, *evidence(rows[:1], too_few=True)))

    def brief_sentences(self, rows: Sequence[Row]) -> list[str]:
        """What the brief says of the rows of one session."""
        if self.brief:
            return self.brief(rows)
        return [f"{self.line(row, in_ticks(row))}." for row in rows if not row["is_repeat"]]


def evidence(rows: Iterable[Row], too_few: bool = False) -> list[str]:
    """What usually followed events like some, and how rare they are; each sentence once.

    Args:
        rows: the events.
        too_few: with those that say that too few are known.
    """
    sentences = dict.fromkeys(sentence for row in rows for sentence in row.get("evidence", ()))
    return [sentence for sentence in sentences if too_few or TOO_FEW not in sentence]


def year_before(published: Path, sql: str, session: dt.date, **which: Any) -> list[dict[str, Any]]:
    """What a plot draws, from the published DuckDB file.

    Args:
        published: the file.
        sql: a query with the parameters `$session` and `$days`, and those of `which`.
        session: the last one.
        which: what else the query asks for.
    """
    from orchestration.duckdb_io import rows

    return rows(published, sql, {"session": session, "days": PLOT_DAYS, **which})


def in_a_section_of_its_own(_: Sequence[Row]) -> list[str]:
    """For a kind that the brief tells of in parts of its own."""
    return []
