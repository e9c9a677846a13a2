"""How the simulated market is made: log-price paths on one grid of days, and daily bars around them.

Paths: every instrument follows its drivers with a beta and adds noise of its own, Student-t(4) distributed
and scaled by one common stochastic volatility, so that calm and nervous times come in clusters and fall
together. The sum is then bridged: the difference to each fixed point is spread over the days before it, in
proportion to their volatility.

Numbers are the same everywhere and for ever: each random stream has its own generator, seeded with the
SHA-256 of the stream's name, and covers the whole grid whatever is asked for. Only uniform numbers are
drawn, because numpy promises no stability for its other distributions; the rest is arithmetic. So no price
depends on the as-of date, on the other instruments or on the order of requests. What the prices must tell
stands in `sample_story`.
"""

import datetime as dt
import hashlib
import itertools
from decimal import Decimal
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orchestration.market import calendar
from orchestration.market.contracts import FOLLOWED, LETTERS, Contract
from orchestration.market.universe import Instrument
from orchestration.settings import SAMPLE_FIRST_SESSION, SAMPLE_LAST_AS_OF
from orchestration.sources.sample_story import (
    CORRIDORS,
    EVENT_RETURNS,
    NERVOUS,
    OPEN_ENDED,
    RECIPES,
    WAYPOINTS,
    Bounds,
    Recipe,
    anchors,
    recipe_of,
)

Floats = NDArray[np.float64]

# Every day, not every weekday: some exchanges trade on Sundays. The day before the first session gives its
# open a previous close.
_GRID_START = SAMPLE_FIRST_SESSION - dt.timedelta(days=1)
_DAYS = (SAMPLE_LAST_AS_OF - _GRID_START).days + 1
_WEEKEND_WEIGHT = 0.2

# Persistence and spread of the logarithm of the common volatility.
_VOLATILITY_PERSISTENCE = 0.97
_VOLATILITY_SPREAD = 0.42

# In standard deviations: without a limit eight years of thirty instruments hold a few absurd days.
_LARGEST_SHOCK = 6.0

# Dividends of a newly listed fund begin later.
_DAYS_BEFORE_FIRST_DIVIDEND = 60


def _uniforms(stream: str) -> Floats:
    """One number in (0, 1) per day of the grid, always the same for a stream's name."""
    seed = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:16], "big")
    drawn = np.random.Generator(np.random.PCG64(seed)).random(_DAYS)
    return np.clip(drawn, 1e-12, 1 - 1e-12)


def _normals(stream: str) -> Floats:
    """Standard normal numbers (Box and Muller 1958)."""
    radius = np.sqrt(-2 * np.log(_uniforms(f"{stream}/radius")))
    return radius * np.cos(2 * np.pi * _uniforms(f"{stream}/angle"))


def _heavy_tailed(stream: str) -> Floats:
    """Student-t(4) numbers of unit variance, by the closed quantile function (Shaw 2006)."""
    u = _uniforms(stream)
    alpha = 4 * u * (1 - u)
    q = np.cos(np.arccos(np.sqrt(alpha)) / 3) / np.sqrt(alpha)
    return np.sign(u - 0.5) * np.sqrt(2 * np.maximum(q - 1, 0))


def _day_number(day: dt.date) -> int:
    return (day - _GRID_START).days


@lru_cache(maxsize=1)
def _volatility() -> Floats:
    """The common volatility by day, 1 on an ordinary weekday: a log-normal AR(1) plus nervous times."""
    shocks = _normals("world/volatility") * _VOLATILITY_SPREAD * np.sqrt(1 - _VOLATILITY_PERSISTENCE**2)
    level = np.zeros(_DAYS)
    for i in range(1, _DAYS):
        level[i] = _VOLATILITY_PERSISTENCE * level[i - 1] + shocks[i]
    for start, end, addition in NERVOUS:
        level[_day_number(start) : _day_number(end) + 1] += addition
    weekday = (np.arange(_DAYS) + _GRID_START.weekday()) % 7
    volatility: Floats = np.exp(level) * np.where(weekday < 5, 1.0, _WEEKEND_WEIGHT)
    volatility.setflags(write=False)
    return volatility


