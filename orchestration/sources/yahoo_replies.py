"""What a reply of Yahoo about a chart means: bars with every dividend and split, or the class of a failure.

yfinance reports one fault as different exceptions, depending on which of its requests met it and on how many
met it before. So the verdict rests on the reply itself.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from orchestration.market.bars import raw_frame
from orchestration.sources.base import FetchStatus

COLUMNS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "adj_close": "Adj Close", "volume": "Volume"}


@dataclass(frozen=True)
class Reply:
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


def classify(error: Exception | None, reply: Reply | None) -> tuple[FetchStatus, str]:
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


def _unreadable(error: Exception | None, reply: Reply) -> tuple[FetchStatus, str]:
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


def raw_bars(frame: pd.DataFrame, events: Mapping[str, Any]) -> pd.DataFrame:
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


def notes_of(events: Mapping[str, Any], currency: str | None) -> list[str]:
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
