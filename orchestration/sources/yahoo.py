"""Daily bars from Yahoo through the genuine yfinance client; nothing else in the project imports it.

What belongs here: asking once, telling apart what can go wrong, and turning yfinance's frame into a raw delivery
without losing anything. What does not: pace and retries (`sources.throttle`), judging bars (`market.bars`) and
deciding what to ask (`market.fetch_plan`).

Threads share one session, hence one cookie and one crumb, which yfinance guards with a lock; curl_cffi gives each of
them a connection of its own, and its SQLite caches a database handle.

yfinance reports one fault as different exceptions, depending on which of its requests met it and on how many
met it before. So the verdict rests on the reply itself: the session remembers the last one about a chart.
"""

import datetime as dt
import functools
import json
import logging
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from orchestration.market.bars import empty_raw, raw_frame
from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.throttle import Politeness, fetch_politely

if TYPE_CHECKING:
    from curl_cffi.requests import Session

logger = logging.getLogger(__name__)

CHART_PATH = "/v8/finance/chart/"
COLUMNS = {
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "adj_close": "Adj Close",
    "volume": "Volume",
}

_cache_folder: Path | None = None


class YahooSource:
    """Yahoo, a few symbols at a time.

    How fast, what is asked again and when the rest is given up: `sources.throttle`.

    Args:
        pause_seconds: before a free connection begins another symbol, while all is well.
        timeout_seconds: of every single request, yfinance's own (cookie, crumb, time zone) included.
        attempts: for one symbol.
        backoff_seconds: before the second attempt; doubles, with jitter.
        cache_dir: where yfinance keeps time zones and its cookie; the first one of a process stays in force.
        connections: symbols that are asked for at the same time, at most.
        sleep: waits while nothing is under way; tests replace it.
    """

    def __init__(
        self,
        *,
        pause_seconds: float,
        timeout_seconds: float,
        attempts: int,
        backoff_seconds: float,
        cache_dir: Path,
        connections: int = 1,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._politeness = Politeness(connections, pause_seconds, attempts, backoff_seconds)
        self._timeout_seconds = timeout_seconds
        self._cache_dir = cache_dir
        self._sleep = sleep

    @property
    def local(self) -> bool:
        """False: a remote service, asked for as little as will do."""
        return False

    def fetch(self, requests: Sequence[FetchRequest]) -> Iterator[FetchOutcome]:
        """One outcome per request, each as soon as it is known; over one connection in the order of the requests."""
        if not requests:
            return
        client = _client(self._timeout_seconds, self._cache_dir)
        yield from fetch_politely(requests, functools.partial(_attempt, client), self._politeness, self._sleep)


@dataclass(frozen=True)
class _Reply:
    """The last answer to a chart request."""

    status: int
    text: str

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object; empty if it is none."""
        try:
            body = json.loads(self.text)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def reason(self) -> str:
        """Yahoo's own words about what is wrong, after a colon; empty if it has none."""
        for part in self.body.values():
            error = part.get("error") if isinstance(part, dict) else None
            if isinstance(error, dict) and error.get("description"):
                return f": {error['description']}"
        return ""

    @property
    def result(self) -> dict[str, Any]:
        """The chart's one result; empty if there is none."""
        results = (self.body.get("chart") or {}).get("result") or [{}]
        return results[0] or {}


@dataclass(frozen=True)
class _Answer:
    """What one call of yfinance brought: a frame or an error, and the reply behind it."""

    frame: pd.DataFrame
    currency: str | None
    error: Exception | None
    reply: _Reply | None


class _Client:
    """The genuine client: set up to raise, to keep its files where we say, and to let its replies be seen."""

    def __init__(self, timeout_seconds: float, cache_dir: Path) -> None:
        # It takes a second to load, so only those who ask Yahoo load it.
        import yfinance
        from yfinance.data import YfData

        _use_cache(cache_dir)
        _open_caches()
        yfinance.config.debug.hide_exceptions = False
        # What it would say on the screen, once per symbol and thread, stands in the outcome of the symbol.
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)
        # It asks to see its own deprecations; with pandas 3 that is one on every reply.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"yfinance\.")
        self._yfinance = yfinance
        self._forget_replies = YfData.cache_get.cache_clear
        self._timeout_seconds = timeout_seconds
        self._seen = threading.local()
        self._session = _witness(timeout_seconds, self._seen)

    def history(self, request: FetchRequest) -> _Answer:
        """One attempt; never raises."""
        # yfinance remembers replies for ranges in the past, errors too: a retry would see the error again,
        # and a process that lives for days would never see a correction.
        self._forget_replies()
        self._seen.reply = None
        frame, currency, error = pd.DataFrame(), None, None
        try:
            ticker = self._yfinance.Ticker(request.source_symbol, session=self._session)
            span: dict[str, Any] = {"period": "max"} if request.start is None else {"start": request.start}
            frame = ticker.history(
                **span,
                end=request.end + dt.timedelta(days=1),  # Yahoo's end is exclusive
                interval="1d",
                auto_adjust=False,
                actions=True,
                repair=False,
                keepna=True,
                timeout=self._timeout_seconds,
            )
            currency = ticker.history_metadata.get("currency")
        except Exception as caught:
            # Whatever it is, the other symbols must not suffer; `classify` says what it means.
            logger.debug("%s: yfinance raised", request.source_symbol, exc_info=True)
            error = caught
        return _Answer(frame, currency, error, self._seen.reply)


