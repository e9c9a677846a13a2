"""A SIMULATED market of any size, written straight into a lake.

Random walks around one path, with ranges, volumes and dividends; nothing in it is a price of anything. The first
instruments are the default universe, so that levels, pairs and benchmarks have something to refer to; the others are
stocks of all tiers that are compared with the silver fund SLV and with the sector fund SIL. Without what is quoted
abroad all is in dollars, as the programs that it is compared with expect.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from orchestration.ingest.lake import BARS, FETCHES, Lake
from orchestration.ingest.reference import reference_tables, store_reference
from orchestration.market.calendar import closed_sessions_of
from orchestration.market.contracts import contracts_among
from orchestration.market.currency import DOLLAR
from orchestration.market.universe import FX, Instrument, MoveRule, PriceLevel, Universe, load_universe
from orchestration.settings import DBT_PROJECT_DIR, Settings

NOW = dt.datetime(2026, 1, 30, 23, tzinfo=dt.UTC)
TIERS = ("senior", "junior", "royalty")
BATCH = "20260130T230000000000Z-bench0"
CONTRACTS = ("SIN25.CMX", "SIZ25.CMX", "SIH26.CMX")
_SINCE = dt.date(2018, 1, 1)
ON_SERIES = tuple(
    PriceLevel(level_id=f"on_{series}", symbol=symbol, lower=lower, upper=upper, kind="support", active_from=_SINCE,
               note="", series=series)
    for series, symbol, lower, upper in (
        ("gold_to_silver", "GLD", 1.0, 1.0), ("sma_50", "SLV", 1.0, 1.0), ("sma_200", "SIL", 0.95, 1.05)
    )
)  # fmt: skip
RARE_RULES = tuple(
    MoveRule(rule_id=f"rare_{number}", scope="all", scope_value=None, measure=measure, sessions=sessions,
             threshold=threshold, note="")
    for number, (measure, sessions, threshold) in enumerate((
        ("cumulative_return", 1, 0.06), ("cumulative_return", 63, 0.2), ("cumulative_return", 252, 0.3),
        ("drawdown", 1, 0.2), ("distance_from_52w_high", 1, 0.15), ("point_change", 1, 0.5)
    ))
)  # fmt: skip
# Rows of one file of the lake.
FILE_ROWS = 1_000_000


def universe(instruments: int, abroad: bool = False) -> Universe:
    """The default universe, filled up to a number of instruments.

    Args:
        instruments: how many, at least.
        abroad: whether all else is there that those programs do not know: what is quoted in other currencies or in
            points, with exchange rates; contracts of futures; levels on series, and every measure of move rules.
    """
    shipped = load_universe(DBT_PROJECT_DIR / "seeds")
    if not abroad:
        at_home = tuple(
            i.model_copy(update={"contract_months": None})
            for i in shipped.instruments
            if i.currency == DOLLAR and i.asset_class != FX
        )
        symbols = {i.symbol for i in at_home}
        rules = tuple(r for r in shipped.move_rules if r.scope != "symbol" or r.scope_value in symbols)
        shipped = replace(shipped, instruments=at_home, dollar_prices=(), move_rules=rules)
    else:
        shipped = replace(shipped, levels=(*shipped.levels, *ON_SERIES), move_rules=(*shipped.move_rules, *RARE_RULES))
    added = [
        Instrument(
            symbol=f"M{number:05d}",
            source_symbol=f"M{number:05d}",
            name=f"SIMULATED miner {number}",
            asset_class="stock",
            metal="silver",
            tier=TIERS[number % 3],
            calendar="XNYS",
            currency="USD",
            tick_size=0.01,
            metal_symbol="SLV",
            sector_symbol="SIL",
            active_from=None,
        )
        for number in range(instruments - len(shipped.instruments))
    ]
    return replace(shipped, instruments=(*shipped.instruments, *added))


def write_market(
    settings: Settings,
    instruments: int,
    years: int,
    take: Callable[[pa.Table], pa.Table] = lambda bars: bars,
    abroad: bool = False,
) -> int:
    """Write lake and control tables of a home; returns the number of bars.

    Args:
        settings: of an empty home.
        instruments: how many.
        years: of history, up to `NOW`.
        take: given the bars of each instrument, returns those that are written now.
        abroad: see `universe`.
    """
    watched = universe(instruments, abroad)
    sessions = closed_sessions_of((i.calendar for i in watched.instruments), NOW)
    contracts = contracts_among(CONTRACTS, watched.instruments) if abroad else []
    store_reference(settings.paths.reference, reference_tables(watched, sessions, {}, contracts=contracts))
    first = np.datetime64(NOW.date()) - np.timedelta64(365 * years, "D")
    dates = {}
    for calendar, group in sessions[sessions["bar_expected"]].groupby("calendar"):
        days = group["session_date"].to_numpy().astype("datetime64[D]")
        dates[calendar] = days[days >= first]
    lake = Lake(settings.paths.lake)
    lake.prepare()
    total, waiting, part = 0, [], 0
    for bars in map(take, _bars(watched, dates, CONTRACTS if abroad else ())):
        waiting.append(bars)
        total += bars.num_rows
        if sum(table.num_rows for table in waiting) >= FILE_ROWS:
            lake.append("bars", pa.concat_tables(waiting), BATCH, part)
            waiting, part = [], part + 1
    if waiting:
        lake.append("bars", pa.concat_tables(waiting), BATCH, part)
    lake.append("fetches", _fetches(watched), BATCH, 0)
    return total


def _bars(watched: Universe, dates: dict[str, "np.ndarray[Any, Any]"], contracts: Sequence[str]) -> Iterator[pa.Table]:
    common = {calendar: np.random.default_rng(7).normal(0, 0.012, len(days)) for calendar, days in dates.items()}
    for number, instrument in enumerate(watched.instruments):
        days = dates[instrument.calendar]
        rng = np.random.default_rng(number)
        n = len(days)
        growth = common[instrument.calendar] * rng.uniform(0.5, 1.8) + rng.standard_t(5, n) * 0.012
        close = np.maximum(np.round(rng.uniform(5, 80) * np.exp(np.cumsum(growth - growth.mean())), 2), 0.05)
        opened = np.maximum(np.round(np.roll(close, 1) * np.exp(rng.normal(0, 0.004, n)), 2), 0.05)
        opened[0] = close[0]
        high = np.round(np.maximum(opened, close) * (1 + np.abs(rng.normal(0, 0.006, n))), 2)
        low = np.maximum(np.round(np.minimum(opened, close) * (1 - np.abs(rng.normal(0, 0.006, n))), 2), 0.01)
        dividend = np.where(np.arange(n) % 63 == 30, np.round(close * 0.004, 2), 0.0) * (number % 3 == 0)
        moment = np.datetime64(NOW.replace(tzinfo=None), "us")
        columns = {
            "symbol": pa.array([instrument.symbol] * n),
            "session_date": pa.array(days),
            "open": opened,
            "high": np.maximum.reduce([high, opened, close]),
            "low": np.minimum.reduce([low, opened, close]),
            "close": close,
            "adj_close": pa.nulls(n, pa.float64()),
            "volume": np.round(rng.lognormal(12, 0.4, n)),
            "dividend": dividend,
            "split_ratio": np.ones(n),
            "bar_quality": pa.array(["ok"] * n),
            "currency": pa.array([instrument.currency] * n),
            "source": pa.array(["sample"] * n),
            "observed_at": pa.array(np.full(n, moment)),
            "batch_id": pa.array([BATCH] * n),
        }
        table = pa.table(columns, schema=BARS)
        if instrument.symbol == "SI=F":
            yield from _contracts(table, contracts)
        yield table


def _contracts(series: pa.Table, contracts: Sequence[str]) -> Iterator[pa.Table]:
    """Contracts that a front-month series shows one after the other, 100 sessions each, up to the last."""
    count = series.num_rows
    for place, symbol in enumerate(contracts):
        shown = np.zeros(count, dtype=bool)
        end = count - 100 * (len(contracts) - 1 - place)
        shown[max(0, end - 100) : end] = True
        close = np.where(shown, series["close"].to_numpy(), np.round(series["close"].to_numpy() * 1.02, 3))
        table = series.set_column(0, "symbol", pa.array([symbol] * count))
        # A contract that has expired has no more bars.
        yield table.set_column(table.schema.get_field_index("close"), "close", pa.array(close)).slice(0, end)


def _fetches(watched: Universe) -> pa.Table:
    row = dict.fromkeys(FETCHES.names) | {
        "reason": "bench",
        "status": "ok",
        "whole_history": True,
        "attempts": 1,
        "source": "sample",
        # Before the sessions that a benchmark may hold back: their evenings know of it.
        "observed_at": NOW.replace(tzinfo=None) - dt.timedelta(days=30),
        "batch_id": BATCH,
    }
    return pa.Table.from_pylist([row | {"symbol": i.symbol} for i in watched.instruments], schema=FETCHES)
