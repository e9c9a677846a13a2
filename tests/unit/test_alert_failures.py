"""Why a message was not accepted, from what Apprise logs: what was maybe delivered, what is refused for good."""

import logging

import pytest

from orchestration.alerts.apprise_service import _Log, _place
from orchestration.alerts.failures import Failure, failure_in

HTTP = "Failed to send JSON POST notification: Something, error={}."
SOCKET = "Socket Exception: {}"


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        ([HTTP.format(400)], Failure("HTTP 400", maybe_delivered=False, for_good=True)),
        ([HTTP.format(413)], Failure("HTTP 413", maybe_delivered=False, for_good=True)),
        ([HTTP.format(401)], Failure("HTTP 401", maybe_delivered=False, for_good=False)),
        ([HTTP.format(429)], Failure("HTTP 429", maybe_delivered=False, for_good=False)),
        ([HTTP.format(302)], Failure("HTTP 302", maybe_delivered=False, for_good=False)),
        ([HTTP.format(500)], Failure("HTTP 500", maybe_delivered=True, for_good=False)),
        # Slack says 200 and means no.
        ([HTTP.format(200)], Failure("HTTP 200", maybe_delivered=False, for_good=True)),
        # One part or recipient of several took it.
        (["Sent JSON POST notification.", HTTP.format(400)], Failure("HTTP 400", maybe_delivered=True, for_good=True)),
        ([HTTP.format(400), HTTP.format(503)], Failure("HTTP 400", maybe_delivered=True, for_good=False)),
        ([SOCKET.format("(554, b'5.7.1 spam')")], Failure("SMTP 554", maybe_delivered=False, for_good=True)),
        ([SOCKET.format("(451, b'later')")], Failure("SMTP 451", maybe_delivered=False, for_good=False)),
        ([SOCKET.format("(535, b'who are you')")], Failure("SMTP 535", maybe_delivered=False, for_good=False)),
        (
            [SOCKET.format("{'me@example.org': (552, b'too large')}")],
            Failure("SMTP 552", maybe_delivered=False, for_good=True),
        ),
        ([SOCKET.format("[Errno 111] Connection refused")], Failure("connection refused", False, False)),
        ([SOCKET.format("NewConnectionError(no route to host)")], Failure("no connection", False, False)),
        (
            [SOCKET.format("ConnectTimeoutError(timed out. (connect timeout=4))")],
            Failure("no connection in time", maybe_delivered=False, for_good=False),
        ),
        ([SOCKET.format("Read timed out.")], Failure("no answer in time", maybe_delivered=True, for_good=False)),
        (
            [SOCKET.format("('Connection broken: IncompleteRead(2 bytes read, 98 more expected)',")],
            Failure("the answer broke off", maybe_delivered=True, for_good=False),
        ),
        (
            [SOCKET.format("Connection unexpectedly closed")],
            Failure("not accepted", maybe_delivered=True, for_good=False),
        ),
        (["There is nothing to send."], Failure("not accepted", maybe_delivered=True, for_good=True)),
    ],
)
def test_a_failure_is_named(lines: list[str], failure: Failure) -> None:
    assert failure_in(lines) == failure


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("https://hooks.example.org/t0k3n", "https://hooks.example.org, the same path"),
        ("https://user:pa55@hooks.example.org:8443/t0k3n/?key=1", "https://hooks.example.org:8443, another path"),
        ("/login", "http://a.example, another path"),
        ("//b.example/t0k3n#x", "http://b.example, the same path"),
        ("http://[::1]:80/", "http://::1:80, another path"),
        ("http://a:b:c/", "an address that is none"),
        ("http:// [red]/", "an address that is none"),
        ("mailto:me@example.org", "an address that is none"),
    ],
)
def test_where_a_redirect_leads_is_said_without_secrets(target: str, place: str) -> None:
    assert _place("http://user:pa55@a.example/t0k3n", target) == place


def test_a_redirect_waits_for_its_channel_to_be_set_right() -> None:
    """Whatever words a plug-in has for it."""
    for line in (HTTP.format(302), "The service did not like it."):
        assert failure_in([line], "HTTP 302: elsewhere") == Failure("HTTP 302: elsewhere", False, False)
    both = failure_in(["Sent JSON POST notification.", HTTP.format(302)], "HTTP 302: elsewhere")
    assert both == Failure("HTTP 302: elsewhere", maybe_delivered=True, for_good=False)


def test_the_words_of_a_message_are_no_reason() -> None:
    """Its details show what was sent, which may itself tell of refused connections and time-outs."""
    log = _Log()
    for level, text in (
        (logging.DEBUG, "JSON Payload: SIL: connection refused, error=404, Socket Exception: timed out"),
        (logging.DEBUG, "Response Details:\r\nerror=503, timeout"),
        (logging.WARNING, HTTP.format(400)),
        (logging.DEBUG, SOCKET.format("Read timed out.")),
    ):
        log.handle(logging.LogRecord("apprise", level, __file__, 1, text, None, None))
    assert log.lines == [HTTP.format(400), SOCKET.format("Read timed out.")]
