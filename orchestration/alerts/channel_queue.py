"""The deliveries of one channel: what is pending, and how its attempts went.

A delivery is `pending` until its channel has accepted it (`sent`) or it is given up (`expired`, with the reason): it
has waited too long, the service refuses it and nothing else, or it was most likely delivered, though the service never
says so in time.
"""

from collections.abc import Sequence

from orchestration.alerts.failures import Failure
from orchestration.alerts.messages import Pending
from orchestration.alerts.outbox_file import EVENT_COLUMNS, OutboxFile, read_alert

# Waits after the first, second, ... failure of a delivery, in seconds: they double up to an hour.
FIRST_WAIT = 60.0
LONGEST_WAIT = 3600.0

# Refusals for good of one event, by a service that has accepted other messages meanwhile.
REJECTIONS_BEFORE_GIVING_UP = 5

# Attempts that the service may have taken and did not answer in time: with their waits two hours of them. A service
# that is down refuses or says so, and is tried for a week.
UNANSWERED_BEFORE_GIVING_UP = 8


class ChannelQueue:
    """The queue of a channel, by its name; every method is one transaction."""

    def __init__(self, file: OutboxFile, channel: str) -> None:
        self._file = file
        self._channel = channel

    def pending(self) -> list[Pending]:
        """Everything that the channel has still to be sent."""
        found = self._file.connection.execute(
            f"select {EVENT_COLUMNS}, e.run_id, d.doubtful, d.rejections, d.unanswered from deliveries as d"  # noqa: S608
            " inner join events as e on d.event_id = e.event_id where d.channel = ? and d.state = 'pending'",
            (self._channel,),
        )
        return [
            Pending(read_alert(event), run_id, bool(maybe_delivered), rejections, unanswered)
            for *event, run_id, maybe_delivered, rejections, unanswered in found.fetchall()
        ]

    def begin(self, event_ids: Sequence[str], now: float) -> None:
        """Note that an attempt is under way: if nothing more is heard of it, it failed, and was maybe delivered."""
        with self._file.transaction() as connection:
            connection.executemany(
                "update deliveries set attempts = attempts + 1, doubtful = 1, unanswered = unanswered + 1,"
                " next_attempt_at = ? + min(? * (1 << min(attempts, 30)), ?), reason = 'the attempt broke off'"
                " where event_id = ? and channel = ?",
                [(now, FIRST_WAIT, LONGEST_WAIT, event_id, self._channel) for event_id in event_ids],
            )

    def sent(self, event_ids: Sequence[str], now: float) -> None:
        """Note that the channel accepted these."""
        with self._file.transaction() as connection:
            connection.executemany(
                "update deliveries set state = 'sent', sent_at = ?, doubtful = 0, reason = null"
                " where event_id = ? and channel = ?",
                [(now, event_id, self._channel) for event_id in event_ids],
            )
            connection.execute(
                "update deliveries set overtaken = 1 where channel = ? and state = 'pending'", (self._channel,)
            )

    def failed(self, before: Sequence[Pending], failure: Failure) -> None:
        """Note that an attempt failed; `before` is what was sent, as it stood before the attempt."""
        with self._file.transaction() as connection:
            connection.executemany(
                "update deliveries set doubtful = ?, unanswered = ?, rejections = rejections + ?, reason = ?"
                " where event_id = ? and channel = ?",
                [
                    (
                        failure.maybe_delivered or item.maybe_delivered,
                        item.unanswered + failure.unanswered,
                        failure.for_good,
                        failure.reason,
                        item.alert.event_id,
                        self._channel,
                    )
                    for item in before
                ],
            )

    def give_up_unanswered(self) -> int:
        """Give up what was maybe delivered, often enough, without an answer; returns how many events."""
        return self._give_up(
            "'given up, perhaps delivered: ' || unanswered || ' attempts without an answer in time'",
            "unanswered >= ?",
            UNANSWERED_BEFORE_GIVING_UP,
        )

    def give_up_rejected(self) -> int:
        """Give up what the service refused often enough; returns how many events.

        Only if the channel has accepted something else since the event was queued: then it is the event, not the
        channel.
        """
        return self._give_up(
            "'given up, refused ' || rejections || ' times: ' || reason",
            "rejections >= ? and overtaken",
            REJECTIONS_BEFORE_GIVING_UP,
        )

    def _give_up(self, reason: str, condition: str, limit: int) -> int:
        with self._file.transaction() as connection:
            return connection.execute(
                f"update deliveries set state = 'expired', reason = {reason}"  # noqa: S608
                f" where channel = ? and state = 'pending' and {condition}",
                (self._channel, limit),
            ).rowcount