@lru_cache(maxsize=256)
def log_path(recipe: Recipe) -> Floats:
    """Logarithm of the price on every day of the grid."""
    symbol = recipe.source_symbol
    own = np.clip(_heavy_tailed(f"{symbol}/noise"), -_LARGEST_SHOCK, _LARGEST_SHOCK)
    increments = recipe.noise * _volatility() ** recipe.nervousness * own
    for driver, beta in recipe.drivers:
        increments += beta * np.diff(log_path(RECIPES[driver]), prepend=0.0)
    increments[0] = 0.0
    weights = _volatility().copy()
    events = {_day_number(dt.date.fromisoformat(day)): np.log1p(r) for day, r in EVENT_RETURNS.get(symbol, {}).items()}
    fixed = _fixed_points(symbol)

    # Twice: spreading the differences may carry a few days over the cap again.
    for _ in range(2):
        increments = np.clip(increments, -recipe.cap, recipe.cap)
        for day, increment in events.items():
            increments[day], weights[day] = increment, 0.0
        increments = _bridged(increments, weights, fixed)
    first = min(fixed)
    path = np.cumsum(increments)
    path += fixed[first] - path[first]

    for corridor in CORRIDORS.get(symbol, ()):
        days = slice(_day_number(max(corridor.start, _GRID_START)), _day_number(corridor.end) + 1)
        path[days] = _mirrored(path[days], corridor.close)
    path.setflags(write=False)
    return path


def _fixed_points(symbol: str) -> dict[int, float]:
    """Log prices by day number: facts, and waypoints blurred by up to 1 % so that none is a round figure."""
    blur = 0.02 * (_uniforms(f"{symbol}/waypoints") - 0.5)
    points = {}
    for day, price in WAYPOINTS.get(symbol, {}).items():
        number = _day_number(dt.date.fromisoformat(day))
        points[number] = float(np.log(price) + blur[number])
    points |= {_day_number(a.session): float(np.log(a.close)) for a in anchors().get(symbol, ())}
    if points:
        return points
    # Somebody's own instrument: a price between 5 and 150 to begin with.
    start = float(np.log(5) + np.log(30) * _uniforms(f"{symbol}/start")[0])
    return {_day_number(SAMPLE_FIRST_SESSION): start}


def _bridged(increments: Floats, weights: Floats, fixed: dict[int, float]) -> Floats:
    """Increments whose sum between neighbouring fixed points is exactly what these demand."""
    days = sorted(fixed)
    result = increments.copy()
    for a, b in itertools.pairwise(days):
        between = slice(a + 1, b + 1)
        missing = fixed[b] - fixed[a] - result[between].sum()
        result[between] += missing * weights[between] / weights[between].sum()
    return result


def _mirrored(values: Floats, bounds: Bounds) -> Floats:
    """Log prices thrown back at bounds (given as prices) that they would pass."""
    low = -np.inf if bounds[0] is None else np.log(bounds[0])
    high = np.inf if bounds[1] is None else np.log(bounds[1])
    values = np.where(values > high, 2 * high - values, values)
    values = np.where(values < low, 2 * low - values, values)
    return np.clip(values, low, high)


@lru_cache(maxsize=256)
def history(instrument: Instrument) -> pd.DataFrame:
    """All bars of an instrument up to the last as-of date.

    Returns:
        session_date (datetime64[s]); open, high, low, close (split-adjusted, in ticks, facts as they are);
        volume, dividend (split-adjusted), split_ratio. Ascending; shared by its callers: never change it.
    """
    recipe = recipe_of(instrument)
    dates, days = _sessions_of(instrument)
    path = log_path(recipe)
    close = np.exp(path[days])
    previous = np.exp(np.concatenate([path[np.maximum(days[:1] - 1, 0)], path[days[:-1]]]))
    frame = _ranges(recipe, days, previous, close)
    frame = _rounded(frame, instrument.tick_size)
    _set_facts(frame, recipe.source_symbol, days)
    frame["volume"] = _volume(recipe, days, frame["close"] / previous - 1)
    frame["dividend"] = _dividends(recipe, instrument, dates, days, frame["close"].to_numpy())
    frame["split_ratio"] = 1.0
    for ex_date, ratio in recipe.splits:
        frame.loc[dates == pd.Timestamp(ex_date), "split_ratio"] = ratio
    frame.insert(0, "session_date", dates)
    return frame


