"""What each study said on a past day, of a published version: what the brief of that day tells."""

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from orchestration.evidence.arrays import by_name
from orchestration.evidence.calls import Call
from orchestration.evidence.outcomes import HORIZONS, changes
from orchestration.evidence.statistics import share_up
from orchestration.evidence.studies import OF_ONE, Series
from orchestration.evidence.tables import study_statistics, table

if TYPE_CHECKING:
    import duckdb

RATES = ("base_share_up", "base_median", "base_share_down", "base_calls_up", "base_calls_down")

# As in int_study_series, of published tables.
SERIES = """
    select
        symbol as series, session_date, coalesce(return_1d, 0) as change, close_to_close_21 as call_value,
        coalesce(volatility_percentile_252 >= 0.95, false) as is_call_base
    from returns left join volatility using (symbol, session_date)
    where session_date <= $day and symbol in (select symbol from returns where return_1d is not null)
    union all
    select
        pair_id, session_date, exp(coalesce(spread_1d, 0)) - 1,
        sum(spread_1d) over (partition by pair_id order by session_date rows unbounded preceding), true
    from pair_spreads
    where session_date <= $day
    order by series, session_date
"""

# As in int_study_statistics; those of tiers are not among the published outcomes.
STUDIES = """
    select
        studies.study_id, studies.signal, studies.scope, studies.scope_value, studies.level_id, studies.direction,
        studies.threshold, outcomes.sessions, count(*) as signals, count(*) filter (where is_episode) as episodes,
        coalesce(list(outcome) filter (where is_episode and matured_date <= $day), []) as changes,
        coalesce(
            list(is_hit::int order by session_date) filter (where is_episode and is_hit is not null
            and matured_date <= $day), []
        ) as hits,
        coalesce(
            list(outcomes.base_hit_rate order by session_date) filter (where is_episode and is_hit is not null
            and matured_date <= $day), []
        ) as hit_bases
    from signal_outcomes as outcomes
    inner join signal_statistics as studies
        on outcomes.sessions = studies.sessions and studies.scope in (select unnest($of_one))
        and (outcomes.study_id, outcomes.series, outcomes.direction)
        = (studies.study_id, studies.scope_value, studies.direction)
        and outcomes.level_id is not distinct from studies.level_id
    where session_date <= $day
    group by all
"""


def statistics_as_of(connection: "duckdb.DuckDBPyConnection", day: dt.date) -> pa.Table:
    """The rows of signal_statistics as of the end of a day, of instruments and pairs.

    Args:
        connection: to a published version.
        day: nothing later counts: events up to it, outcomes that have matured, base rates of sessions up to it.
    """
    studies = connection.sql(STUDIES, params={"day": day, "of_one": list(OF_ONE)}).df()
    series = connection.sql(SERIES, params={"day": day}).to_arrow_table()
    return table("study_statistics", study_statistics(studies, _base_rates(series)))


def _base_rates(series: pa.Table) -> pd.DataFrame:
    """What followed any session, as in int_base_rates; of a name that is no pair and no symbol nothing is asked."""
    rows = []
    for name, (dates, change, call_value, is_call_base) in by_name(series):
        one = Series(dates, np.cumprod(1 + change), change, call_value, is_call_base)
        for sessions in HORIZONS:
            after = changes(one.value, np.arange(len(one.value)), sessions)
            after = after[~np.isnan(after)]
            if not len(after):
                continue
            rates = {"base_share_up": share_up(after).rate, "base_median": float(np.median(after))}
            for name_of_rate, call, rises in (
                ("base_share_down", Call(), False),
                ("base_calls_up", Call(of_index=False), True),
                ("base_calls_down", Call(of_index=False), False),
            ):
                is_true, counts = one.calls(call, rises, sessions)
                rates[name_of_rate] = share_up(is_true[counts & ~np.isnan(is_true)]).rate
            rows += [{"scope": scope, "scope_value": name, "sessions": sessions} | rates for scope in OF_ONE]
    return pd.DataFrame(rows, columns=["scope", "scope_value", "sessions", *RATES])
