"""A market of made-up bars, and the chart replies in which Yahoo would deliver it.

Bars are kept as traded. A reply puts them on the basis of the market's present: prices and dividends divided
by later splits, adjclose lowered by later dividends, prices in float32 precision. The bar of today carries
the time of the last trade and, before the close, is unfinished. Moving `now` on, or correcting a bar,
restates the replies as Yahoo does.
"""

import datetime as dt
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

# Opening and closing time by kind, exchange time. Yahoo stamps futures at midnight.
HOURS = {
    "EQUITY": (dt.time(9, 30), dt.time(16, 0)),
    "ETF": (dt.time(9, 30), dt.time(16, 0)),
    "INDEX": (dt.time(9, 30), dt.time(16, 0)),
    "FUTURE": (dt.time(0, 0), dt.time(18, 0)),
}
RANGES = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")


class Bar(NamedTuple):
    """One session as traded."""

    open: float
    high: float
    low: float
    close: float
    volume: int


class Row(NamedTuple):
    """One session as a reply delivers it; None where the vendor has nothing."""

    session: dt.date
    timestamp: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    adj_close: float | None
    volume: int | None


@dataclass
class Listing:
    """One instrument. Everything may be changed between two requests.

    Attributes:
        symbol: as in the address of the chart.
        bars: by session, as traded.
        dividends: by ex-date, as declared.
        splits: numerator and denominator by the first session on the new basis.
        capital_gains: by date, as declared.
        nulls: sessions whose row has a volume and no prices.
        holes: sessions without a row.
        dividend_currency: stands beside every dividend when set.
    """

    symbol: str
    bars: dict[dt.date, Bar]
    kind: str = "EQUITY"
    currency: str = "USD"
    zone: str = "America/New_York"
    dividends: dict[dt.date, float] = field(default_factory=dict)
    splits: dict[dt.date, tuple[int, int]] = field(default_factory=dict)
    capital_gains: dict[dt.date, float] = field(default_factory=dict)
    nulls: set[dt.date] = field(default_factory=set)
    holes: set[dt.date] = field(default_factory=set)
    dividend_currency: str | None = None

    def correct(self, session: dt.date, **values: float) -> None:
        """The vendor finds that a past bar was wrong."""
        self.bars[session] = self.bars[session]._replace(**values)

    def opens(self, session: dt.date) -> dt.datetime:
        """When the session opens, with the exchange's zone."""
        return dt.datetime.combine(session, HOURS[self.kind][0], tzinfo=ZoneInfo(self.zone))

    def closes(self, session: dt.date) -> dt.datetime:
        """When the session closes, with the exchange's zone."""
        return dt.datetime.combine(session, HOURS[self.kind][1], tzinfo=ZoneInfo(self.zone))

    def split_factor(self, session: dt.date, now: dt.datetime) -> float:
        """By how much prices of the session have been divided by `now`."""
        factor = 1.0
        for day, (numerator, denominator) in self.splits.items():
            if session < day and self.opens(day) <= now:
                factor *= numerator / denominator
        return factor

    def rows(self, now: dt.datetime) -> list[Row]:
        """The whole history as delivered at `now`, ascending."""
        rows = []
        for session in sorted(self.bars):
            if self.opens(session) > now or session in self.holes:
                continue
            bar = _unfinished(self.bars[session], self.opens(session), self.closes(session), now)
            stamp = self.opens(session)
            if session == now.astimezone(ZoneInfo(self.zone)).date():
                stamp = min(now, self.closes(session) + dt.timedelta(seconds=1))
            factor = self.split_factor(session, now)
            prices = [_float32(p / factor) for p in bar[:4]] if session not in self.nulls else [None] * 4
            row = Row(session, int(stamp.timestamp()), *prices, adj_close=None, volume=int(bar.volume * factor))
            rows.append(row)
        return self._adjusted(rows, now)

    def events(self, now: dt.datetime, begin: int, end: int) -> dict[str, dict[str, dict[str, Any]]]:
        """Dividends, splits and capital gains of the range, as delivered at `now`."""

        def known(days: Iterable[dt.date]) -> Iterator[tuple[dt.date, int]]:
            for day in sorted(days):
                stamp = int(self.opens(day).timestamp())
                if self.opens(day) <= now and begin <= stamp < end:
                    yield day, stamp

        currency = {} if self.dividend_currency is None else {"currency": self.dividend_currency}
        events = {
            "dividends": {
                str(t): {"amount": self.dividends[d] / self.split_factor(d, now), "date": t, **currency}
                for d, t in known(self.dividends)
            },
            "splits": {
                str(t): {
                    "date": t,
                    "numerator": self.splits[d][0],
                    "denominator": self.splits[d][1],
                    "splitRatio": f"{self.splits[d][0]}:{self.splits[d][1]}",
                }
                for d, t in known(self.splits)
            },
            "capitalGains": {
                str(t): {"amount": self.capital_gains[d], "date": t} for d, t in known(self.capital_gains)
            },
        }
        return {name: found for name, found in events.items() if found}

    def _adjusted(self, rows: list[Row], now: dt.datetime) -> list[Row]:
        """The rows with adjclose: lowered by every later dividend's share of the close before its ex-date."""
        adjusted: list[Row] = []
        due = sorted((d for d in self.dividends if self.opens(d) <= now), reverse=True)
        factor = 1.0
        for row in reversed(rows):
            while due and row.close is not None and row.session < due[0]:
                ex_date = due.pop(0)
                factor *= 1 - self.dividends[ex_date] / self.split_factor(ex_date, now) / row.close
            adj_close = None if row.close is None else _float32(row.close * factor)
            adjusted.append(row._replace(adj_close=adj_close))
        return adjusted[::-1]


