"""Asking Yahoo, against the stand-in of the tests on the loopback interface, whose answers take 0.3 seconds each.

    python -m benchmarks.yahoo [rounds]

- one, three and thirty instruments with the default settings; the ratio is against one
- thirty, one after the other
- thirty with a rate limit in the middle

In the first fetch yfinance asks for a symbol's time zone too, as it does once per symbol; the others are everyday ones.
"""

import datetime as dt
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from orchestration.market.fetch_plan import FetchRequest
from orchestration.settings import Settings
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.yahoo import YahooSource
from tests.yahoo_loopback import Fault, Market, YahooLoopback, weekdays

DELAY_SECONDS = 0.3
NOW = dt.datetime(2026, 3, 6, 23, 30, tzinfo=dt.UTC)
SYMBOLS = [f"S{number:02d}" for number in range(30)]


def fetched(source: YahooSource, symbols: Sequence[str]) -> float:
    """Seconds until every symbol has been delivered."""
    requests = [FetchRequest(s, s, dt.date(2026, 2, 18), NOW.date(), "restatement") for s in symbols]
    begin = time.perf_counter()
    outcomes: list[FetchOutcome] = list(source.fetch(requests))
    seconds = time.perf_counter() - begin
    lost = set(symbols) - {o.request.symbol for o in outcomes if o.status is FetchStatus.OK}
    if lost or len(outcomes) != len(symbols):
        raise SystemExit(f"lost: {', '.join(sorted(lost))}")
    return seconds


def main(rounds: int) -> None:
    """Measure and print."""
    settings = Settings(source="yahoo")
    market = Market(NOW)
    for symbol in SYMBOLS:
        market.add(symbol, weekdays(dt.date(2025, 1, 2), NOW.date()))
    with YahooLoopback(market) as yahoo, tempfile.TemporaryDirectory() as folder:
        os.environ.update(yahoo.environment)
        yahoo.delay_seconds = DELAY_SECONDS

        def source(connections: int) -> YahooSource:
            return YahooSource(
                pause_seconds=settings.yahoo_pause_seconds,
                timeout_seconds=settings.yahoo_timeout_seconds,
                attempts=settings.yahoo_attempts,
                backoff_seconds=settings.yahoo_backoff_seconds,
                cache_dir=Path(folder),
                connections=connections,
            )

        ours = source(settings.yahoo_connections)

        def limited() -> float:
            yahoo.faults.set(Fault.RATE_LIMITED, SYMBOLS[15], times=2)
            try:
                return fetched(ours, SYMBOLS)
            finally:
                yahoo.faults.clear()

        first = fetched(ours, SYMBOLS)
        cases = {
            "one instrument": lambda: fetched(ours, SYMBOLS[:1]),
            "three": lambda: fetched(ours, SYMBOLS[:3]),
            "thirty": lambda: fetched(ours, SYMBOLS),
            "thirty, one after the other": lambda: fetched(source(1), SYMBOLS),
            "thirty, a rate limit in the middle": limited,
        }
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, run in cases.items():
                times[name].append(run())
        print(
            f"{settings.yahoo_connections} connections, {settings.yahoo_pause_seconds} s pause, answers take"
            f" {DELAY_SECONDS} s, {rounds} rounds"
        )
        one = times["one instrument"]
        for name, taken in times.items():
            ratio = statistics.median(a / b for a, b in zip(taken, one, strict=True))
            print(f"{name:<58} {statistics.median(taken):6.2f} s  x{ratio:.1f} of one")
        print(f"{'thirty, for the first time: time zones, cookie and crumb':<58} {first:6.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
