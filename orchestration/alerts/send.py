"""Sends what one channel is owed: a process of its own, started by `alerts.deliver`.

The system ends it at its time limit whatever a service does, and Apprise's log, which may show pieces of a URL, ends
with it. The limit is for one answer: it begins with the message, not with the process, which may have to wait for its
turn on a busy machine. The URL comes through standard input, never through the command line. Standard output gets one
line of JSON: how many were sent or given up, and why the rest was not sent. One sender at a time per channel: a lock
that ends with its process.

This is the only module that imports Apprise.
"""

import datetime as dt
import json
import logging
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from orchestration.alerts.messages import NO_ANSWER, Alert, Message, Waiting, compose, ordered
from orchestration.alerts.outbox import journal

if TYPE_CHECKING:
    from apprise import NotifyBase
    from requests import Response
    from requests.sessions import SessionRedirectMixin

# Room for what a channel's own notation adds to a plain text.
FILL = 0.8

# Failures before the service saw the message.
NEVER_ARRIVED = {
    "refused": "connection refused",
    "NameResolution": "the host is unknown",
    "Name or service not known": "the host is unknown",
    "ConnectTimeout": "no connection in time",
    "SSLError": "the certificate or the TLS handshake failed",
    "CERTIFICATE_VERIFY_FAILED": "the certificate was not accepted",
    "NewConnectionError": "no connection",
}

# An answer that ends before its end: the service had the message.
CUT_ANSWER = "the answer broke off"

# An error that a plug-in caught; anything else that it logs as a detail is no reason.
_EXCEPTION = re.compile(r"[A-Za-z/_ ]*Exception[a-z_ ]*: ")

# What a service answers when it is not the message that is wrong: the key, the address, the moment.
HTTP_SETTINGS = frozenset({401, 402, 403, 404, 405, 407, 408, 421, 423, 425, 429})
SMTP_SETTINGS = frozenset({530, 534, 535, 538})

# Apprise may wait for connection and answer this much longer than each of them may take.
GRACE_SECONDS = 5.0

# No further message is begun once a service has taken this part of the time limit: its round stays short.
ROUND_PART = 0.25

# A service that refuses everything is asked a few times a round, not for each event.
REFUSALS_IN_A_ROUND = 3


@dataclass(frozen=True)
class Failure:
    """How an attempt failed.

    Attributes:
        reason: in words of ours, without anything of the URL.
        doubtful: whether the channel may have accepted the message, or a part of it, all the same.
        for_good: whether it would be refused again.
    """

    reason: str
    doubtful: bool
    for_good: bool

    @property
    def unanswered(self) -> bool:
        """Whether the service may have accepted it and never says so; one that is down refuses, closes, or says 5xx."""
        return self.reason in (NO_ANSWER, CUT_ANSWER)


