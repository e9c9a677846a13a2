"""Sends what is pending for one channel: a process of its own, started by `alerts.senders`.

The system ends it at its time limit whatever a service does, and Apprise's log, which may show pieces of a URL, ends
with it. The limit is for one answer: it begins with the message, not with the process, which may have to wait for its
turn on a busy machine. The URL comes through standard input, never through the command line. Standard output gets one
line of JSON: the `Outcome`. One sender at a time per channel: a lock that ends with its process.
"""

import datetime as dt
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from orchestration.alerts.apprise_service import room, send_message, service_of
from orchestration.alerts.failures import Failure
from orchestration.alerts.messages import Alert, Pending, compose, ordered
from orchestration.alerts.outbox import opened_outbox

# No further message is begun once a service has taken this part of the time limit: its round stays short.
ROUND_PART = 0.25

# A service that refuses everything is asked a few times a round, not for each event.
REFUSALS_IN_A_ROUND = 3

UNKNOWN_URL = "Apprise does not understand its URL"


@dataclass(frozen=True)
class Order:
    """What a sender is to do: `folder` is that of the outbox, the URL is secret, `limit` is seconds for one answer.

    With `test` it sends a test message instead of what is pending.
    """

    folder: str
    channel: str
    url: str
    limit: float
    simulated: bool
    ui_url: str
    test: bool


@dataclass(frozen=True)
class Outcome:
    """How it went with one channel: how many alerts it accepted, how many were given up, and why not the rest.

    Those that are given up were refused for good, or perhaps delivered: the service never says so in time.
    """

    channel: str
    sent: int
    reason: str | None = None
    given_up: int = 0
    perhaps_delivered: int = 0

    @property
    def text(self) -> str:
        """In words."""
        gone = self.given_up or self.perhaps_delivered
        parts = [f"{self.sent} sent"] if self.sent or not (self.reason or gone) else []
        if self.given_up:
            parts.append(f"{self.given_up} given up, refused for good (orewatch alerts)")
        if self.perhaps_delivered:
            parts.append(f"{self.perhaps_delivered} given up, perhaps delivered, no answer in time (orewatch alerts)")
        if self.reason:
            parts.append(f"not sent: {self.reason}; it will be tried again")
        return f"{self.channel}: {', '.join(parts)}"


def main() -> None:
    """Read the order from standard input, carry it out, print the outcome."""
    order = Order(**json.load(sys.stdin))
    try:
        outcome = _carry_out(order)
    except Exception as error:  # its text may hold a URL; its class does not
        outcome = Outcome(order.channel, 0, f"the sender broke off: {type(error).__name__}")
    print(json.dumps(asdict(outcome)))  # noqa: T201


def _carry_out(order: Order) -> Outcome:
    from filelock import FileLock, Timeout

    if order.test:
        return _test(order)
    try:
        with FileLock(Path(order.folder, f"{order.channel}.lock"), timeout=0):
            return _send_all(order)
    except Timeout:
        return Outcome(order.channel, 0, "another process is sending to it")


def _send_all(order: Order) -> Outcome:
    """Send message after message until nothing is pending or the channel cannot be reached.

    An event whose message was refused for good waits behind all others; then it is sent alone and in short, once a
    round, until the service takes it or it is given up: it holds nobody up.
    """
    sent = given_up = 0
    reason = None
    refused_alone: set[str] = set()
    answering = 0.0
    with opened_outbox(Path(order.folder)) as outbox:
        queue = outbox.queue(order.channel)
        # Nobody else sends at this moment: what has no answer gets none.
        perhaps = queue.give_up_unanswered()
        while pending := [p for p in queue.pending() if p.alert.event_id not in refused_alone]:
            if answering > ROUND_PART * order.limit:
                reason = reason or "it is slow, the rest follows in the next round"
                break
            service = service_of(order.url, order.limit)
            if service is None:
                reason = UNKNOWN_URL
                queue.begin([p.alert.event_id for p in pending], time.time())
                queue.failed(pending, Failure(reason, maybe_delivered=False, for_good=False))
                break
            whole = [p for p in pending if not p.rejections]
            message = compose(whole or _alone(pending), order.simulated, order.ui_url, room(service))
            queue.begin(message.event_ids, time.time())
            begun = time.monotonic()
            failure = send_message(service, message)
            answering += time.monotonic() - begun
            if failure is None:
                # A process that is killed right here is the one way to a message that comes twice.
                queue.sent(message.event_ids, time.time())
                sent += len(message.event_ids)
                continue
            reason = failure.reason
            queue.failed([p for p in pending if p.alert.event_id in message.event_ids], failure)
            if not failure.for_good:
                perhaps += queue.give_up_unanswered()
                break
            given_up += queue.give_up_rejected()
            if not whole:
                refused_alone.update(message.event_ids)
                if len(refused_alone) == REFUSALS_IN_A_ROUND:
                    break
        # What failed may have been given up; then nothing is left to try again.
        return Outcome(order.channel, sent, reason if queue.pending() else None, given_up, perhaps)


def _alone(pending: Sequence[Pending]) -> list[Pending]:
    """The next of the refused events, least often refused first, without its details: those may be what was wrong."""
    chosen = min(ordered(pending), key=lambda p: p.rejections)
    return [replace(chosen, alert=replace(chosen.alert, lines=()))]


def _test(order: Order) -> Outcome:
    service = service_of(order.url, order.limit)
    if service is None:
        return Outcome(order.channel, 0, UNKNOWN_URL)
    today = dt.datetime.now(dt.UTC).date()
    alert = Alert("test", "data", "info", (), today, "a test of this channel", ("Nothing happened; no answer needed.",))
    failure = send_message(service, compose([Pending(alert)], order.simulated, order.ui_url, room(service)))
    return Outcome(order.channel, int(failure is None), failure.reason if failure else None)


if __name__ == "__main__":
    main()
