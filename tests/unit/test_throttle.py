"""Asking several at a time: nothing lost, nothing hammered, nobody held up by another."""

import datetime as dt
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.market.bars import empty_raw
from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.throttle import GIVE_UP_AFTER, TRANSIENT, RateLimitPolicy, fetch_throttled

OK, LIMITED, TIMEOUT, UNKNOWN = (
    FetchStatus.OK,
    FetchStatus.RATE_LIMITED,
    FetchStatus.TIMEOUT,
    FetchStatus.UNKNOWN_SYMBOL,
)
PATIENCE = 120.0  # for a busy machine; nobody waits so long


def requests(number: int) -> list[FetchRequest]:
    return [FetchRequest(f"S{n:02d}", f"S{n:02d}", None, dt.date(2026, 3, 6), "forced") for n in range(number)]


def answer(request: FetchRequest, status: FetchStatus) -> FetchOutcome:
    return FetchOutcome(request, status, empty_raw(), detail="" if status is OK else f"{request.symbol}: {status}")


class Service:
    """Answers as its script says, in a few milliseconds, and remembers how it was asked.

    `together`: it answers nobody until so many are under way.
    """

    def __init__(
        self, script: dict[str, list[FetchStatus]] | None = None, seconds: float = 0.005, together: int = 1
    ) -> None:
        self.script = {symbol: list(statuses) for symbol, statuses in (script or {}).items()}
        self.seconds = seconds
        self.asked: list[tuple[float, str]] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.together = together
        self.complete = threading.Event()

    def __call__(self, request: FetchRequest) -> FetchOutcome:
        with self.lock:
            self.asked.append((time.monotonic(), request.symbol))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            if self.under_way >= self.together:
                self.complete.set()
            statuses = self.script.get(request.symbol)
            status = statuses.pop(0) if statuses else OK
        if not self.complete.wait(PATIENCE):
            self.complete.set()  # they will never be so many
        time.sleep(self.seconds)
        with self.lock:
            self.under_way -= 1
        return answer(request, status)


def policy(connections: int = 6, pause: float = 0.0, attempts: int = 5, backoff: float = 0.01) -> RateLimitPolicy:
    return RateLimitPolicy(connections, pause, attempts, backoff)


def test_all_connections_are_used_and_no_more() -> None:
    service = Service(seconds=0.02, together=4)
    outcomes = list(fetch_throttled(requests(30), service, policy(4)))
    assert sorted(o.request.symbol for o in outcomes) == [r.symbol for r in requests(30)]
    assert {o.status for o in outcomes} == {OK}
    assert service.most_under_way == 4


def test_over_one_connection_outcomes_come_in_the_order_of_the_requests() -> None:
    service = Service({"S01": [TIMEOUT, OK], "S03": [LIMITED, LIMITED, OK]})
    outcomes = list(fetch_throttled(requests(6), service, policy(1)))
    assert [o.request for o in outcomes] == requests(6)
    assert [o.attempts for o in outcomes] == [1, 2, 1, 3, 1, 1]
    assert service.most_under_way == 1


def test_an_outcome_comes_as_soon_as_it_is_known() -> None:
    released = threading.Event()

    def first_hangs(request: FetchRequest) -> FetchOutcome:
        if request.symbol == "S00":
            released.wait(PATIENCE)
        return answer(request, OK)

    fetching = fetch_throttled(requests(10), first_hangs, policy(2))
    others = [next(fetching).request.symbol for _ in range(9)]
    assert others == [r.symbol for r in requests(10)[1:]]
    assert not released.is_set()
    released.set()
    assert [o.request.symbol for o in fetching] == ["S00"]


def test_a_symbol_that_is_tried_again_does_not_hold_the_others_up() -> None:
    service = Service({"S00": [TIMEOUT, OK]})
    sleeps: list[float] = []
    # It may try again in an hour, which passes at once when nothing else is left to do.
    outcomes = list(fetch_throttled(requests(8), service, policy(2, backoff=3600.0), sleeps.append))
    assert outcomes[-1].request.symbol == "S00"
    assert (outcomes[-1].status, outcomes[-1].attempts) == (OK, 2)
    assert len(sleeps) == 1


def test_symbols_begin_a_pause_apart_whatever_the_number_of_connections() -> None:
    service = Service(seconds=0.2)
    begun = time.monotonic()
    list(fetch_throttled(requests(8), service, policy(8, pause=0.05)))
    moments = [moment for moment, _ in service.asked]
    assert max(moments) - begun > 0.34  # seven pauses
    assert service.most_under_way > 1