@functools.lru_cache(maxsize=4)
def _client(timeout_seconds: float, cache_dir: Path) -> _Client:
    """One client, hence one session with one cookie, for as long as the process lives."""
    return _Client(timeout_seconds, cache_dir)


def _attempt(client: _Client, request: FetchRequest) -> FetchOutcome:
    answer = client.history(request)
    symbol = request.source_symbol
    if answer.error is None and not answer.frame.empty and answer.reply is not None and answer.reply.result:
        events = answer.reply.result.get("events") or {}
        bars = _raw_bars(answer.frame, events)
        notes = _notes(events, answer.currency)
        detail = _one_line(f"{symbol}: {'; '.join(notes)}") if notes else ""
        return FetchOutcome(request, FetchStatus.OK, bars, currency=answer.currency, detail=detail)
    status, cause = classify(answer.error, answer.reply)
    return FetchOutcome(request, status, empty_raw(), detail=_one_line(f"{symbol}: {cause}"))


def classify(error: Exception | None, reply: _Reply | None) -> tuple[FetchStatus, str]:
    """The class of a failure, and its cause in words that hold no address, cookie or crumb.

    Args:
        error: what yfinance raised; None where it delivered no rows without a word.
        reply: the last answer to a chart request; None when that request met no answer.
    """
    if reply is None:
        return _unanswered(error)
    if reply.status in (429, 999):  # 999 is Yahoo's own, older "request denied"
        return FetchStatus.RATE_LIMITED, f"Yahoo limits the rate (HTTP {reply.status})"
    if reply.status == 404:
        return FetchStatus.UNKNOWN_SYMBOL, f"Yahoo does not know it (HTTP 404){reply.reason}"
    if reply.status in (401, 403):
        return FetchStatus.UNAUTHORISED, f"Yahoo refused access (HTTP {reply.status}){reply.reason}"
    if reply.status in (400, 422):
        return FetchStatus.EMPTY, f"Yahoo has nothing for this range (HTTP {reply.status}){reply.reason}"
    if reply.status != 200:
        return FetchStatus.UNREACHABLE, f"Yahoo is in trouble (HTTP {reply.status})"
    if "Will be right back" in reply.text:
        return FetchStatus.UNREACHABLE, "Yahoo is down for maintenance"
    return _unreadable(error, reply)


def _unanswered(error: Exception | None) -> tuple[FetchStatus, str]:
    from curl_cffi.requests import exceptions

    name = type(error).__name__
    if not isinstance(error, exceptions.RequestException):
        return FetchStatus.MALFORMED, f"yfinance gave up before it asked for a chart ({name})"
    if isinstance(error, exceptions.Timeout):
        return FetchStatus.TIMEOUT, "no answer from Yahoo in time"
    if isinstance(error, exceptions.IncompleteRead):
        return FetchStatus.MALFORMED, "the connection ended in the middle of Yahoo's reply"
    # The text of the error names hosts and proxies; its code says as much.
    return FetchStatus.UNREACHABLE, f"Yahoo could not be reached ({name}, curl code {int(error.code)})"


def _unreadable(error: Exception | None, reply: _Reply) -> tuple[FetchStatus, str]:
    """Why there are no bars although the status is 200."""
    chart = reply.body.get("chart")
    if not isinstance(chart, dict):
        return FetchStatus.MALFORMED, f"Yahoo's reply is no chart ({len(reply.text)} characters)"
    if chart.get("error"):
        return FetchStatus.EMPTY, f"Yahoo has nothing for this range{reply.reason}"
    if not reply.result:
        return FetchStatus.MALFORMED, "Yahoo's reply holds no result"
    if not reply.result.get("timestamp"):
        # Yahoo answers so for real symbols on a weekend, and for names it has heard of and never priced.
        if (reply.result.get("meta") or {}).get("firstTradeDate") is None:
            return FetchStatus.UNKNOWN_SYMBOL, "Yahoo knows the name only; it has never traded"
        return FetchStatus.EMPTY, "Yahoo has no bars in this range"
    return FetchStatus.MALFORMED, f"yfinance could not read Yahoo's reply ({type(error).__name__})"


