"""Level events by a plain loop over the bars: what the SQL is held against. It shares no code with it.

Prices are as traded. Everything that crosses a split is carried in the prices of the bar at hand.
"""

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bar:
    """One session; `position` counts the sessions of the exchange, `split` is effective at its open."""

    day: dt.date
    close: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    split: float = 1.0
    position: int = 0


@dataclass(frozen=True)
class Level:
    level_id: str
    lower: float
    upper: float
    active_from: dt.date


@dataclass(frozen=True, order=True)
class Found:
    level_id: str
    day: dt.date
    event: str
    direction: str
    level: float
    is_repeat: bool
    role_before: str = ""
    role_after: str = ""
    levels_crossed: str = ""


def sign(x: float) -> int:
    return (x > 0) - (x < 0)


def ticked(price: float, tick: float) -> float:
    # half a tick up, as SQL rounds; Python's round would go to the even one
    return round(math.floor(price / tick + 0.5) * tick, 6)


ROLES = {1: "support", -1: "resistance", 0: ""}


def average_ranges(bars: Sequence[Bar]) -> list[float | None]:
    """The mean of the last 14 true ranges, if they lie within 28 bars."""
    ranges: list[tuple[int, float]] = []
    answers: list[float | None] = []
    for i, bar in enumerate(bars):
        ranges = [(j, r / bar.split) for j, r in ranges]
        flat = bar.open == bar.high == bar.low == bar.close
        if bar.high is not None and bar.low is not None and not flat and i > 0:
            before = bars[i - 1].close / bar.split
            ranges.append((i, max(bar.high, before) - min(bar.low, before)))
        last = ranges[-14:]
        answers.append(sum(r for _, r in last) / 14 if len(last) == 14 and i - last[0][0] < 28 else None)
    return answers


def stands_off(distance: float, level: float, atr: float | None) -> bool:
    return round(distance, 6) >= round(max(level / 100, (atr or 0) / 2), 6)


def prices_of_level(price: float, active_from: dt.date, bars: Sequence[Bar], tick: float) -> list[float]:
    """The level at each bar: named in the prices of its first day, re-based by splits."""
    named = max([i for i, bar in enumerate(bars) if bar.day <= active_from], default=0)
    answers = [price] * len(bars)
    for i in range(named + 1, len(bars)):
        answers[i] = answers[i - 1] / bars[i].split
    for i in range(named - 1, -1, -1):
        answers[i] = answers[i + 1] * bars[i + 1].split
    return [ticked(answer, tick) for answer in answers]


@dataclass
class Memory:
    """What hysteresis remembers of one line."""

    had_event: bool = False
    away_since: bool = False
    # of the bar before
    cross_repeated: bool = False
    cross_was_away: bool = False

    def repeats(self) -> bool:
        return self.had_event and not self.away_since

    def after_close(self, is_away: bool, events: Sequence[str], crossed: bool) -> None:
        self.cross_repeated = crossed and self.repeats()
        self.cross_was_away = is_away
        if events:
            self.had_event = True
            self.away_since = False
        self.away_since |= is_away

    def confirmation_repeats(self, is_away: bool) -> bool:
        return self.cross_repeated and not self.cross_was_away and not is_away


def line_events(level: Level, bars: Sequence[Bar], tick: float) -> list[Found]:
    found: list[Found] = []
    lines = prices_of_level(level.lower, level.active_from, bars, tick)
    atrs = average_ranges(bars)
    side = closes_on_side = role = 0
    side_began_with_cross = has_been_away = False
    confirmed_at: int | None = None
    memory = Memory()
    for bar, line, atr in zip(bars, lines, atrs, strict=True):
        events: list[tuple[str, int]] = []
        new_side = sign(bar.close - line) or side
        low = bar.close if bar.low is None else bar.low
        high = bar.close if bar.high is None else bar.high
        is_away = stands_off(abs(bar.close - line), line, atr)
        role_before = role
        in_time = confirmed_at is not None and bar.position - confirmed_at <= 60
        if side == 0:
            closes_on_side = 1 if new_side else 0
        elif new_side != side:
            gapped = bar.open is not None and sign(bar.open - line) == new_side
            events.append(("gap_through" if gapped else "close_cross", new_side))
            if in_time and has_been_away:
                events.append(("retest_failed", new_side))
            closes_on_side, side_began_with_cross = 1, True
            confirmed_at, has_been_away = None, False
        else:
            closes_on_side += 1
            if bar.high is not None and ((side < 0 and high > line) or (side > 0 and low < line)):
                events.append(("pierce_rejected", -side))
            reached = low <= round(line * 1.01, 6) if side > 0 else high >= round(line * 0.99, 6)
            if closes_on_side == 2:
                if side_began_with_cross:
                    events.append(("confirmed", side))
                    confirmed_at = bar.position
                    if role not in (0, side):
                        events.append(("role_flip", side))
                role = side
            elif in_time and has_been_away and reached:
                events.append(("retest_held", side))
            if reached:
                has_been_away = False
        has_been_away |= is_away
        crossed = bool(side) and new_side != side
        side = new_side
        active = bar.day >= level.active_from
        for event, heading in events if active else ():
            second = event in ("confirmed", "role_flip")
            repeat = memory.confirmation_repeats(is_away) if second else memory.repeats()
            after = role if event == "role_flip" else role_before
            found.append(
                Found(level.level_id, bar.day, event, way(heading), line, repeat, ROLES[role_before], ROLES[after])
            )
        memory.after_close(is_away, [e for e, _ in events] if active else [], crossed and active)
    return found