def test_a_rate_limit_stops_everything_until_its_symbol_may_try_again() -> None:
    service = Service({"S05": [LIMITED, OK]}, seconds=0.03)
    outcomes = list(fetch_throttled(requests(20), service, policy(4, backoff=0.6)))
    assert {o.status for o in outcomes} == {OK}
    assert Counter(symbol for _, symbol in service.asked) == Counter({r.symbol: 1 for r in requests(20)} | {"S05": 2})
    moments = [moment for moment, _ in service.asked]
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    # Half of the backoff at least, because of the jitter; and what follows keeps a longer pause.
    assert max(gaps) > 0.25
    after = gaps[gaps.index(max(gaps)) + 1 :]
    assert max(after) > 0.1


def test_several_limits_at_the_same_moment_slow_down_once() -> None:
    sleeps: list[float] = []
    service = Service({f"S{n:02d}": [LIMITED, OK] for n in range(6)})
    outcomes = list(fetch_throttled(requests(12), service, policy(6, backoff=0.2), sleeps.append))
    assert {o.status for o in outcomes} == {OK}
    # Six doublings would be a pause of 6.4 s.
    assert 0 < max(sleeps) <= 0.3


def test_a_lasting_limit_is_given_up_and_not_hammered() -> None:
    service = Service({r.symbol: [LIMITED] * 99 for r in requests(40)})
    outcomes = list(fetch_throttled(requests(40), service, policy(6, attempts=3, backoff=0.005)))
    assert sorted(o.request.symbol for o in outcomes) == [r.symbol for r in requests(40)]
    assert {o.status for o in outcomes} == {LIMITED}
    assert len(service.asked) <= 6 + (GIVE_UP_AFTER + 3) * 2
    assert [o.attempts for o in outcomes if o.request.symbol >= "S06"] == [0] * 34
    assert sum(o.attempts for o in outcomes) == len(service.asked)


def test_faults_of_symbols_are_no_reason_to_give_up() -> None:
    service = Service({r.symbol: [UNKNOWN] for r in requests(20)})
    outcomes = list(fetch_throttled(requests(20), service, policy(6)))
    assert {o.status for o in outcomes} == {UNKNOWN}
    assert {o.attempts for o in outcomes} == {1}


def test_an_error_of_ours_is_the_outcome_of_its_symbol_alone() -> None:
    def fails(request: FetchRequest) -> FetchOutcome:
        if request.symbol == "S01":
            raise ZeroDivisionError("float division by zero")
        return answer(request, OK)

    outcomes = {o.request.symbol: o for o in fetch_throttled(requests(3), fails, policy(3))}
    assert {symbol: o.status for symbol, o in outcomes.items()} == {"S00": OK, "S01": FetchStatus.BROKEN, "S02": OK}
    assert "ZeroDivisionError: float division by zero" in outcomes["S01"].detail
    assert outcomes["S01"].failed


def test_who_wants_to_end_ends() -> None:
    def interrupted(request: FetchRequest) -> FetchOutcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(fetch_throttled(requests(3), interrupted, policy(3)))


def test_ending_early_waits_for_nobody() -> None:
    released = threading.Event()

    def hangs(request: FetchRequest) -> FetchOutcome:
        if request.symbol != "S00":
            released.wait(PATIENCE)
        return answer(request, OK)

    fetching: Iterator[FetchOutcome] = fetch_throttled(requests(9), hangs, policy(4))
    assert next(fetching).request.symbol == "S00"
    begun = time.monotonic()
    fetching.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begun < PATIENCE / 2
    # The next one is not served by threads that still hang.
    assert len(list(fetch_throttled(requests(5), Service(), policy(4)))) == 5
    assert not released.is_set()
    released.set()


STATUSES = st.sampled_from([OK, UNKNOWN, FetchStatus.EMPTY, *sorted(TRANSIENT)])


@settings(deadline=None, max_examples=60)
@given(scripts=st.lists(st.lists(STATUSES, max_size=4), max_size=14), connections=st.integers(1, 6))
def test_every_request_has_exactly_one_outcome(scripts: list[list[FetchStatus]], connections: int) -> None:
    asked = requests(len(scripts))
    service = Service(dict(zip((r.symbol for r in asked), scripts, strict=True)), seconds=0.0)
    outcomes = list(fetch_throttled(asked, service, policy(connections, attempts=3, backoff=0.0005)))
    assert sorted(o.request.symbol for o in outcomes) == [r.symbol for r in asked]
    assert Counter({o.request.symbol: o.attempts for o in outcomes if o.attempts}) == Counter(
        symbol for _, symbol in service.asked
    )
    for outcome in outcomes:
        said = [*scripts[int(outcome.request.symbol[1:])], *[OK] * 3]
        if outcome.attempts:
            assert outcome.status is said[outcome.attempts - 1]
            # Whoever was tried again had met a fault that may pass.
            assert all(status in TRANSIENT for status in said[: outcome.attempts - 1])
