"""Daily bars from Yahoo through the genuine yfinance client; nothing else in the project imports it.

What belongs here: one request. What does not: pace and retries (`throttle`), what a reply means (`yahoo_replies`).

Threads share one session, hence one cookie and one crumb, which yfinance guards with a lock; curl_cffi gives each of
them a connection of its own, and its SQLite caches a database handle. The session keeps the last reply about a chart.
"""

import datetime as dt
import functools
import logging
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from orchestration.market.bars import empty_raw
from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.base import FetchOutcome, FetchStatus, one_line
from orchestration.sources.throttle import RateLimitPolicy, fetch_throttled
from orchestration.sources.yahoo_replies import Reply, classify, notes_of, raw_bars

if TYPE_CHECKING:
    from curl_cffi.requests import Session

logger = logging.getLogger(__name__)

CHART_PATH = "/v8/finance/chart/"

_cache_folder: Path | None = None


class YahooSource:
    """Yahoo, a few symbols at a time.

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
        self._policy = RateLimitPolicy(connections, pause_seconds, attempts, backoff_seconds)
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
        yield from fetch_throttled(requests, functools.partial(_attempt, client), self._policy, self._sleep)


@dataclass(frozen=True)
class _Answer:
    """What one call of yfinance brought: a frame or an error, and the reply behind it."""

    frame: pd.DataFrame
    currency: str | None
    error: Exception | None
    reply: Reply | None


class _Client:
    """The genuine client: set up to raise, to keep its files where we say, and to let its replies be seen."""

    def __init__(self, timeout_seconds: float, cache_dir: Path) -> None:
        # It takes a second to load, so only those who ask Yahoo load it.
        import yfinance
        from yfinance.data import YfData

        _use_cache(cache_dir)
        _open_caches()
        yfinance.config.debug.hide_exceptions = False
        # What it would print, once per symbol and thread, is in the outcome of the symbol.
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
            # One symbol must not stop the others; `classify` finds its class.
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
        bars = raw_bars(answer.frame, events)
        notes = notes_of(events, answer.currency)
        detail = one_line(f"{symbol}: {'; '.join(notes)}") if notes else ""
        return FetchOutcome(request, FetchStatus.OK, bars, currency=answer.currency, detail=detail)
    status, cause = classify(answer.error, answer.reply)
    return FetchOutcome(
        request, status, empty_raw(), detail=one_line(re.sub(r"https?://\S+", "", f"{symbol}: {cause}"))
    )


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
                seen.reply = Reply(response.status_code, response.text)
            return response

    return Witness(impersonate="chrome")