class Market:
    """All listings, and what time it is there.

    Attributes:
        listings: by symbol.
        now: the present; None means the clock of the machine.
        appends_latest: deliver the latest row even where the range ends before it, which Yahoo does at times.
        adj_close_noise: relative size of the float32 noise that differs between two requests.
    """

    def __init__(self, now: dt.datetime | None = None) -> None:
        self.listings: dict[str, Listing] = {}
        self.now = now
        self.appends_latest = False
        self.adj_close_noise = 0.0
        self._noise = np.random.default_rng(1)

    def clock(self) -> dt.datetime:
        """The present."""
        return self.now or dt.datetime.now(dt.UTC)

    def add(
        self, symbol: str, sessions: Iterable[dt.date], *, price: float = 50.0, seed: int = 0, **facts: Any
    ) -> Listing:
        """List an instrument with a random walk over the sessions; the same arguments give the same bars."""
        random = np.random.default_rng([zlib.crc32(symbol.encode()), seed])
        bars = {}
        close = price
        for session in sessions:
            opened = close * np.exp(random.normal(0, 0.005))
            close = opened * np.exp(random.normal(0.0002, 0.018))
            high = max(opened, close) * (1 + abs(random.normal(0, 0.006)))
            low = min(opened, close) * (1 - abs(random.normal(0, 0.006)))
            prices = (round(float(p), 4) for p in (opened, high, low, close))
            bars[session] = Bar(*prices, volume=int(random.integers(10_000, 5_000_000)))
        self.listings[symbol] = Listing(symbol, bars, **facts)
        return self.listings[symbol]

    def delivered(self, symbol: str, start: dt.date = dt.date.min, end: dt.date = dt.date.max) -> list[Row]:
        """The rows that a chart reply of this moment carries, both ends included."""
        return [r for r in self.listings[symbol].rows(self.clock()) if start <= r.session <= end]

    def chart(self, symbol: str, query: dict[str, str]) -> dict[str, Any]:
        """The body of a chart reply for a symbol that is listed."""
        listing, now = self.listings[symbol], self.clock()
        rows = listing.rows(now)
        begin, end = -(2**62), 2**62
        if query.get("range") == "1d" and rows:
            begin = rows[-1].timestamp
        elif "period1" in query:
            begin, end = int(query["period1"]), int(query["period2"])
        wanted = [r for r in rows if begin <= r.timestamp < end]
        if self.appends_latest and rows and rows[-1] not in wanted:
            wanted.append(rows[-1])
        if self.adj_close_noise:
            wanted = [self._noisy(r) for r in wanted]
        result: dict[str, Any] = {"meta": meta(listing, rows, now)}
        if wanted:
            result["timestamp"] = [r.timestamp for r in wanted]
        if events := listing.events(now, begin, end):
            result["events"] = events
        names = ("open", "high", "low", "close", "volume")
        result["indicators"] = {
            "quote": [{name: [getattr(r, name) for r in wanted] for name in names} if wanted else {}],
            "adjclose": [{"adjclose": [r.adj_close for r in wanted]} if wanted else {}],
        }
        return {"chart": {"result": [result], "error": None}}

    def _noisy(self, row: Row) -> Row:
        if row.adj_close is None:
            return row
        noise = 1 + self.adj_close_noise * float(self._noise.uniform(-1, 1))
        return row._replace(adj_close=_float32(row.adj_close * noise))