def _raw_bars(frame: pd.DataFrame, events: Mapping[str, Any]) -> pd.DataFrame:
    """A frame of yfinance as a raw delivery, with every dividend and split on its own date.

    yfinance puts an event on whose date there is no row onto the session before, and drops those before the
    first row. Here such an event gets a row of its own, without prices.
    """
    zone = frame.index.tz  # type: ignore[attr-defined]
    bars = frame[list(COLUMNS.values())].set_axis(list(COLUMNS), axis=1)
    bars.index = frame.index.tz_localize(None).normalize()  # type: ignore[attr-defined]
    dividends, splits = events.get("dividends") or {}, events.get("splits") or {}
    dividend = _by_date([(e["date"], e["amount"]) for e in dividends.values()], zone).sum()
    ratios = [(e["date"], e["numerator"] / e["denominator"]) for e in splits.values() if _is_split(e)]
    split = _by_date(ratios, zone).prod()
    alone = dividend.index.union(split.index).difference(bars.index)
    bars = pd.concat([bars, pd.DataFrame(np.nan, index=alone, columns=bars.columns)]) if len(alone) else bars
    bars = bars.sort_index(kind="stable")
    return raw_frame(
        {
            "session_date": bars.index,
            **{name: bars[name].to_numpy() for name in COLUMNS},
            "dividend": dividend.reindex(bars.index).fillna(0.0).to_numpy(),
            "split_ratio": split.reindex(bars.index).fillna(0.0).to_numpy(),
        }
    )


def _by_date(events: list[tuple[int, float]], zone: dt.tzinfo) -> Any:
    """Events grouped by the exchange's date of their time stamp."""
    stamps = pd.to_datetime([stamp for stamp, _ in events], unit="s", utc=True)
    days = pd.DatetimeIndex(stamps.tz_convert(zone).tz_localize(None).normalize())
    return pd.Series([value for _, value in events], index=days, dtype="float64").groupby(level=0)


def _is_split(event: Mapping[str, Any]) -> bool:
    """Whether both sides are shares; Yahoo has had splits of 1 for 0."""
    return bool(event["numerator"] > 0 and event["denominator"] > 0)


def _notes(events: Mapping[str, Any], currency: str | None) -> list[str]:
    """What a raw bar has no column for."""
    notes = []
    if gains := events.get("capitalGains"):
        notes.append(f"{len(gains)} capital gain distributions are not among the dividends")
    for event in (events.get("splits") or {}).values():
        if not _is_split(event):
            notes.append(f"a split of {event['numerator']:g} for {event['denominator']:g} is ignored")
    paid_in = {e.get("currency") for e in (events.get("dividends") or {}).values()} - {None, "", currency}
    if paid_in:
        notes.append(f"dividends are in {', '.join(sorted(paid_in))}, prices in {currency}")
    return notes


def _one_line(text: str) -> str:
    """The text without line breaks, control characters and addresses, at most 200 characters."""
    words = " ".join(re.sub(r"https?://\S+", "", text).split())[:200]
    return "".join(c for c in words if c.isprintable())


def _use_cache(folder: Path) -> None:
    """Tell yfinance, once per process, where to keep its files; they hold a cookie: for the owner only."""
    global _cache_folder
    if _cache_folder is None:
        from yfinance import set_tz_cache_location

        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        set_tz_cache_location(str(folder))
        _cache_folder = folder


def _open_caches() -> None:
    """Create the tables of yfinance's caches before several threads do so at once."""
    from yfinance import cache

    try:
        cache.get_tz_cache().lookup("")
        cache.get_cookie_cache().lookup("")
    except Exception:
        # Every request will meet it again, and then it is the cause of an outcome.
        logger.debug("yfinance's caches cannot be opened", exc_info=True)


def _witness(timeout_seconds: float, seen: threading.local) -> "Session":
    """A session like yfinance's own that remembers the last chart reply of each thread in `seen.reply`.

    It also holds every request to our time limit; yfinance gives cookie, crumb and time zone 10 to 30 s.
    """
    from curl_cffi.requests import Session

    class Witness(Session):
        def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
            options["timeout"] = timeout_seconds
            if CHART_PATH in url:
                seen.reply = None
            response = super().request(method, url, **options)
            # After a consent page, it is the answer to the form that leads back to the chart.
            if CHART_PATH in url or CHART_PATH in response.url:
                seen.reply = _Reply(response.status_code, response.text)
            return response

    return Witness(impersonate="chrome")