def contract_history(contract: Contract) -> pd.DataFrame:
    """All bars of a contract of a future, as `history` gives them: what the series shows when it is the front month.

    The front month is the first listed one after the month of the session. Each further one costs 0.4 % more.
    """
    front_month = history(contract.root)
    dates = pd.DatetimeIndex(front_month["session_date"])
    months = (dates.year * 12 + dates.month).to_numpy()
    delivered = contract.month.year * 12 + contract.month.month
    letters = str(contract.root.contract_months).partition(".")[0]
    listed = np.array([n for n in range(months.min(), delivered + 1) if LETTERS[(n - 1) % 12] in letters])
    # Of the months between a session's and the contract's, how many are listed: 0 for the front month itself.
    further = len(listed) - 1 - np.searchsorted(listed, months, side="right")
    is_listed = (months < delivered) & (further < FOLLOWED)
    frame = front_month.copy()
    later = frame.loc[further > 0, ["open", "high", "low", "close"]]
    premium = 1 + 0.004 * further[further > 0]
    frame.loc[further > 0, later.columns] = _rounded(later.mul(premium, axis=0), contract.root.tick_size)
    frame.loc[further > 0, "volume"] = np.round(frame.loc[further > 0, "volume"] / 10)
    return frame[is_listed].reset_index(drop=True)


def _sessions_of(instrument: Instrument) -> tuple[pd.DatetimeIndex, NDArray[np.int64]]:
    """The instrument's sessions, and their numbers on the grid."""
    held = calendar.sessions(instrument.calendar, SAMPLE_FIRST_SESSION, SAMPLE_LAST_AS_OF)
    first = max(instrument.active_from or SAMPLE_FIRST_SESSION, SAMPLE_FIRST_SESSION)
    inside = held["session_date"].between(pd.Timestamp(first), pd.Timestamp(SAMPLE_LAST_AS_OF))
    dates = pd.DatetimeIndex(held.loc[inside & held["bar_expected"], "session_date"])
    return dates, (dates - pd.Timestamp(_GRID_START)).days.to_numpy().astype(np.int64)


def _ranges(recipe: Recipe, days: NDArray[np.int64], previous: Floats, close: Floats) -> pd.DataFrame:
    """Open, high and low around closes.

    The open is a point of the Brownian bridge from one close to the next; high and low follow the exact
    distribution of the extremes of the bridge from open to close, each by itself.
    """
    symbol, share = recipe.source_symbol, recipe.overnight
    change = np.log(close / previous)
    volatility = _volatility()[days]
    typical = 1.4826 * np.median(np.abs(change) / volatility) if len(change) else 0.0
    # A large move is made in a wild session, not in a straight line.
    spread = np.maximum(typical * volatility, 0.35 * np.abs(change))
    surprise = np.clip(_normals(f"{symbol}/open")[days], -2.5, 2.5)
    step = share * change + np.sqrt(share * (1 - share)) * spread * surprise
    opened = previous * np.exp(step)
    rest, variance = change - step, (1 - share) * spread**2
    up = (rest + np.sqrt(rest**2 - 2 * variance * np.log(_uniforms(f"{symbol}/high")[days]))) / 2
    down = (rest - np.sqrt(rest**2 - 2 * variance * np.log(_uniforms(f"{symbol}/low")[days]))) / 2
    frame = pd.DataFrame({"open": opened, "high": opened * np.exp(up), "low": opened * np.exp(down), "close": close})
    for corridor in CORRIDORS.get(symbol, ()):
        inside = (days >= _day_number(corridor.start)) & (days <= _day_number(corridor.end))
        frame.loc[inside] = _kept_inside(frame[inside], corridor.open, corridor.range)
    return frame


