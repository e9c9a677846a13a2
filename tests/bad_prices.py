"""Invented price files with one fault each, and invented ones that only look faulty.

The faults have the shapes that vendors' data shows: a decimal point gone astray, a dividend named twice, a split that
older prices were not divided by, a close that is adjusted beside a range that is not, a feed stuck at one price.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestration.market.calendar import closed_sessions

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = [d.date() for d in closed_sessions("XNYS", NOW)["session_date"]][-160:]

# A session in the middle, with half a year on either side.
DAY = 100
PRICES = ["Open", "High", "Low", "Close", "Adj Close"]

Change = Callable[[pd.DataFrame], pd.DataFrame | None]


@dataclass(frozen=True)
class Case:
    """A file and what has to be found in it.

    Attributes:
        name: what is the matter.
        change: puts the fault into a good history, in place or as a new frame.
        rules: the findings that must be made, by the session (its place in SESSIONS) or None for the whole file.
        allowed: further findings that are no false alarm.
    """

    name: str
    change: Change
    rules: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


def history(seed: int, start: float = 40.0) -> pd.DataFrame:
    """A good history: a random walk with ranges, volumes and one dividend, adjusted as Yahoo adjusts."""
    walk = np.random.default_rng(seed)
    n = len(SESSIONS)
    close = start * np.exp(np.cumsum(walk.normal(0, 0.02, n)))
    opens = np.append(start, close[:-1]) * np.exp(walk.normal(0, 0.005, n))
    frame = pd.DataFrame(
        {
            "Date": [d.isoformat() for d in SESSIONS],
            "Open": opens,
            "High": np.maximum(opens, close) * np.exp(np.abs(walk.normal(0, 0.006, n))),
            "Low": np.minimum(opens, close) * np.exp(-np.abs(walk.normal(0, 0.006, n))),
            "Close": close,
            "Volume": np.round(1e6 * np.exp(walk.normal(0, 0.25, n))),
            "Dividends": 0.0,
            "Stock Splits": 0.0,
        }
    ).astype({"Volume": "float64"})
    frame.loc[30, "Dividends"] = 0.25
    return adjusted(frame)


def adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an Adj Close that agrees with its closes and dividends, in single precision as vendors have it."""
    before = frame["Close"].shift()
    factors = (1 - frame["Dividends"] / before).fillna(1.0)
    still_to_come = factors[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)
    return frame.assign(**{"Adj Close": (frame["Close"] * still_to_come).astype("float32").astype("float64")})


def move(frame: pd.DataFrame, day: int, factor: float) -> None:
    """A genuine move: everything from that session on is on a new level, and the session's range spans it."""
    before = frame.loc[day - 1, "Close"]
    frame.loc[day:, PRICES] *= factor * before / frame.loc[day, "Close"]
    frame.loc[day, "High"] = 1.01 * max(before, frame.loc[day, "Close"])
    frame.loc[day, "Low"] = 0.99 * min(before, frame.loc[day, "Close"])
    frame.loc[day, "Open"] = before


def _set(column: str, value: object, day: int = DAY) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[day, column] = value
        return frame

    return change


def _scaled(columns: list[str], factor: float, first: int = DAY, last: int = DAY) -> Change:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[first:last, columns] *= factor

    return change


def _again(close_factor: float) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        twin = frame.loc[[DAY]].copy()
        twin[["High", "Low", "Open", "Close"]] *= close_factor
        return pd.concat([frame, twin])

    return change


def _extra(date: str) -> Change:
    return lambda frame: pd.concat([frame, frame.loc[[DAY]].assign(Date=date)])


def _stuck(first: int, last: int) -> Change:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[first:last, ["Open", "High", "Low", "Close", "Adj Close"]] = frame.loc[first, "Close"]

    return change


