"""The tables of evidence, made of tables: what the Python models of `dbt_project/models/intermediate/evidence/` run."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from orchestration.evidence.arrays import by_name
from orchestration.evidence.calls import CALLS, scores
from orchestration.evidence.memory import Memory, keys
from orchestration.evidence.return_periods import OTHER_QUANTILES, return_of, sizes_of, tail_of, threshold_of
from orchestration.evidence.statistics import Share, finding, intervals, median, p_values, q_values, share_up
from orchestration.evidence.studies import OF_ONE, STUDY, Series, study_outcomes
from orchestration.ingest.parquet import schema_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Sizes = tuple[str, str, NDArray[np.float64]]

_STUDY = (
    "study_id text, signal text, scope text, scope_value text, level_id text, direction text, threshold number,"
    "sessions count,"
)
SCHEMAS = {
    name: schema_of(columns)
    for name, columns in {
        "study_outcomes": _STUDY + "event_id text, symbol text, session_date date, is_episode flag, outcome number,"
        "worst number, best number, matured_date date, recovery_date date, is_hit flag, base_hit_rate number",
        "study_statistics": _STUDY + "signals count, episodes count, matured count, up count, share_up number,"
        "share_up_lower number, share_up_upper number, median number, median_lower number, median_upper number,"
        "base_share_up number, base_median number, p_value number, q_value number, finding text, calls count,"
        "hits count, hit_rate number, hit_lower number, hit_upper number, base_hit_rate number, brier_score number,"
        "base_brier_score number, skill number",
        "level_statistics": "scope text, level_id text, kind text, symbol text, side text, in_hindsight flag,"
        "tests count, held count, hold_rate number, hold_lower number, hold_upper number, placebo_tests count,"
        "placebo_held count, placebo_rate number, finding text",
        "return_periods": "symbol text, side text, basis text, history_end date, returns count, threshold number,"
        "clusters count, clusters_per_year number, shape number, scale number, level_1y number, level_5y number,"
        "level_10y number, level_25y number",
        "move_return_periods": "symbol text, session_date date, side text, basis text, period_years number,"
        "period_lower number, period_upper number, period_min number, period_max number",
    }.items()
}

# Once in so many years.
YEARS = (1, 5, 10, 25)
PLAIN, VOLATILITY = "plain", "volatility"
SIDES = ("down", "up")
RECORD = [
    "calls", "hits", "hit_rate", "hit_lower", "hit_upper", "base_hit_rate", "brier_score", "base_brier_score", "skill",
]  # fmt: skip
MEDIAN = ["median", "median_lower", "median_upper"]
PERIODS = ("period_years", "period_lower", "period_upper", "period_min", "period_max")


def table(name: str, found: pa.Table | pd.DataFrame | Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows in the columns that a table has, whatever is NULL in all of them."""
    schema = SCHEMAS[name]
    if isinstance(found, pa.Table):
        return found.select(schema.names).cast(schema)
    rows = found if isinstance(found, pd.DataFrame) else pd.DataFrame(list(found), columns=schema.names)
    return pa.Table.from_pandas(rows[schema.names], schema, preserve_index=False).replace_schema_metadata()


def series_of(series: pa.Table) -> dict[str, Series]:
    """The total-return index of each series, by its name.

    Args:
        series: series, session_date, value, value_in_base; of `int_study_series`, ordered by series and session.
    """
    return {name: Series(dates.astype("M8[s]"), *values) for name, (dates, *values) in by_name(series)}


