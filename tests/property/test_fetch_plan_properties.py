"""The fetch plan heals whatever was lost: one round against a source that has everything is enough."""

import datetime as dt

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.market.fetch_plan import AnsweredRanges, FetchRequest, PlanRules, Stored, expected_sessions, plan
from orchestration.market.universe import Instrument

bounded = settings(max_examples=150, deadline=None)

CLOSED = pd.DatetimeIndex(pd.bdate_range("2025-11-03", "2026-01-30"))
NOW = dt.datetime(2026, 1, 30, 22, 0, tzinfo=dt.UTC)

subsets = st.sets(st.integers(0, len(CLOSED) - 1))
listings = st.one_of(st.none(), st.dates(dt.date(2025, 11, 1), dt.date(2026, 1, 30)))
ages = st.one_of(st.none(), st.integers(0, 20))
windows = st.integers(0, 12)


def instrument(active_from: dt.date | None) -> Instrument:
    return Instrument(
        symbol="SIL",
        source_symbol="SIL",
        name="SIL",
        asset_class="etf",
        metal=None,
        tier="senior",
        calendar="XNYS",
        currency="USD",
        tick_size=0.01,
        metal_symbol=None,
        sector_symbol=None,
        active_from=active_from,
    )


def held(places: set[int], age_days: int | None) -> Stored:
    at = None if age_days is None else NOW - dt.timedelta(days=age_days)
    return Stored(CLOSED[sorted(places)], at)


def delivered(request: FetchRequest, closed: pd.DatetimeIndex, listed: pd.Timestamp) -> pd.DatetimeIndex:
    """What a source that has every session since the listing brings."""
    start = listed if request.start is None else max(pd.Timestamp(request.start), listed)
    return closed[(closed >= start) & (closed <= pd.Timestamp(request.end))]


def after(stored: Stored, request: FetchRequest, brought: pd.DatetimeIndex) -> Stored:
    asked = stored.answered
    known: list[tuple[dt.date | None, dt.date]] = [] if asked.whole_to is None else [(None, asked.whole_to)]
    return Stored(
        stored.sessions.union(brought),
        NOW if request.whole_history else stored.whole_history_at,
        AnsweredRanges.of([*known, *asked.since, (request.start, request.end)]),
    )


@bounded
@given(subsets, ages, windows, listings)
def test_one_round_stores_everything(
    places: set[int], age_days: int | None, window: int, active_from: dt.date | None
) -> None:
    rules = PlanRules(restatement_sessions=window)
    one = instrument(active_from)
    listed = CLOSED[0]
    stored = held(places, age_days)
    for request in plan([one], {"XNYS": CLOSED}, {"SIL": stored}, NOW, rules):
        stored = after(stored, request, delivered(request, CLOSED, listed))
    assert not stored.sessions.empty
    missing = expected_sessions(CLOSED, stored.sessions[0], active_from).difference(stored.sessions)
    assert missing.empty

    again = plan([one], {"XNYS": CLOSED}, {"SIL": stored}, NOW, rules)
    assert [request.reason for request in again] == (["restatement"] if window else [])
    for request in again:
        brought = delivered(request, CLOSED, listed)
        assert stored.sessions.union(brought).equals(stored.sessions)
        # The window, and one session before it that shows whether the basis has changed.
        assert len(brought) <= window + 1


@bounded
@given(subsets, ages, windows, listings)
def test_a_request_covers_all_that_is_missing_and_begins_with_a_stored_session(
    places: set[int], age_days: int | None, window: int, active_from: dt.date | None
) -> None:
    stored = held(places, age_days)
    requests = plan([instrument(active_from)], {"XNYS": CLOSED}, {"SIL": stored}, NOW, PlanRules(window))
    first = stored.sessions[0] if len(stored.sessions) else None
    missing = expected_sessions(CLOSED, first, active_from).difference(stored.sessions)
    if not requests:
        assert missing.empty
        assert window == 0
        return
    (request,) = requests
    assert request.end == CLOSED[-1].date()
    if request.start is not None:
        start = pd.Timestamp(request.start)
        assert start in CLOSED
        assert (missing >= start).all()
        assert (CLOSED[len(CLOSED) - window :] >= start).all()
        # Otherwise there is none before it to begin with.
        assert start in stored.sessions or (stored.sessions > start).all()


@bounded
@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), windows, st.data())
def test_refreshes_at_any_pace_end_with_the_same_sessions(steps: list[int], window: int, data: st.DataObject) -> None:
    """Some refreshes fail altogether; the last one does not."""
    stored = Stored(CLOSED[:0], None)
    end = 0
    for step in [*steps, 0]:
        end = min(end + step, len(CLOSED))
        closed = CLOSED[:end]
        fails = step > 0 and data.draw(st.booleans())
        for request in plan([instrument(None)], {"XNYS": closed}, {"SIL": stored}, NOW, PlanRules(window)):
            if not fails:
                stored = after(stored, request, delivered(request, closed, CLOSED[0]))
    assert stored.sessions.equals(CLOSED[:end])


@bounded
@given(
    st.sets(st.integers(1, len(CLOSED) - 2)),
    st.lists(st.integers(1, 6), min_size=1, max_size=12),
    windows,
    st.data(),
)
def test_holes_of_the_vendor_drag_no_request_back(
    holes: set[int], steps: list[int], window: int, data: st.DataObject
) -> None:
    """Some refreshes fail; whatever the vendor has is stored, and what it has not is not asked for again."""
    has = CLOSED.delete(sorted(holes))
    stored = Stored(CLOSED[:0], None)
    end = 0
    for step in [*steps, len(CLOSED)]:
        end = min(end + step, len(CLOSED))
        closed = CLOSED[:end]
        fails = end < len(CLOSED) and data.draw(st.booleans())
        for request in plan([instrument(None)], {"XNYS": closed}, {"SIL": stored}, NOW, PlanRules(window)):
            if not fails:
                stored = after(stored, request, delivered(request, has, CLOSED[0]))
    assert stored.sessions.equals(has)
    for request in plan([instrument(None)], {"XNYS": CLOSED}, {"SIL": stored}, NOW, PlanRules(window)):
        assert window > 0
        assert request.reason == "restatement"
        # The window, one stored session before it and, right after a hole, one more.
        assert len(delivered(request, has, CLOSED[0])) <= window + 2
