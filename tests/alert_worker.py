"""A process that outbox events and sends them, for the test that kills it.

`python -m tests.alert_worker HOME FIRST LAST`: outbox the events of the rounds FIRST to LAST, as market checks would
that are evaluated again and again, and sends what is pending. Says `ready` when it starts and `done` when it has ended.
"""

import datetime as dt
import sys
import time
from pathlib import Path

from orchestration.alerts.messages import Alert
from orchestration.alerts.outbox import Judgement, opened_outbox
from orchestration.alerts.senders import send
from orchestration.settings import Settings

EVENTS = 5


def event_ids(rounds: int) -> list[str]:
    return [f"round{n}-event{k}" for n in range(rounds) for k in range(EVENTS)]


def main(home: str, first: int, last: int) -> None:
    settings = Settings(home=Path(home))  # the channels come from the environment
    _say("ready")
    for number in range(first, last + 1):
        ids = [f"round{number}-event{k}" for k in range(EVENTS)]
        alerts = [Alert(i, "move", "warning", ("SIL",), dt.date(2026, 1, 30), f"Move {i}") for i in ids]
        with opened_outbox(settings.paths.alerts) as outbox:
            for alert in alerts:
                outbox.record([alert], time.time(), f"run{number}")
            outbox.record_run(f"run{number}", lambda _: Judgement({}, []), time.time())
            outbox.enqueue(settings.channels, time.time() + 7200, lambda _: None)
    send(settings.paths, settings.receivers)
    _say("done")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