def _kept_inside(bars: pd.DataFrame, open_bounds: Bounds, range_bounds: Bounds) -> pd.DataFrame:
    """Bars whose open, high and low respect bounds; what passes one is put half-way to the close."""
    bars = bars.copy()
    for bound, beyond in ((range_bounds[0], np.less), (range_bounds[1], np.greater)):
        if bound is not None:
            for name in ("open", "high", "low"):
                bars[name] = bars[name].where(~beyond(bars[name], bound), (bars["close"] + bound) / 2)
    if open_bounds != OPEN_ENDED:
        bars["open"] = bars["open"].clip(*open_bounds)
    bars["high"] = bars[["open", "high", "close"]].max(axis=1)
    bars["low"] = bars[["open", "low", "close"]].min(axis=1)
    return bars


def _rounded(frame: pd.DataFrame, tick_size: float) -> pd.DataFrame:
    """Prices in whole ticks; none below one tick, no bar without a range."""
    decimals = max(0, -int(Decimal(str(tick_size)).normalize().as_tuple().exponent))
    ticks = (frame / tick_size).round().clip(lower=1)
    flat = ticks["high"] == ticks["low"]
    ticks.loc[flat, "high"] += 1
    return (ticks * tick_size).round(decimals)


def _set_facts(frame: pd.DataFrame, symbol: str, days: NDArray[np.int64]) -> None:
    """Put closes, highs and lows that are facts where the model came near them."""
    for fact in anchors().get(symbol, ()):
        rows = np.flatnonzero(days == _day_number(fact.session))
        if len(rows) == 0:
            continue
        row = rows[0]
        bar = frame.loc[row]
        opened, high, low = bar["open"], bar["high"], bar["low"]
        if fact.high is not None:
            high, opened = fact.high, min(opened, fact.high)
        if fact.low is not None:
            low, opened = fact.low, max(opened, fact.low)
        frame.loc[row, ["open", "high", "low", "close"]] = (
            opened,
            max(high, opened, fact.close),
            min(low, opened, fact.close),
            fact.close,
        )


def _volume(recipe: Recipe, days: NDArray[np.int64], returns: pd.Series) -> Floats:
    """Whole units, log-normal, more of them on days of large moves."""
    size = np.abs(returns.to_numpy())
    usual = max(float(np.median(size)), 1e-6) if len(size) else 1.0
    excitement = np.minimum(size / usual, 20.0) ** 0.75
    spread = np.exp(recipe.volume_spread * _normals(f"{recipe.source_symbol}/volume")[days])
    return np.maximum(np.rint(recipe.volume * spread * (0.3 + 0.7 * excitement)), 1.0)


def _dividends(
    recipe: Recipe, instrument: Instrument, dates: pd.DatetimeIndex, days: NDArray[np.int64], close: Floats
) -> Floats:
    """Cash per share on ex-dates, in the price's own unit; never on a day that is a fact or an event."""
    paid = np.zeros(len(dates))
    payout = recipe.payout
    if payout is None:
        return paid
    symbol = recipe.source_symbol
    taken = {_day_number(a.session) for a in anchors().get(symbol, ())}
    taken |= {_day_number(dt.date.fromisoformat(day)) for day in EVENT_RETURNS.get(symbol, {})}
    jitter = 0.8 + 0.4 * _uniforms(f"{symbol}/dividend")
    begin = SAMPLE_FIRST_SESSION
    if instrument.active_from is not None:
        begin = max(begin, instrument.active_from + dt.timedelta(days=_DAYS_BEFORE_FIRST_DIVIDEND))
    for year in range(begin.year, SAMPLE_LAST_AS_OF.year + 1):
        for month in payout.months:
            due = dt.date(year, month, payout.day)
            free = (row for row in np.flatnonzero(days >= _day_number(due)) if days[row] not in taken)
            row = next(free, 0)
            if due >= begin and row > 0:
                amount = payout.annual_yield / len(payout.months) * close[row - 1] * jitter[days[row]]
                paid[row] = max(round(amount, 3), 0.001)
    return paid
