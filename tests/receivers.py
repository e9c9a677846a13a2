"""Receivers of alerts on the loopback interface: a web hook and a mail server that keep what they are sent."""

import contextlib
import email
import email.policy
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Seconds that a server may take to start on a busy machine.
PATIENCE = 120.0

# Sockets that keep the ports of `free_port`.
_holders: list[socket.socket] = []


class Webhook:
    """An HTTP server that takes Apprise's json:// messages.

    Attributes:
        status: what it answers.
        delay: seconds between having taken a message and saying so.
        drips: seconds between two bytes of the body of its answer, which never ends; 0 for an answer without a body.
        cuts: whether its answer ends before its end.
        location: where it redirects to, if its answer is a redirect.
        refuses: event ids; a message that names one of them is answered with 400.
        takes_and_fails: whether it keeps a message all the same that it answers with an error.
        messages: what it accepted.
    """

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.delay = 0.0
        self.drips = 0.0
        self.cuts = False
        self.location = ""
        self.refuses: set[str] = set()
        self.takes_and_fails = False
        self.messages: list[dict[str, Any]] = []
        self.requests = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.requests += 1
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = 400 if hook.refuses.intersection(ids_of(message["message"])) else hook.status
                if status == 200 or hook.takes_and_fails:
                    hook.messages.append(message)
                with contextlib.suppress(OSError):  # the sender may be gone
                    time.sleep(hook.delay)
                    self.send_response(status)
                    if hook.location:
                        self.send_header("Location", hook.location)
                    if hook.drips or hook.cuts:
                        self.send_header("Content-Length", "100")
                    self.end_headers()
                    while hook.drips:
                        self.wfile.write(b"x")
                        time.sleep(hook.drips)

            def do_GET(self) -> None:
                """Somebody follows a redirect, and takes this page for an answer."""
                hook.requests += 1
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> "Webhook":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its Apprise URL, with a password and a token that must not be seen anywhere."""
        return f"json://desk:pa55w0rd@127.0.0.1:{self._server.server_port}/t0k3n"

    @property
    def ids(self) -> list[str]:
        """Event ids that it was sent, in order, repeats included."""
        return [event_id for message in self.messages for event_id in ids_of(message["message"])]


def ids_of(body: str) -> list[str]:
    """Event ids that a message names."""
    return re.findall(r"(?:^ +|\[)id ([^\]\n]+)", body, re.MULTILINE)


class Mailbox:
    """What a mail server took."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.mails: list[email.message.EmailMessage] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"


@contextlib.contextmanager
def mail_server() -> Iterator[Mailbox]:
    from aiosmtpd.controller import Controller

    mailbox = Mailbox(free_port())
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, ready_timeout=PATIENCE)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def free_port() -> int:
    """A port on which nobody listens, and which the system gives to nobody else until this process ends.

    Its socket stays bound, but does not listen: whoever connects is refused. A server may bind the port all the same,
    because it sets SO_REUSEADDR too, as servers do.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _holders.append(holder)
    return holder.getsockname()[1]
