"""Where alerts go: named Apprise URLs, each with what it wants to hear of.

The text of OREWATCH_ALERTS is read here and nowhere else. A URL holds secrets: no error quotes it and no
representation shows it. What Apprise makes of a URL is seen when it is used (`alerts.apprise_service`).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

KINDS = ("level", "move", "pair", "volatility", "data")
SEVERITIES = ("info", "warning", "error")

FORM = (
    "NAME=URL, then what it wants, if not all: kinds=..., symbols=..., watchlists=..., severity=...;"
    " the next channel after a blank or on a line of its own"
)

_CHANNEL = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]{0,31})=(?P<url>[a-zA-Z][a-zA-Z0-9+.-]*://\S+)")
# Nothing that does not look like a symbol is ever quoted: it may be a piece of a URL.
_SYMBOL = re.compile(r"[A-Za-z0-9^][A-Za-z0-9.^=_-]{0,23}")
_WATCHLIST = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FILTER = re.compile(r"(?P<filter>kinds|symbols|watchlists|severity)=(?P<values>\S+)")


@dataclass(frozen=True)
class Channel:
    """One receiver.

    Attributes:
        name: how logs and the outbox call it; the URL behind it may change.
        url: an Apprise URL; secret.
        kinds: kinds of alert that it wants; empty means all.
        symbols: instruments that it wants. An alert about no instrument in particular passes.
        watchlists: it wants the instruments of these too; all, if it names neither.
        severity: the least severity that it wants.
    """

    name: str
    url: str = field(repr=False)
    kinds: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()
    watchlists: frozenset[str] = frozenset()
    severity: str = SEVERITIES[0]

    def wants(self, kind: str, symbols: Collection[str], severity: str) -> bool:
        """Whether an alert is for this channel."""
        return (
            (not self.kinds or kind in self.kinds)
            and (not (self.symbols or self.watchlists) or not symbols or not self.symbols.isdisjoint(symbols))
            and SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)
        )

    def with_members(self, watchlists: Mapping[str, Collection[str]]) -> "Channel":
        """The same channel, wanting the symbols of its watchlists.

        Args:
            watchlists: the symbols of each; one that is not there has none.
        """
        members = (watchlists.get(name, ()) for name in self.watchlists)
        return replace(self, symbols=self.symbols.union(*members))

    @property
    def filters(self) -> str:
        """What it wants, in words."""
        wanted = (("kinds", self.kinds), ("symbols", self.symbols), ("watchlists", self.watchlists))
        parts = [f"{name} {', '.join(sorted(values))}" for name, values in wanted if values]
        if self.severity != SEVERITIES[0]:
            parts.append(f"severity {self.severity} and above")
        return "; ".join(parts) or "everything"


@dataclass(frozen=True)
class Receivers:
    """All channels, the time limit of an answer to one message, and where a reader finds the web UI."""

    channels: tuple[Channel, ...]
    timeout_seconds: float
    ui_url: str


def read_channels(text: str) -> tuple[Channel, ...]:
    """The channels that a text names, in its order.

    Words are separated by blanks or newlines; each `NAME=URL` begins a channel, `kinds=`, `symbols=`, `watchlists=`
    and `severity=` after it say what it wants.

    Raises:
        ValueError: one line that says which channel is wrong and what is allowed, without its URL.
    """
    channels: list[tuple[str, str, dict[str, list[str]]]] = []
    for number, word in enumerate(text.split(), start=1):
        if found := _CHANNEL.fullmatch(word):
            if any(found["name"] == name for name, _, _ in channels):
                raise ValueError(f"channel '{found['name']}' is named twice; allowed: a name of its own for each")
            channels.append((found["name"], found["url"], {}))
        elif (found := _FILTER.fullmatch(word)) and channels:
            name, _, filters = channels[-1]
            if found["filter"] in filters:
                raise ValueError(f"channel '{name}' has {found['filter']} twice; allowed: once, comma-separated")
            filters[found["filter"]] = _values(name, found["filter"], found["values"])
        else:
            # The word may be a piece of a URL: it is not quoted.
            raise ValueError(f"word {number} is neither a channel nor a filter of one; allowed: {FORM}")
    return tuple(
        Channel(
            name,
            url,
            frozenset(filters.get("kinds", ())),
            frozenset(filters.get("symbols", ())),
            frozenset(filters.get("watchlists", ())),
            filters.get("severity", [SEVERITIES[0]])[0],
        )
        for name, url, filters in channels
    )


def wrong_filters(channels: Iterable[Channel], symbols: Collection[str], watchlists: Collection[str]) -> list[str]:
    """What is wrong with what channels ask for: one line for each that names unknown symbols, or watchlists."""
    return [
        f"OREWATCH_ALERTS: channel '{channel.name}' asks for {', '.join(sorted(missing))}, not in instruments.csv;"
        f" allowed: {what} of instruments.csv"
        for channel in channels
        for what, missing in (
            ("symbols", channel.symbols.difference(symbols)),
            ("watchlists", channel.watchlists.difference(watchlists)),
        )
        if missing
    ]


def _values(channel: str, name: str, text: str) -> list[str]:
    values = [value for value in text.split(",") if value]
    allowed = {"kinds": KINDS, "severity": SEVERITIES}.get(name)
    form = {"symbols": _SYMBOL, "watchlists": _WATCHLIST}.get(name)
    odd = form is not None and not all(form.fullmatch(value) for value in values)
    if not values or odd or (allowed and not set(values) <= set(allowed)) or (name == "severity" and len(values) > 1):
        which = "one of " if name == "severity" else ""
        what = ", ".join(allowed) if allowed else f"{name} of instruments.csv, comma-separated"
        raise ValueError(f"channel '{channel}': {name} is not understood; allowed: {which}{what}")
    return values