def meta(listing: Listing, rows: list[Row], now: dt.datetime) -> dict[str, Any]:
    """The facts that precede every chart; without rows, those of a symbol that never traded."""
    local = now.astimezone(ZoneInfo(listing.zone))
    offset = int((local.utcoffset() or dt.timedelta()).total_seconds())
    zone = {"timezone": local.tzname(), "gmtoffset": offset}
    opened = int(listing.opens(local.date()).timestamp())
    closed = int(listing.closes(local.date()).timestamp())
    priced = [r for r in rows if r.close is not None]
    facts: dict[str, Any] = {
        "currency": listing.currency if rows else None,
        "symbol": listing.symbol,
        "exchangeName": {"FUTURE": "CMX", "ETF": "PCX"}.get(listing.kind, "NYQ"),
        "instrumentType": listing.kind,
        "firstTradeDate": rows[0].timestamp if rows else None,
        "regularMarketTime": rows[-1].timestamp if rows else opened,
        "hasPrePostMarketData": listing.kind != "FUTURE",
        "gmtoffset": offset,
        "timezone": local.tzname(),
        "exchangeTimezoneName": listing.zone,
        "priceHint": 2,
        "currentTradingPeriod": {
            "pre": {"start": opened - 19_800, "end": opened, **zone},
            "regular": {"start": opened, "end": closed, **zone},
            "post": {"start": closed, "end": closed + 14_400, **zone},
        },
        "dataGranularity": "1d",
        "range": "",
        "validRanges": list(RANGES),
    }
    if priced:
        facts |= {"regularMarketPrice": priced[-1].close, "chartPreviousClose": priced[0].close}
    return facts


def phantom(symbol: str, now: dt.datetime) -> dict[str, Any]:
    """The reply for a symbol that Yahoo carries in name only."""
    shell = {"quote": [{}], "adjclose": [{}]}
    facts = meta(Listing(symbol, {}), [], now)
    return {"chart": {"result": [{"meta": facts, "indicators": shell}], "error": None}}


def weekdays(start: dt.date, end: dt.date) -> list[dt.date]:
    """Monday to Friday, both ends included: sessions of an exchange without holidays."""
    days = (start + dt.timedelta(days=n) for n in range((end - start).days + 1))
    return [d for d in days if d.weekday() < 5]


def _unfinished(bar: Bar, opens: dt.datetime, closes: dt.datetime, now: dt.datetime) -> Bar:
    """The bar as it stands at `now`."""
    if now >= closes:
        return bar
    done = (now - opens) / (closes - opens)
    last = round(bar.open + (bar.close - bar.open) * done, 4)
    return Bar(bar.open, max(bar.open, last), min(bar.open, last), last, int(bar.volume * done))


def _float32(value: float) -> float:
    return float(np.float32(value))
