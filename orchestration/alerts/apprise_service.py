"""One message to one service, through Apprise. This is the only module that imports it.

A time limit ends the process, whatever a service does: what calls this is a process of its own (`alerts.send`).
"""

import logging
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from orchestration.alerts.failures import Failure, failure_in
from orchestration.alerts.messages import Message

if TYPE_CHECKING:
    from apprise import NotifyBase
    from requests import Response
    from requests.sessions import SessionRedirectMixin

# Room for what a channel's own notation adds to a plain text.
FILL = 0.8

# An error that a plug-in caught; anything else that it logs as a detail is no reason.
_EXCEPTION = re.compile(r"[A-Za-z/_ ]*Exception[a-z_ ]*: ")

# Apprise may wait for connection and answer this much longer than each of them may take.
GRACE_SECONDS = 5.0

REDIRECTED = "HTTP {}: redirected to {}; redirects are not followed: give the channel the address that answers itself"


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


def service_of(url: str, limit: float) -> "NotifyBase | None":
    """What Apprise makes of a URL, with our limits in the place of its own; None if nothing.

    `limit`: seconds that a connection, and then an answer, may take.
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


def room(service: "NotifyBase") -> int:
    """Characters that the body of a message may have."""
    return int(service.body_maxlen * FILL) - (0 if service.title_maxlen else 200)


def send_message(service: "NotifyBase", message: Message) -> Failure | None:
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
        return Failure(f"the sender broke off: {type(error).__name__}", maybe_delivered=True, for_good=True)
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
