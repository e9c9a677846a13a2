"""Which events of a study are episodes, and what followed each: tables made of tables.

A study is about events of one kind and direction, of one instrument or pair (of levels: of one level), or of a tier.
There the sessions count on which any member signals, one vote each, since what falls together is no second witness.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from orchestration.evidence.outcomes import HORIZONS, episodes, outcomes, recoveries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# What makes a study.
STUDY = ["study_id", "signal", "scope", "scope_value", "level_id", "direction", "threshold"]
# Whose events are those of one series; of others several members signal on one session.
OF_ONE = ("symbol", "pair")
NEVER = np.datetime64("NaT", "s")


class Series:
    """The total-return index of an instrument or pair on its sessions.

    Args:
        dates: ascending.
        value: of the index on each.
        value_in_base: the same in the base currency; NaN where a rate is missing.
    """

    def __init__(self, dates: "NDArray[np.datetime64]", value: "Floats", value_in_base: "Floats") -> None:
        self.dates, self.value, self.value_in_base = dates, value, value_in_base


def study_outcomes(
    events: pd.DataFrame, series: Mapping[str, Series], members: Mapping[tuple[str, str], Sequence[str]]
) -> pd.DataFrame:
    """What followed each event of each study, over each horizon.

    Args:
        events: `STUDY`, event_id, series, symbol, session_date; of `int_study_events`.
        series: by the name that events have.
        members: of each scope of several and its value the symbols; all of them, not only those that signal.

    Returns:
        One row per study, event (of several members: session) and horizon: `STUDY`, event_id, symbol, session_date,
        sessions, is_episode, outcome, worst, best, matured_date, recovery_date.
    """
    events = events[events["series"].isin(series.keys())].reset_index(drop=True)
    studies = events.groupby(STUDY, dropna=False, sort=True).ngroup().to_numpy(dtype=np.int64)
    order = np.lexsort((events["session_date"].to_numpy(), studies))
    events, studies = events.iloc[order].reset_index(drop=True), studies[order]
    places = _places(events, series)
    of_one = events["scope"].isin(OF_ONE).to_numpy()
    calendars = {
        key: np.unique(
            np.concatenate([series[name].dates for name in names if name in series] or [np.empty(0, "M8[s]")])
        )
        for key, names in members.items()
    }
    parts = []
    for sessions in HORIZONS:
        followed = _followed(events, places, series, sessions)
        parts.append(_of_one(events[of_one], studies[of_one], places[of_one], followed[of_one], sessions))
        parts.append(_of_several(events[~of_one], studies[~of_one], followed[~of_one], calendars, sessions))
    return pd.concat(parts, ignore_index=True)


def _places(events: pd.DataFrame, series: Mapping[str, Series]) -> "NDArray[np.int64]":
    """Where the session of each event stands in its series."""
    found = np.zeros(len(events), dtype=np.int64)
    dates = events["session_date"].to_numpy()
    for name, rows in events.groupby("series", sort=False).indices.items():
        at = np.asarray(rows)
        found[at] = series[str(name)].dates.searchsorted(dates[at])
    return found


def _followed(
    events: pd.DataFrame, places: "NDArray[np.int64]", series: Mapping[str, Series], sessions: int
) -> pd.DataFrame:
    """What followed each event by itself."""
    columns = {name: np.full(len(events), np.nan) for name in ("outcome", "outcome_in_base", "worst", "best")}
    columns |= {name: np.full(len(events), NEVER) for name in ("matured_date", "recovery_date")}
    falls = (events["direction"] == "down").to_numpy() & events["scope"].isin(OF_ONE).to_numpy()
    for name, found in events.groupby("series", sort=False).indices.items():
        rows = np.asarray(found)
        one, at = series[str(name)], places[rows]
        columns["outcome"][rows], columns["worst"][rows], columns["best"][rows] = outcomes(one.value, at, sessions)
        columns["outcome_in_base"][rows] = outcomes(one.value_in_base, at, sessions)[0]
        over = at + sessions < len(one.dates)
        columns["matured_date"][rows[over]] = one.dates[at[over] + sessions]
        fell = rows[falls[rows]]
        back = recoveries(one.value, places[fell])
        columns["recovery_date"][fell[back >= 0]] = one.dates[back[back >= 0]]
    return pd.DataFrame(columns)


def _of_one(
    events: pd.DataFrame,
    studies: "NDArray[np.integer[Any]]",
    places: "NDArray[np.int64]",
    followed: pd.DataFrame,
    sessions: int,
) -> pd.DataFrame:
    kept = [episodes(places[part].tolist(), sessions) for part in _runs(studies)]
    return events[[*STUDY, "event_id", "symbol", "session_date"]].assign(
        sessions=sessions,
        is_episode=np.concatenate(kept) if kept else np.empty(0, dtype=bool),
        **{name: followed[name].to_numpy() for name in ("outcome", "worst", "best", "matured_date", "recovery_date")},
    )


def _of_several(
    events: pd.DataFrame,
    studies: "NDArray[np.integer[Any]]",
    followed: pd.DataFrame,
    calendars: "Mapping[tuple[str, str], NDArray[np.datetime64]]",
    sessions: int,
) -> pd.DataFrame:
    """One row per session: the mean over the members that signal, once all of them have matured."""
    outcome = followed["outcome_in_base"].to_numpy()
    votes = events[[*STUDY, "series", "session_date"]].assign(
        study=studies, outcome=outcome, is_open=np.isnan(outcome), matured_date=followed["matured_date"].to_numpy()
    )
    votes = votes.drop_duplicates(["study", "session_date", "series"])
    found = votes.drop_duplicates(["study", "session_date"]).reset_index(drop=True)
    by_session = votes.groupby(["study", "session_date"], sort=True)
    is_open = by_session["is_open"].any().to_numpy()
    dates, kept = found["session_date"].to_numpy(), []
    for part in _runs(found["study"].to_numpy()):
        scope, value = found.loc[part.start, ["scope", "scope_value"]]
        places = calendars[scope, "" if pd.isna(value) else value].searchsorted(dates[part])
        kept.append(episodes(places.tolist(), sessions))
    return found[[*STUDY, "session_date"]].assign(
        event_id=None,
        symbol=None,
        sessions=sessions,
        is_episode=np.concatenate(kept) if kept else np.empty(0, dtype=bool),
        outcome=np.where(is_open, np.nan, by_session["outcome"].mean()),
        worst=np.nan,
        best=np.nan,
        matured_date=np.where(is_open, NEVER, by_session["matured_date"].max().to_numpy()),
        recovery_date=NEVER,
    )


def _runs(sorted_numbers: "NDArray[np.integer[Any]]") -> Iterator[slice]:
    """Where each number of some sorted ones stands."""
    if len(sorted_numbers):
        begins = np.flatnonzero(np.r_[True, np.diff(sorted_numbers) != 0]).tolist()
        yield from map(slice, begins, [*begins[1:], len(sorted_numbers)])
