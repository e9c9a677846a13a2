"""Several requests at a time to a service with a rate limit: pace, backing off, retries, giving up.

Every decision is made in the thread that takes the outcomes; the other threads make one request each and hand back its
outcome, so nothing needs a lock.
"""

import functools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from orchestration.market.bars import empty_raw
from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.base import FetchOutcome, FetchStatus, jittered, outcome_of

# Faults of the service or the network, not of the symbol.
OF_THE_SERVICE = frozenset(map(FetchStatus, ("rate_limited", "timeout", "unreachable", "unauthorised")))
# Worth another attempt. An unknown symbol or an empty range stays what it is.
TRANSIENT = OF_THE_SERVICE | {FetchStatus.MALFORMED}

# So many symbols in a row that ended in a fault of the service, and the rest is not asked for.
GIVE_UP_AFTER = 3
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class RateLimitPolicy:
    """How fast and how often a service is asked."""

    connections: int  # requests under way at a time, at most, while all is well
    pause_seconds: float  # before a free connection begins another symbol, while all is well
    attempts: int  # for one symbol
    backoff_seconds: float  # before the second attempt; doubles, with jitter


@dataclass
class _Task:
    """One symbol on its way."""

    request: FetchRequest
    position: int
    attempts: int = 0  # that have ended
    wait: float = 0.0  # seconds until it may be tried again
    slow_downs: int = 0  # how many there had been when its latest attempt began
    outcome: FetchOutcome | None = None  # of its latest attempt


