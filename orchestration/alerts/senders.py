"""Starts a sender for each channel (`alerts.send`), all at once, each in a process of its own, and awaits them."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

from orchestration.alerts.messages import NO_ANSWER
from orchestration.alerts.outbox import opened_outbox
from orchestration.alerts.send import Order, Outcome
from orchestration.channels import Channel, Receivers
from orchestration.home import Home

# Until a sender has loaded Apprise, in seconds: a busy machine must not count against a service.
START_SECONDS = 120.0


def send(home: Home, receivers: Receivers, test: bool = False) -> list[Outcome]:
    """Send each channel what is pending for it; a sender keeps the time limit itself."""
    started = [(channel, _start(home, receivers, channel, test)) for channel in receivers.channels]
    deadline = time.monotonic() + START_SECONDS + 2 * receivers.timeout_seconds
    outcomes = [_finish(channel, process, deadline) for channel, process in started]
    return outcomes if test else [_without_what_arrived(home, outcome) for outcome in outcomes]


def _without_what_arrived(home: Home, outcome: Outcome) -> Outcome:
    """An outcome once more, after its sender was ended and could not give up itself what has no answer."""
    if outcome.reason != NO_ANSWER:
        return outcome
    with opened_outbox(home.alerts) as outbox:
        queue = outbox.queue(outcome.channel)
        perhaps = outcome.perhaps_delivered + queue.give_up_unanswered()
        return replace(outcome, reason=outcome.reason if queue.pending() else None, perhaps_delivered=perhaps)


def _start(home: Home, receivers: Receivers, channel: Channel, test: bool) -> subprocess.Popen[str]:
    limit, ui_url = receivers.timeout_seconds, receivers.ui_url
    order = Order(str(home.alerts), channel.name, channel.url, limit, home.simulated, ui_url, test)
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.alerts.send"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # it has died; `_finish` says so
        process.stdin.write(json.dumps(asdict(order)))
        process.stdin.close()
    process.stdin = None
    return process


def _finish(channel: Channel, process: subprocess.Popen[str], deadline: float) -> Outcome:
    # One that has ended while another was waited for has its answer ready.
    patience = None if process.poll() is not None else max(0.0, deadline - time.monotonic())
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Outcome(channel.name, 0, NO_ANSWER)
    if process.returncode == -signal.SIGALRM:
        return Outcome(channel.name, 0, NO_ANSWER)
    try:
        return Outcome(**json.loads(output))
    except (TypeError, ValueError):
        return Outcome(channel.name, 0, f"the sender ended with {process.returncode}")