def _dividend(amounts: dict[int, float], named: dict[int, float]) -> Change:
    """Dividends that the adjusted close knows, and those that the column names."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        for day, amount in amounts.items():
            frame.loc[day, "Dividends"] = amount
        frame = adjusted(frame)
        for day, amount in named.items():
            frame.loc[day, "Dividends"] = amount
        return frame

    return change


def _split(divided_before: int, named_on: int, ratio: float) -> Change:
    """A split of which the prices from a session on are on the new basis."""

    def change(frame: pd.DataFrame) -> None:
        frame.loc[: divided_before - 1, [*PRICES, "Dividends"]] *= ratio
        frame.loc[named_on, "Stock Splits"] = ratio

    return change


def _adjusted_close_beside_unadjusted_range(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[: DAY + 40, "Close"] *= 0.9
    return frame.drop(columns="Adj Close")


def _there_and_back(frame: pd.DataFrame) -> pd.DataFrame:
    """Down and up by 1.35 to the last digit, as the rule says."""
    frame[[*PRICES, "Dividends"]] *= 54 / frame.loc[DAY - 2, "Close"]
    for day, close in ((DAY - 1, 54.0), (DAY, 40.0), (DAY + 1, 54.0)):
        frame.loc[day, PRICES] = close
    return adjusted(frame)


def _glitch(frame: pd.DataFrame) -> None:
    frame.loc[DAY, PRICES] *= 1.6


NEXT_SESSION = "2026-02-02"

FAULTS = (
    Case("a close of zero", _set("Close", 0), ("non_positive_close",)),
    Case("a negative close", _set("Close", -3.5), ("non_positive_close",)),
    Case("no close", _set("Close", np.nan), ("missing_close",)),
    Case("an infinite close", _set("Close", "inf"), ("non_finite_close",)),
    Case("a close of 1e30", _set("Close", "1e30"), ("implausible_close",)),
    Case("a decimal comma", _set("Close", "40,25"), ("malformed_value",)),
    Case("an open of zero", _set("Open", 0), ("impossible_range",)),
    Case("a high below the low", _set("High", 0.5), ("impossible_range",)),
    Case("a low above the close", _set("Low", 500), ("impossible_range",)),
    Case("no high", _set("High", np.nan), ("incomplete_range",)),
    Case("a high 100 times too high", _scaled(["High"], 100), ("implausible_range",)),
    Case("a low at a tenth", _scaled(["Low"], 0.1), ("wide_range",)),
    Case("a negative volume", _set("Volume", -5), ("invalid_volume",)),
    Case("ten times the volume", _scaled(["Volume"], 14), ("volume_without_move",)),
    Case("a negative dividend", _set("Dividends", -0.2), ("invalid_dividend",)),
    Case("a negative split", _set("Stock Splits", -2), ("invalid_split",)),
    Case("a session twice", _again(1.01), ("duplicate_session",)),
    Case("a date the other way round", _set("Date", "30/01/2026"), ("duplicate_session",)),
    Case("a date that is none", _set("Date", "2025-02-30"), ("malformed_value",)),
    Case("no date", _set("Date", ""), ("malformed_value",)),
    Case("a Saturday", _extra("2026-01-24"), ("not_a_session",)),
    Case("a holiday", _extra("2025-12-25"), ("not_a_session",)),
    Case("a date of 2031", _extra("2031-03-03"), ("future_session",)),
    Case("a date of 1901", _extra("1901-03-04"), ("before_calendar",)),
    Case("the bar of a session that is still open", _extra(NEXT_SESSION), ("held_back",)),
    Case("100 times too high for a session", _scaled(PRICES, 100), ("unit_error",)),
    Case("a hundredth for a session", _scaled(PRICES, 0.01), ("unit_error",)),
    Case("a hundredth for three sessions", _scaled(PRICES, 0.01, DAY, DAY + 2), ("unit_error",)),
    Case("100 times too high for two sessions", _scaled(PRICES, 100, DAY, DAY + 1), ("unit_error",)),
    Case("100 times too high in the first session", _scaled(PRICES, 100, 0, 0), ("unit_error",)),
    Case("100 times too high in the latest session", _scaled(PRICES, 100, 159, 159), ("unit_error",)),
    Case("another unit for a month", _scaled(PRICES, 0.01, DAY, DAY + 21), ("jump",)),
    Case("another unit to the end", _scaled(PRICES, 100, 140, 159), ("jump",)),
    Case(
        "the close alone 100 times too high",
        _scaled(["Close", "Adj Close"], 100),
        ("unit_error", "impossible_range"),
    ),
    Case("three times too high for a session", _scaled(PRICES, 3), ("jump",), ("reversal",)),
    Case("three times too high in the latest session", _scaled(PRICES, 3, 159, 159), ("jump",)),
    Case("1.6 times too high for a session", _glitch, ("reversal",)),
    Case("1.35 times too low for a session", _there_and_back, ("reversal",)),
    Case("stuck at one price for a fortnight", _stuck(DAY, DAY + 9), ("stale_close",)),
    Case("stuck at one price to the end", _stuck(150, 159), ("stale_close",)),
    Case("a dividend 100 times too large", _dividend({DAY: 0.16}, {DAY: 16.0}), ("adjustment_disagrees",)),
    Case("a dividend 100 times too large, adjusted for", _dividend({DAY: 16.0}, {}), ("large_dividend",)),
    Case("a dividend left out", _dividend({DAY: 0.16}, {DAY: 0.0}), ("adjustment_disagrees",)),
    Case("a dividend that never was", _dividend({}, {DAY: 0.16}), ("adjustment_disagrees",)),
    Case("a dividend named twice", _dividend({DAY: 0.16}, {DAY + 1: 0.16}), ("adjustment_disagrees",)),
    Case("a dividend paid twice", _dividend({DAY: 0.16, DAY + 1: 0.16}, {}), ("repeated_dividend",)),
    Case("prices before a split left as they were", _split(DAY, DAY, 5.0), ("split_not_applied",)),
    Case("a split applied a day early", _split(DAY - 1, DAY, 5.0), ("split_not_applied",), ("jump",)),
    Case("a reverse split not applied", _split(DAY, DAY, 0.1), ("split_not_applied",)),
    Case("a close adjusted beside a range that is not", _adjusted_close_beside_unadjusted_range, ("feeds_sound",),
         ("impossible_range",)),
)  # fmt: skip


def _crash(frame: pd.DataFrame) -> None:
    move(frame, 159, 0.715)
    frame.loc[159, "Volume"] *= 11


def _march_2020(frame: pd.DataFrame) -> None:
    for day, factor in ((DAY, 0.84), (DAY + 1, 1.18), (DAY + 2, 0.75), (DAY + 3, 1.25)):
        move(frame, day, factor)


def _first_session(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.loc[159:]


def _first_week(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.loc[155:].reset_index(drop=True)
    move(frame, 1, 1.4)
    return frame


def _hole(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[120:, PRICES] *= 2.1
    return frame.drop(index=range(40, 120))


def _proper_split(ratio: float) -> Change:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[DAY, "Stock Splits"] = ratio

    return change


def _ex_dividend_day_of_a_crash(frame: pd.DataFrame) -> pd.DataFrame:
    move(frame, DAY, 0.8)
    frame.loc[DAY, "Dividends"] = 0.08 * frame.loc[DAY - 1, "Close"]
    return adjusted(frame)


def _illiquid(frame: pd.DataFrame) -> None:
    frame[PRICES] = (frame[PRICES] / 200).round(2)
    frame["Dividends"] /= 200
    frame["Volume"] = 0.0
    frame.loc[DAY : DAY + 4, PRICES] = frame.loc[DAY, "Close"]


def _coarse(frame: pd.DataFrame) -> pd.DataFrame:
    frame[PRICES] = (frame[PRICES] / 20).round(2)
    frame["Dividends"] = (frame["Dividends"] / 20).round(4)
    return adjusted(frame).round({"Adj Close": 4})


def _without_adjusted_close(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["Date", "Close"]]


def _busy(frame: pd.DataFrame) -> None:
    frame.loc[DAY, "Volume"] *= 5


GENUINE = (
    Case("nothing", lambda frame: None),
    Case("a fall of 28.5 % on eleven times the volume", _crash),
    Case("March 2020", _march_2020),
    Case("a first session", _first_session),
    Case("a first week with a rise of 40 %", _first_week),
    Case("twice the price after a hole of four months", _hole),
    Case("a split of 2 for 1", _proper_split(2.0)),
    Case("a reverse split of 1 for 50", _proper_split(0.02)),
    Case("a dividend of 8 % in a crash", _ex_dividend_day_of_a_crash),
    Case("cents and no trade at all", _illiquid),
    Case("two decimals", _coarse),
    Case("closes alone", _without_adjusted_close),
    Case("a quarterly expiry", _busy),
    Case("the same row twice", _again(1.0)),
    Case("a rise of 60 %", lambda frame: move(frame, DAY, 1.6)),
)


def file_of(case: Case, seed: int) -> pd.DataFrame:
    """The file of a case."""
    frame = history(seed)
    changed = case.change(frame)
    return frame if changed is None else changed