def fetch_throttled(
    requests: Sequence[FetchRequest],
    attempt: Callable[[FetchRequest], FetchOutcome],
    policy: RateLimitPolicy,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[FetchOutcome]:
    """One outcome per request, each as soon as it is known; over one connection in the order of the requests.

    A rate limit slows down everything: nothing begins before the one that met it may try again, the number of requests
    at a time is halved and the pause between symbols doubled, up to `LONGEST_PAUSE_SECONDS`. Several that were under
    way together count once. Each symbol that succeeds at once takes half of the pause back and adds a request. (The
    congestion control of TCP: additive increase, multiplicative decrease; Chiu and Jain 1989.)

    If `GIVE_UP_AFTER` symbols in a row end in a fault of the service after all their attempts, the rest end at once
    with the same class: a refresh must neither hammer a service that refuses nor wait an hour for a network that is
    down.

    Args:
        requests: what to ask for.
        attempt: makes one request, from another thread.
        policy: pace and retries.
        sleep: waits while nothing is under way; tests replace it.
    """
    yield from _Fetching(requests, attempt, policy, sleep).outcomes()


@dataclass
class _Fetching:
    requests: Sequence[FetchRequest]
    attempt: Callable[[FetchRequest], FetchOutcome]
    policy: RateLimitPolicy
    sleep: Callable[[float], None]
    # What is still to be begun, what waits for another attempt, how many are under way.
    unasked: deque[_Task] = field(default_factory=deque)
    waiting: list[_Task] = field(default_factory=list)
    under_way: int = 0
    answers: "queue.SimpleQueue[tuple[_Task, FetchOutcome | BaseException]]" = field(default_factory=queue.SimpleQueue)
    # The present pace. `rested`: seconds with a free connection since the last beginning; `hold`: nothing begins for
    # so long.
    limit: int = 0
    pause: float = 0.0
    rested: float = float("inf")
    hold: float = 0.0
    slow_downs: int = 0
    in_a_row: int = 0
    given_up: FetchStatus | None = None

    def outcomes(self) -> Iterator[FetchOutcome]:
        self.unasked.extend(_Task(request, position) for position, request in enumerate(self.requests))
        self.limit, self.pause = self.policy.connections, self.policy.pause_seconds
        workers = _workers(self.policy.connections)
        finished = False
        try:
            while self.unasked or self.waiting or self.under_way:
                if self.given_up is not None:
                    yield from self._rest()
                task, delay = self._next()
                if task is not None and delay <= 0:
                    self._begin(task, workers)
                elif (answer := self._wait(None if task is None else delay)) is not None:
                    ended = self._take(*answer)
                    if ended is not None:
                        yield ended
            finished = True
        finally:
            if not finished:
                # The caller stopped: the answers that are still to come are not needed.
                _workers.cache_clear()
                workers.dismiss()

    def _next(self) -> tuple[_Task | None, float]:
        """The next task and the seconds until it may begin; None while all connections are busy."""
        if self.under_way >= self.limit:
            return None, 0.0
        found = [
            (max(task.wait, self.hold, self.policy.pause_seconds - self.rested), task.position, task)
            for task in self.waiting
        ]
        # A symbol keeps its place until it has ended, also while it waits for another attempt.
        if self.unasked and self.under_way + len(self.waiting) < self.limit:
            found.append((max(self.hold, self.pause - self.rested), self.unasked[0].position, self.unasked[0]))
        if not found:
            return None, 0.0
        delay, _, task = min(found, key=lambda candidate: candidate[:2])
        return task, delay

    def _begin(self, task: _Task, workers: "_Workers") -> None:
        if task.attempts:
            self.waiting.remove(task)
        else:
            self.unasked.popleft()
        task.slow_downs = self.slow_downs
        self.under_way += 1
        self.rested = 0.0

        def ask() -> None:
            answer: FetchOutcome | BaseException
            try:
                answer = outcome_of(self.attempt, task.request)
            except BaseException as error:
                # Raised again where the outcomes are taken.
                answer = error
            self.answers.put((task, answer))

        workers.do(ask)

    def _wait(self, seconds: float | None) -> tuple[_Task, FetchOutcome | BaseException] | None:
        """The next answer, if one comes in time; None: wait as long as it takes."""
        answer = None
        begun = time.monotonic()
        if self.under_way:
            try:
                answer = self.answers.get(timeout=seconds)
            except queue.Empty:
                answer = None
        elif seconds is not None:
            self.sleep(seconds)
        waited = time.monotonic() - begun if answer is not None or seconds is None else seconds
        for task in self.waiting:
            task.wait -= waited
        self.hold -= waited
        if seconds is not None:
            self.rested += waited
        return answer

    def _take(self, task: _Task, answer: FetchOutcome | BaseException) -> FetchOutcome | None:
        """What an answer means for the pace; the outcome, if there will be no further attempt."""
        self.under_way -= 1
        if isinstance(answer, BaseException):
            raise answer
        task.attempts += 1
        task.outcome = replace(answer, attempts=task.attempts)
        again = answer.status in TRANSIENT and task.attempts < self.policy.attempts and self.given_up is None
        if again:
            task.wait = jittered(self.policy.backoff_seconds, task.attempts)
            self.waiting.append(task)
        # The answer to what began before the last slow-down does not concern the pace since.
        if task.slow_downs == self.slow_downs:
            if answer.status is FetchStatus.RATE_LIMITED:
                self.slow_downs += 1
                self.limit = max(1, self.limit // 2)
                self.pause = min(LONGEST_PAUSE_SECONDS, max(2 * self.pause, self.policy.backoff_seconds))
                self.hold = task.wait if again else self.pause
            elif answer.status is FetchStatus.OK and task.attempts == 1:
                self.limit = min(self.policy.connections, self.limit + 1)
                self.pause = max(self.policy.pause_seconds, self.pause / 2)
        return None if again else self._ended(task.outcome)

    def _ended(self, outcome: FetchOutcome) -> FetchOutcome:
        self.in_a_row = self.in_a_row + 1 if outcome.status in OF_THE_SERVICE else 0
        if self.in_a_row >= GIVE_UP_AFTER and self.given_up is None:
            self.given_up = outcome.status
        return outcome

    def _rest(self) -> Iterator[FetchOutcome]:
        """After giving up: those that wait end as they stand, those not yet begun are not asked for."""
        waiting, self.waiting = sorted(self.waiting, key=lambda task: task.position), []
        unasked, self.unasked = self.unasked, deque()
        for task in waiting:
            assert task.outcome is not None  # noqa: S101  (only who has been answered waits)
            yield task.outcome
        for task in unasked:
            assert self.given_up is not None  # noqa: S101  (or nobody would call this)
            cause = f"not asked for, because the {GIVE_UP_AFTER} symbols before it ended {self.given_up}"
            yield FetchOutcome(
                task.request, self.given_up, empty_raw(), detail=f"{task.request.source_symbol}: {cause}", attempts=0
            )


class _Workers:
    """Daemon threads that do one job after the other."""

    def __init__(self, number: int) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"fetch-{place}", daemon=True) for place in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def do(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def dismiss(self) -> None:
        """Let each thread end after its present job."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


@functools.lru_cache(maxsize=4)
def _workers(number: int) -> _Workers:
    """Kept as long as the process lives, because every thread keeps its connection."""
    return _Workers(number)