class _Log(logging.Handler):
    """Keeps what Apprise logs, in memory, to find a reason in it; and where the service redirected, if it did."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.redirect = ""

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        # Among the details stand the message and the answer, whose words say nothing of how it went.
        if record.levelno >= logging.INFO or _EXCEPTION.match(line):
            self.lines.append(line)


def main() -> None:
    """Read the order from standard input, carry it out, print the outcome."""
    order = json.load(sys.stdin)
    try:
        outcome = _carry_out(order)
    except Exception as error:  # its text may hold a URL; its class does not
        outcome = _outcome(0, f"the sender broke off: {type(error).__name__}")
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
        return _outcome(0, "another process is sending to it")


def _send_all(order: dict[str, Any], folder: Path, channel: str) -> dict[str, Any]:
    """Send message after message until nothing waits or the channel cannot be reached.

    An event whose message was refused for good waits behind all others; then it is sent alone and in short, once a
    round, until the service takes it or the journal gives it up: it holds nobody up.
    """
    sent = given_up = 0
    reason = None
    refused_alone: set[str] = set()
    answering = 0.0
    with journal(folder) as journal_:
        # Nobody else sends at this moment: what has no answer gets none.
        perhaps = journal_.give_up_unanswered(channel)
        while waiting := [w for w in journal_.waiting(channel) if w.alert.event_id not in refused_alone]:
            if answering > ROUND_PART * order["limit"]:
                return _outcome(sent, reason or "it is slow, the rest follows in the next round", given_up, perhaps)
            service = _service(order["url"], order["limit"])
            if service is None:
                journal_.begin(channel, [w.alert.event_id for w in waiting], time.time())
                journal_.failed(channel, waiting, UNKNOWN_URL, doubtful=False)
                return _outcome(sent, UNKNOWN_URL, given_up, perhaps)
            whole = [w for w in waiting if not w.rejections]
            message = compose(whole or _alone(waiting), order["simulated"], order["ui_url"], _room(service))
            journal_.begin(channel, message.event_ids, time.time())
            begun = time.monotonic()
            failure = _send(service, message)
            answering += time.monotonic() - begun
            if failure is None:
                # A process that is killed right here is the one way to a message that comes twice.
                journal_.sent(channel, message.event_ids, time.time())
                sent += len(message.event_ids)
                continue
            reason = failure.reason
            attempted = [w for w in waiting if w.alert.event_id in message.event_ids]
            if not failure.for_good:
                journal_.failed(channel, attempted, reason, failure.doubtful, failure.unanswered)
                perhaps += journal_.give_up_unanswered(channel)
                break
            given_up += journal_.rejected(channel, attempted, reason, failure.doubtful)
            if not whole:
                refused_alone.update(message.event_ids)
                if len(refused_alone) == REFUSALS_IN_A_ROUND:
                    break
        # What failed may have been given up; then nothing is left to try again.
        return _outcome(sent, reason if journal_.waiting(channel) else None, given_up, perhaps)


def _alone(waiting: Sequence[Waiting]) -> list[Waiting]:
    """The next of the refused events, least often refused first, without its details: those may be what was wrong."""
    chosen = min(ordered(waiting), key=lambda w: w.rejections)
    return [replace(chosen, alert=replace(chosen.alert, lines=()))]


def _outcome(sent: int, reason: str | None, given_up: int = 0, perhaps: int = 0) -> dict[str, Any]:
    return {"sent": sent, "reason": reason, "given_up": given_up, "perhaps_delivered": perhaps}


def _test(order: dict[str, Any]) -> dict[str, Any]:
    service = _service(order["url"], order["limit"])
    if service is None:
        return _outcome(0, UNKNOWN_URL)
    today = dt.datetime.now(dt.UTC).date()
    alert = Alert("test", "data", "info", (), today, "a test of this channel", ("Nothing happened; no answer needed.",))
    failure = _send(service, compose([Waiting(alert)], order["simulated"], order["ui_url"], _room(service)))
    return _outcome(int(failure is None), failure.reason if failure else None)


REDIRECTED = "HTTP {}: redirected to {}; redirects are not followed: give the channel the address that answers itself"
UNKNOWN_URL = "Apprise does not understand its URL"


def _service(url: str, limit: float) -> "NotifyBase | None":
    """What Apprise makes of a URL, with our limits in the place of its own; None if nothing.

    Args:
        url: of the channel.
        limit: seconds that a connection, and then an answer, may take.
    """
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
    if service is None:
        return None
    # A single alert that is longer than a message may be.
    if service.overflow_mode == OverflowMode.UPSTREAM:
        service.overflow_mode = OverflowMode.SPLIT
    service.socket_connect_timeout = service.socket_read_timeout = limit
    # Whoever follows 301 or 302 asks with GET, without the message; any page that answers would count as "sent".
    service.redirects = False
    return service


def _room(service: "NotifyBase") -> int:
    """Characters that the body of a message may have."""
    return int(service.body_maxlen * FILL) - (0 if service.title_maxlen else 200)


def _send(service: "NotifyBase", message: Message) -> Failure | None:
    """Send one message; returns why it failed, None if it did not."""
    from apprise import Apprise
    from apprise.common import NotifyFormat, NotifyType

    kinds = {"info": NotifyType.INFO, "warning": NotifyType.WARNING, "error": NotifyType.FAILURE}
    log = _Log()
    logger = logging.getLogger("apprise")
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    receiver = Apprise(asset=service.asset)
    receiver.add(service)
    try:
        with _time_limit(service.socket_read_timeout + GRACE_SECONDS), _redirects_noted(log):
            accepted = receiver.notify(
                body=message.body,
                title=message.title,
                notify_type=kinds[message.severity],
                body_format=NotifyFormat.TEXT,
            )
    except Exception as error:  # of this message, which must not hold up the others; its text may hold a URL
        return Failure(f"the sender broke off: {type(error).__name__}", doubtful=True, for_good=True)
    finally:
        logger.removeHandler(log)
    return None if accepted else failure_in(log.lines, log.redirect)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Let the system end this process if what follows takes longer."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _redirects_noted(log: _Log) -> Iterator[None]:
    """Note where a service redirects to: Apprise logs the status alone."""
    from requests.sessions import SessionRedirectMixin

    target_of = SessionRedirectMixin.get_redirect_target

    def noted(session: "SessionRedirectMixin", response: "Response") -> str | None:
        target = target_of(session, response)
        if target is not None:
            log.redirect = REDIRECTED.format(response.status_code, _place(response.url, target))
        return target

    SessionRedirectMixin.get_redirect_target = noted  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        SessionRedirectMixin.get_redirect_target = target_of  # type: ignore[method-assign]


def _place(asked: str, target: str) -> str:
    """Where a redirect leads, without what may be secret in it: user, path and options."""
    try:
        there = urlsplit(urljoin(asked, target))
        place = f"{there.scheme}://{there.hostname}" + (f":{there.port}" if there.port else "")
    except ValueError:
        return "an address that is none"
    if not there.hostname or not re.fullmatch(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._:-]{1,253}", place):
        return "an address that is none"
    return f"{place}, {'the same' if there.path == urlsplit(asked).path else 'another'} path"


def failure_in(lines: Sequence[str], redirect: str = "") -> Failure:
    """Why a channel did not accept a message, in words of ours: a log line may hold a token, a reason may not.

    Args:
        lines: what Apprise logged of an attempt, as `_Log` keeps it.
        redirect: that the service redirected the message and where to, if it did.
    """
    text = "\n".join(lines)
    # A message in several parts or to several recipients: some of it has arrived.
    partly = any(line.startswith("Sent ") for line in lines)
    codes = [int(code) for code in re.findall(r"\berror=(\d{3})\b", text)]
    # A server that fails may have done its work before; a gateway does not know.
    doubtful = partly or any(code >= 500 for code in codes)
    if redirect:
        return Failure(redirect, doubtful, for_good=False)
    if codes:
        return Failure(f"HTTP {codes[0]}", doubtful, all(_refuses(code) for code in codes))
    if found := re.search(r"Socket Exception: .*?\((\d{3}), ", text):
        code = int(found[1])
        return Failure(f"SMTP {code}", partly, code >= 500 and code not in SMTP_SETTINGS)
    for sign, reason in NEVER_ARRIVED.items():
        if sign in text:
            return Failure(reason, partly, for_good=False)
    if re.search(r"timed? ?out", text, re.IGNORECASE):
        return Failure(NO_ANSWER, doubtful=True, for_good=False)
    if "IncompleteRead" in text:
        return Failure(CUT_ANSWER, doubtful=True, for_good=False)
    # Without an error of the network: Apprise or the service would not have this message.
    return Failure("not accepted", doubtful=True, for_good="Exception: " not in text)


def _refuses(code: int) -> bool:
    """Whether a status of HTTP means that the same message will never be accepted; 200 with a refusal inside does."""
    return 200 <= code < 300 or (400 <= code < 500 and code not in HTTP_SETTINGS)


if __name__ == "__main__":
    main()
