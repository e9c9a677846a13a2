"""Sends what one channel is owed: a process of its own, started by `alerts.deliver`.

A process can be ended at its time limit whatever a service does, and Apprise's log, which may show pieces of a URL,
ends with it. The URL comes through standard input, never through the command line. Standard output gets one line of
JSON: how many were sent, and why the rest was not. One sender at a time per channel: a lock that ends with its process.

This is the only module that imports Apprise.
"""

import datetime as dt
import json
import logging
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.alerts.journal import journal
from orchestration.alerts.messages import Alert, Message, Waiting, compose

if TYPE_CHECKING:
    from apprise import NotifyBase

# Room for what a channel's own notation adds to a plain text.
FILL = 0.8

# Failures before the service saw the message. After any other one it may have accepted it.
NEVER_ARRIVED = {
    "refused": "connection refused",
    "NameResolution": "the host is unknown",
    "Name or service not known": "the host is unknown",
    "ConnectTimeout": "no connection in time",
    "SSLError": "the certificate or the TLS handshake failed",
    "CERTIFICATE_VERIFY_FAILED": "the certificate was not accepted",
}


class _Log(logging.Handler):
    """Keeps what Apprise logs, in memory, to find a reason in it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def main() -> None:
    """Read the order from standard input, carry it out, print the outcome."""
    order = json.load(sys.stdin)
    try:
        outcome = _carry_out(order)
    except Exception as error:  # its text may hold a URL; its class does not
        outcome = {"sent": 0, "reason": f"the sender broke off: {type(error).__name__}"}
    print(json.dumps(outcome))  # noqa: T201


def _carry_out(order: dict[str, Any]) -> dict[str, Any]:
    from filelock import FileLock, Timeout

    folder, channel = Path(order["folder"]), str(order["channel"])
    if order["test"]:
        return _test(order)
    try:
        with FileLock(folder / f"{channel}.lock", timeout=0):
            return _send_all(order, folder, channel)
    except Timeout:
        return {"sent": 0, "reason": "another process is sending to it"}


def _send_all(order: dict[str, Any], folder: Path, channel: str) -> dict[str, Any]:
    sent = 0
    with journal(folder) as journal_:
        while waiting := journal_.waiting(channel):
            service = _service(order["url"])
            if service is None:
                journal_.begin(channel, [w.alert.event_id for w in waiting], time.time())
                journal_.failed(channel, waiting, UNKNOWN_URL, doubtful=False)
                return {"sent": sent, "reason": UNKNOWN_URL}
            message = compose(waiting, order["simulated"], order["ui_url"], _room(service))
            journal_.begin(channel, message.event_ids, time.time())
            reason, doubtful = _send(service, message)
            if reason is not None:
                attempted = [w for w in waiting if w.alert.event_id in message.event_ids]
                journal_.failed(channel, attempted, reason, doubtful)
                return {"sent": sent, "reason": reason}
            # A process that is killed right here is the one way to a message that comes twice.
            journal_.sent(channel, message.event_ids, time.time())
            sent += len(message.event_ids)
    return {"sent": sent, "reason": None}


def _test(order: dict[str, Any]) -> dict[str, Any]:
    service = _service(order["url"])
    if service is None:
        return {"sent": 0, "reason": UNKNOWN_URL}
    today = dt.datetime.now(dt.UTC).date()
    alert = Alert("test", "data", "info", (), today, "a test of this channel", ("Nothing happened; no answer needed.",))
    reason, _ = _send(service, compose([Waiting(alert)], order["simulated"], order["ui_url"], _room(service)))
    return {"sent": int(reason is None), "reason": reason}


UNKNOWN_URL = "Apprise does not understand its URL"


def _service(url: str) -> "NotifyBase | None":
    """What Apprise makes of a URL; None if nothing."""
    from apprise import Apprise, AppriseAsset
    from apprise.common import OverflowMode

    asset = AppriseAsset(
        app_id="Orewatch",
        app_desc="Orewatch",
        app_url="",
        async_mode=False,
        # No message fetches a picture from the network.
        image_url_mask="",
        image_url_logo="",
    )
    service = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    # A single alert that is longer than a message may be.
    if service is not None and service.overflow_mode == OverflowMode.UPSTREAM:
        service.overflow_mode = OverflowMode.SPLIT
    return service


def _room(service: "NotifyBase") -> int:
    """Characters that the body of a message may have."""
    return int(service.body_maxlen * FILL) - (0 if service.title_maxlen else 200)


def _send(service: "NotifyBase", message: Message) -> tuple[str | None, bool]:
    """Send one message; returns why it failed, None if it did not, and whether it may have arrived all the same."""
    from apprise import Apprise
    from apprise.common import NotifyFormat, NotifyType

    kinds = {"info": NotifyType.INFO, "warning": NotifyType.WARNING, "error": NotifyType.FAILURE}
    log = _Log()
    logger = logging.getLogger("apprise")
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    receiver = Apprise(asset=service.asset)
    receiver.add(service)
    accepted = receiver.notify(
        body=message.body, title=message.title, notify_type=kinds[message.severity], body_format=NotifyFormat.TEXT
    )
    if accepted:
        return None, False
    return _reason(log.lines)


def _reason(lines: list[str]) -> tuple[str, bool]:
    """Why a channel did not accept a message, in words of ours: a log line may hold a token, a reason may not."""
    text = "\n".join(lines)
    if found := re.search(r"error=(\d{3})\b", text):
        return f"HTTP {found[1]}", False
    if found := re.search(r"Socket Exception: .*?\((\d{3}), ", text):
        return f"SMTP {found[1]}", False
    for sign, reason in NEVER_ARRIVED.items():
        if sign in text:
            return reason, False
    if re.search(r"timed? ?out", text, re.IGNORECASE):
        return "no answer in time", True
    return "not accepted", True


if __name__ == "__main__":
    main()