def way(heading: float) -> str:
    return "up" if heading > 0 else "down"


def zone_events(level: Level, bars: Sequence[Bar], tick: float) -> list[Found]:
    found: list[Found] = []
    lowers = prices_of_level(level.lower, level.active_from, bars, tick)
    uppers = prices_of_level(level.upper, level.active_from, bars, tick)
    atrs = average_ranges(bars)
    place: int | None = None
    outside_closes = role = 0
    left_the_zone = False
    memories = {"lower": Memory(), "upper": Memory()}
    for bar, lower, upper, atr in zip(bars, lowers, uppers, atrs, strict=True):
        events: list[tuple[str, int, str]] = []
        now = -1 if bar.close < lower else 1 if bar.close > upper else 0
        role_before = role
        if now == 0:
            outside_closes = 0
        elif now == place:
            outside_closes += 1
        else:
            outside_closes, left_the_zone = 1, place is not None
        if place is not None and now != place:
            if now == 0:
                events.append(("zone_entered", -place, "lower" if place < 0 else "upper"))
            else:
                event = "zone_exited" if place == 0 else "zone_crossed_through"
                events.append((event, now, "upper" if now > 0 else "lower"))
        elif place == -1 and bar.high is not None and bar.high >= lower:
            events.append(("pierce_rejected", 1, "lower"))
        elif place == 1 and bar.low is not None and bar.low <= upper:
            events.append(("pierce_rejected", -1, "upper"))
        if outside_closes == 2:
            edge = "upper" if now > 0 else "lower"
            if left_the_zone:
                events.append(("confirmed", now, edge))
                if role not in (0, now):
                    events.append(("role_flip", now, edge))
            role = now
        active = bar.day >= level.active_from
        away = {
            "lower": stands_off(abs(bar.close - lower), lower, atr),
            "upper": stands_off(abs(bar.close - upper), upper, atr),
        }
        for event, heading, edge in events if active else ():
            second = event in ("confirmed", "role_flip")
            memory = memories[edge]
            repeat = memory.confirmation_repeats(away[edge]) if second else memory.repeats()
            after = role if event == "role_flip" else role_before
            price = lower if edge == "lower" else upper
            found.append(
                Found(level.level_id, bar.day, event, way(heading), price, repeat, ROLES[role_before], ROLES[after])
            )
        for edge, memory in memories.items():
            here = [event for event, _, where in events if where == edge] if active else []
            memory.after_close(away[edge], here, any(e.startswith("zone_") for e in here))
        place = now
    return found


@dataclass(frozen=True, order=True)
class Standing:
    """A level at one session."""

    level_id: str
    day: dt.date
    lower: float
    upper: float
    side: str
    role: str


def standings(level: Level, bars: Sequence[Bar], tick: float) -> list[Standing]:
    """Where a level stood at every session from its first day on."""
    lowers = prices_of_level(level.lower, level.active_from, bars, tick)
    uppers = prices_of_level(level.upper, level.active_from, bars, tick)
    found: list[Standing] = []
    side, role = "", ""
    for bar, lower, upper in zip(bars, lowers, uppers, strict=True):
        before = side
        if bar.close != lower or lower < upper:
            side = "above" if bar.close > upper else "below" if bar.close < lower else "inside"
        if side == before and side in ("above", "below"):
            role = "support" if side == "above" else "resistance"
        if bar.day >= level.active_from:
            found.append(Standing(level.level_id, bar.day, lower, upper, side, role))
    return found


