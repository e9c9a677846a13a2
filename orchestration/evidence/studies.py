"""Which events of a study are episodes, and what followed each: tables made of tables.

A study is about events of one kind and direction, of one instrument or pair (of levels: of one level), or of a tier.
There the sessions count on which any member signals, one vote each, since what falls together is no second witness.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.evidence.arrays import begins, numbered, runs
from orchestration.evidence.calls import CALLS, Call, came_true, known_share
from orchestration.evidence.outcomes import HORIZONS, changes, episodes, outcomes, recoveries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestration.evidence.arrays import Numbers

    Floats = NDArray[np.float64]
    Dates = NDArray[np.datetime64]

# What makes a study.
STUDY = ["study_id", "signal", "scope", "scope_value", "level_id", "direction", "threshold"]
# What is told of an event.
TOLD = [
    "sessions", "event_id", "symbol", "session_date", "is_episode", "outcome", "worst", "best", "matured_date",
    "recovery_date", "is_hit", "base_hit_rate",
]  # fmt: skip
# Whose events are those of one series; of others several members signal on one session.
OF_ONE = ("symbol", "pair")
NEVER = np.datetime64("NaT", "s")


class Series:
    """The total-return index of an instrument or pair on its sessions.

    Args:
        dates: ascending.
        value: of the index on each.
        value_in_base: the same in the base currency; NaN where a rate is missing.
        call_value: what verdicts about gaps and volatility are held against.
        is_call_base: of which sessions such verdicts are held against the others.
    """

    def __init__(
        self,
        dates: "Dates",
        value: "Floats",
        value_in_base: "Floats",
        call_value: "Floats | None" = None,
        is_call_base: "NDArray[np.bool_] | None" = None,
    ) -> None:
        self.dates, self.value, self.value_in_base = dates, value, value_in_base
        self.call_value = np.full(len(dates), np.nan) if call_value is None else call_value
        self.is_call_base = np.ones(len(dates), dtype=bool) if is_call_base is None else is_call_base

    def calls(self, call: Call, rises: bool, sessions: int) -> "tuple[Floats, NDArray[np.bool_]]":
        """For each session whether a call came true, and whether it counts among those that calls are held against.

        Args:
            call: what it is about.
            rises: what it says.
            sessions: the horizon.
        """
        if call.of_index:
            after, counts = changes(self.value, np.arange(len(self.value)), sessions), np.ones(len(self.value), bool)
        else:
            after, counts = np.full(len(self.value), np.nan), self.is_call_base
            after[:-sessions] = self.call_value[sessions:] - self.call_value[:-sessions]
        return came_true(after, rises), counts


def study_outcomes(
    events: pa.Table, series: Mapping[str, Series], members: Mapping[tuple[str, str], Sequence[str]]
) -> pa.Table:
    """What followed each event of each study, over each horizon.

    Args:
        events: `STUDY`, study_key, event_id, series, symbol, session_date; of `int_study_events`, ordered by event_id.
        series: by the name that events have.
        members: of each scope of several and its value the symbols; all of them, not only those that signal.

    Returns:
        One row per study, event (of several members: session) and horizon: `STUDY`, event_id, symbol, session_date,
        sessions, is_episode, outcome, worst, best, matured_date, recovery_date, is_hit, base_hit_rate.
    """
    events = events.filter(pc.is_in(events["series"], pa.array(series, pa.string())))
    of_one = pc.is_in(events["scope"], pa.array(OF_ONE))
    parts = [
        *_of_one(_Events(events.filter(of_one), series)),
        *_of_several(_Events(events.filter(pc.invert(of_one)), series), members),
    ]
    return pa.concat_tables(parts, promote_options="default")


class _Events:
    """Events in the order of their studies and sessions, as numbers, and where each stands in its series.

    Args:
        events: as for `study_outcomes`.
        series: of all of them.
    """

    def __init__(self, events: pa.Table, series: Mapping[str, Series]) -> None:
        studies, (of_series, names) = numbered(events["study_key"])[0], numbered(events["series"])
        dates = events["session_date"].to_numpy().astype("M8[s]")
        order = np.lexsort((of_series, dates, studies))
        self.rows, self.series = events.take(pa.array(order)), series
        self.studies, self.dates, self.of_series = studies[order], dates[order], of_series[order]
        self.by_series = []
        self.places, self.matured = np.zeros(len(order), dtype=np.int64), np.full((len(HORIZONS), len(order)), NEVER)
        by_series = np.argsort(self.of_series, kind="stable")
        for part in runs(self.of_series[by_series]):
            rows = by_series[part]
            one = series[names[self.of_series[rows[0]]]]
            at = self.places[rows] = one.dates.searchsorted(self.dates[rows])
            for horizon, sessions in enumerate(HORIZONS):
                over = at + sessions < len(one.dates)
                self.matured[horizon, rows[over]] = one.dates[at[over] + sessions]
            self.by_series.append((one, rows))

    def told(self, rows: "Numbers | None", sessions: int, **columns: object) -> pa.Table:
        """All or some of the events, with what is known of them over a horizon."""
        table = self.rows if rows is None else self.rows.take(pa.array(rows))
        about = [name for name in (*STUDY, "event_id", "symbol", "session_date") if name not in columns]
        columns["sessions"] = np.full(len(table), sessions)
        return pa.table(
            {name: table[name] for name in about} | {name: _column(of, len(table)) for name, of in columns.items()}
        ).select([*STUDY, *TOLD])


def _of_one(events: _Events) -> Iterator[pa.Table]:
    """What followed each event, by itself."""
    found, recovered = np.full((len(HORIZONS), 3, len(events.dates)), np.nan), np.full(len(events.dates), NEVER)
    called = _called(events)
    is_fall = np.array(pc.equal(events.rows["direction"], "down"), dtype=bool)
    for one, rows in events.by_series:
        for horizon, sessions in enumerate(HORIZONS):
            found[horizon][:, rows] = outcomes(one.value, events.places[rows], sessions)
        fell = rows[is_fall[rows]]
        back = recoveries(one.value, events.places[fell])
        recovered[fell[back >= 0]] = one.dates[back[back >= 0]]
    studies = [events.places[part].tolist() for part in runs(events.studies)]
    for horizon, sessions in enumerate(HORIZONS):
        outcome, worst, best = found[horizon]
        yield events.told(
            None, sessions, is_episode=_episodes(studies, sessions), outcome=outcome, worst=worst, best=best,
            matured_date=events.matured[horizon], recovery_date=recovered, is_hit=called[horizon, 0],
            base_hit_rate=called[horizon, 1],
        )  # fmt: skip


def _called(events: _Events) -> "Floats":
    """Of each horizon and event whether the call that it is came true, and the base share known then."""
    found = np.full((len(HORIZONS), 2, len(events.dates)), np.nan)
    signals, directions = numbered(events.rows["signal"]), numbered(events.rows["direction"])
    kinds = signals[0] * len(directions[1]) + directions[0]
    for one, rows in events.by_series:
        for kind in np.unique(kinds[rows]).tolist():
            signal, direction = signals[1][kind // len(directions[1])], directions[1][kind % len(directions[1])]
            if signal not in CALLS:
                continue
            call, of_kind = CALLS[signal], rows[kinds[rows] == kind]
            for horizon, sessions in enumerate(HORIZONS):
                is_true, counts = one.calls(call, call.rises(direction), sessions)
                known = known_share(is_true, counts, sessions)
                found[horizon][:, of_kind] = is_true[events.places[of_kind]], known[events.places[of_kind]]
    return found


def _of_several(events: _Events, members: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[pa.Table]:
    """One row per session: the mean over the members that signal, once all of them have matured."""
    days = events.dates.astype(np.int64)
    votes = begins(events.studies, days, events.of_series)  # of several levels of one member one
    of_session = begins(events.studies[votes], days[votes])
    first = votes[of_session]
    many = np.diff(np.append(of_session, len(votes)))
    calendars = {key: _calendar(events.series, names) for key, names in members.items()}
    about = events.rows.select(["scope", "scope_value"]).take(pa.array(first)).to_pylist()
    studies = []
    for part in runs(events.studies[first]):
        scope, value = about[part.start].values()
        studies.append(calendars[scope, value or ""].searchsorted(events.dates[first[part]]).tolist())
    for horizon, sessions in enumerate(HORIZONS):
        outcome = np.full(len(events.dates), np.nan)
        for one, rows in events.by_series:
            outcome[rows] = changes(one.value_in_base, events.places[rows], sessions)
        mean, matured = np.empty(0), np.empty(0, "M8[s]")
        if len(first):
            mean = np.add.reduceat(outcome[votes], of_session) / many
            matured = np.maximum.reduceat(events.matured[horizon, votes], of_session)
        yield events.told(
            first, sessions, event_id=None, symbol=None, is_episode=_episodes(studies, sessions), outcome=mean,
            worst=None, best=None, matured_date=np.where(np.isnan(mean), NEVER, matured), recovery_date=None,
            is_hit=None, base_hit_rate=None,
        )  # fmt: skip


def _episodes(studies: Sequence[Sequence[int]], sessions: int) -> "NDArray[np.bool_]":
    """Which events of each study are kept, one after the other."""
    kept = [episodes(places, sessions) for places in studies]
    return np.concatenate(kept) if kept else np.empty(0, dtype=bool)


def _calendar(series: Mapping[str, Series], names: Sequence[str]) -> "Dates":
    """The sessions on which any of some series has one."""
    return np.unique(np.concatenate([series[name].dates for name in names if name in series] or [np.empty(0, "M8[s]")]))


def _column(values: object, rows: int) -> pa.Array:
    """What is known as a column; NaN, no date and nothing at all are NULL."""
    return pa.nulls(rows) if values is None else pa.array(values, from_pandas=True)