def members_of(instruments: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """The symbols of each scope of several.

    Args:
        instruments: symbol and tier.
    """
    members: dict[tuple[str, str], list[str]] = {}
    for symbol, tier in instruments:
        members.setdefault(("tier", tier), []).append(symbol)
        members.setdefault(("all", ""), []).append(symbol)
    return members


def study_statistics(studies: pd.DataFrame, base_rates: pd.DataFrame) -> pd.DataFrame:
    """What each study says over each horizon, beside what any session says.

    Args:
        studies: `STUDY`, sessions, signals, episodes, changes (outcomes of the episodes that have matured), hits (1 or
            0 of each call among them, in their order) and hit_bases (the base share known when it was made).
        base_rates: of `int_base_rates`.
    """
    found = studies.merge(base_rates, how="left", on=["scope", "scope_value", "sessions"])
    changes = [np.asarray(values, dtype=float) for values in found.pop("changes")]
    shares = [share_up(values) for values in changes]
    bases = [None if np.isnan(base) else float(base) for base in found["base_share_up"]]
    p = p_values(shares, bases)
    q = q_values(p)
    lower, upper = intervals(shares)
    medians = pd.DataFrame([median(values) for values in changes], columns=MEDIAN, dtype=float)
    return found.assign(
        matured=[share.n for share in shares],
        up=[share.hits for share in shares],
        share_up=pd.Series([share.rate for share in shares], dtype=float),
        share_up_lower=lower,
        share_up_upper=upper,
        **medians,
        p_value=pd.Series(p, dtype=float),
        q_value=pd.Series(q, dtype=float),
        finding=[finding(*one) for one in zip(shares, bases, q, strict=True)],
        **track_records(found),
    )


def track_records(studies: pd.DataFrame) -> pd.DataFrame:
    """How often the calls of each study came true, beside any session; NULL of what is no call.

    Args:
        studies: signal, scope, direction, hits, hit_bases, and the columns of `int_base_rates`.
    """
    rows = []
    for row in studies.to_dict("records"):
        call = CALLS.get(row["signal"]) if row["scope"] in OF_ONE else None
        if call is None:
            rows.append(dict.fromkeys(RECORD))
            continue
        hits, bases = np.asarray(row["hits"], dtype=float), np.asarray(row["hit_bases"], dtype=float)
        share = Share(int(hits.sum()), len(hits))
        base = row[f"base_{'share' if call.of_index else 'calls'}_{'up' if call.rises(row['direction']) else 'down'}"]
        record = (share.n, share.hits, share.rate, *share.interval, base, *scores(hits, bases))
        rows.append(dict(zip(RECORD, record, strict=True)))
    return pd.DataFrame(rows, columns=RECORD)


def return_periods(returns: pa.Table) -> Iterator[dict[str, Any]]:
    """How rare moves of each instrument are, as it was known before the month of its latest session.

    Args:
        returns: symbol, session_date, value, multiple (of the volatility known before); of single sessions, ordered by
            symbol and session.
    """
    for symbol, (dates, *columns) in by_name(returns):
        before = dates < dates[-1].astype("datetime64[M]").astype(dates.dtype)
        for side, basis, sizes in _sizes(*(column[before] for column in columns)):
            tail = tail_of(sizes[~np.isnan(sizes)])
            if tail is None:
                continue
            levels = {f"level_{years}y": _signed(tail.level(years), side, basis) for years in YEARS}
            yield {
                "symbol": symbol,
                "side": side,
                "basis": basis,
                "history_end": dates[before][-1],
                "returns": tail.returns,
                "threshold": _signed(tail.threshold, side, basis),
                "clusters": len(tail.excesses),
                "clusters_per_year": tail.clusters_per_year,
                "shape": tail.shape,
                "scale": tail.scale,
                **levels,
            }


def move_return_periods(returns: pa.Table, moves: pa.Table, memory: Memory) -> Iterator[dict[str, Any]]:
    """How rare each of some moves was, as known the session before it.

    Args:
        returns: as for `return_periods`.
        moves: symbol, session_date; ordered by symbol.
        memory: of `PERIODS`.
    """
    flagged = {symbol: dates for symbol, (dates,) in by_name(moves)}
    for symbol, (dates, *columns) in by_name(returns):
        if symbol not in flagged:
            continue
        is_flagged = np.isin(dates, flagged[symbol])
        for side, basis, sizes in _sizes(*columns):
            places = np.flatnonzero(is_flagged & (sizes > 0)).tolist()  # not of the other side, and known
            known = ~np.isnan(sizes)
            for place, key in zip(places, keys(sizes, places, basis), strict=True):
                if key not in memory:
                    memory[key] = _periods(sizes[:place][known[:place]], float(sizes[place]))
                if periods := memory[key]:
                    about = {"symbol": symbol, "session_date": dates[place], "side": side, "basis": basis}
                    yield about | dict(zip(PERIODS, periods, strict=True))


def _periods(before: "NDArray[np.float64]", size: float) -> tuple[float | None, ...] | None:
    """`PERIODS` of a size, by those before it; None where as large came several times a year, or they are too few."""
    if len(before) == 0 or size <= threshold_of(before):
        return None
    tail = tail_of(before)
    if tail is None or (period := tail.period(size)) is None:
        return None
    # By other thresholds, to show how much depends on the choice; whatever number of clusters these leave.
    others = [other.period(size) for q in OTHER_QUANTILES if (other := tail_of(before, q, fewest=2)) is not None]
    known = [period for period in others if period is not None and np.isfinite(period)]
    best = period if np.isfinite(period) else None
    return best, *tail.interval(size), min(known, default=None), max(known, default=None)


def _sizes(values: "NDArray[np.float64]", multiples: "NDArray[np.float64]") -> "Iterator[_Sizes]":
    """How far out the returns of an instrument are, on both sides and of both kinds; NaN where it is unknown."""
    for side in SIDES:
        yield side, PLAIN, sizes_of(values, side)
        yield side, VOLATILITY, -multiples if side == "down" else multiples


def _signed(size: float | None, side: str, basis: str) -> float | None:
    """As a signed return, or a signed multiple of the volatility."""
    if size is None:
        return None
    return return_of(size, side) if basis == PLAIN else -size if side == "down" else size


__all__ = [
    "PERIODS", "STUDY", "Memory", "members_of", "move_return_periods", "return_periods", "series_of", "study_outcomes",
    "study_statistics", "table",
]  # fmt: skip