def level_events(level: Level, bars: Sequence[Bar], tick: float) -> list[Found]:
    return (zone_events if level.upper > level.lower else line_events)(level, bars, tick)


def a_year_before(day: dt.date) -> dt.date:
    return day.replace(year=day.year - 1, day=28 if (day.month, day.day) == (2, 29) else day.day)


def extreme_events(symbol: str, bars: Sequence[Bar], tick: float) -> list[Found]:
    found: list[Found] = []
    atrs = average_ranges(bars)
    watched: list[tuple[str, int, Callable, bool]] = [
        (f"{symbol}:52w_high", 1, max, True),
        (f"{symbol}:52w_low", -1, min, True),
        (f"{symbol}:all_time_high", 1, max, False),
        (f"{symbol}:all_time_low", -1, min, False),
    ]
    fresh = {level_id: False for level_id, *_ in watched}
    # (day, close in the prices of the bar at hand)
    closes: list[tuple[dt.date, float]] = []
    for i, bar in enumerate(bars):
        closes = [(day, close / bar.split) for day, close in closes] if bar.split != 1 else closes
        past_year = [close for day, close in closes[-270:] if day > a_year_before(bar.day)]
        for level_id, heading, farthest, one_year in watched:
            long_enough = bars[0].day <= a_year_before(bar.day) if one_year else i >= 252
            earlier = past_year if one_year else [close for _, close in closes]
            if not long_enough or not earlier:
                continue
            extreme = ticked(farthest(earlier), tick)
            if heading * (bar.close - extreme) > 0:
                found.append(Found(level_id, bar.day, "new_extreme", way(heading), extreme, fresh[level_id]))
                fresh[level_id] = True
            elif stands_off(heading * (extreme - bar.close), extreme, atrs[i]):
                fresh[level_id] = False
        closes.append((bar.day, bar.close))
    return found


def round_number_events(symbol: str, bars: Sequence[Bar], tick: float) -> list[Found]:
    found: list[Found] = []
    atrs = average_ranges(bars)
    closes: list[float] = []
    latest: float | None = None
    away_from_latest = False
    for i, bar in enumerate(bars):
        if bar.split != 1:
            closes = [close / bar.split for close in closes]
            latest = None if latest is None else latest / bar.split
        if closes:
            before = ticked(closes[-1], tick)
            step = 10.0 ** math.floor(math.log10(min(before, bar.close)) + 1e-12)
            span = range(math.floor(min(before, bar.close) / step), math.ceil(max(before, bar.close) / step) + 1)
            crossed = [round(k * step, 6) for k in span if _is_crossed(round(k * step, 6), closes, bar.close)]
            if crossed:
                heading = sign(bar.close - before)
                crossed = crossed[::heading]
                repeat = latest is not None and round(latest, 6) == crossed[-1] and not away_from_latest
                text = ", ".join(f"{level:g}" for level in crossed)
                found.append(
                    Found(
                        f"{symbol}:round_numbers",
                        bar.day,
                        "round_numbers_crossed",
                        way(heading),
                        crossed[-1],
                        repeat,
                        levels_crossed=text,
                    )
                )
                latest, away_from_latest = crossed[-1], False
        if latest is not None:
            away_from_latest |= stands_off(abs(bar.close - latest), latest, atrs[i])
        closes.append(bar.close)
    return found


def _is_crossed(level: float, closes: Sequence[float], close: float) -> bool:
    """Whether the close is on another side of the level than the last close that was not on it."""
    for earlier in reversed(closes):
        if abs(earlier - level) > 1e-6:
            return abs(close - level) > 1e-6 and (close > level) != (earlier > level)
    return False


@dataclass(frozen=True)
class Watched:
    """An instrument's bars with its levels."""

    symbol: str
    bars: list[Bar]
    levels: list[Level] = field(default_factory=list)
    tick: float = 0.03125

    def standings(self) -> list[Standing]:
        return sorted(s for level in self.levels for s in standings(level, self.bars, self.tick))

    def events(self) -> list[Found]:
        found = [event for level in self.levels for event in level_events(level, self.bars, self.tick)]
        found += extreme_events(self.symbol, self.bars, self.tick)
        found += round_number_events(self.symbol, self.bars, self.tick)
        return sorted(found)
