"""The server: an HTTP CONNECT proxy for Yahoo's hosts that answers in their place, on 127.0.0.1 only.

It terminates TLS itself behind the CONNECT, so nothing can pass through it to anywhere else.
"""

import contextlib
import json
import os
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
import time
from dataclasses import dataclass
from html import escape
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tests.yahoo_loopback.certificates import server_context
from tests.yahoo_loopback.faults import Fault, Faults
from tests.yahoo_loopback.market import Listing, Market, meta, phantom

CHART_PATH = "/v8/finance/chart/"
SUMMARY_PATH = "/v10/finance/quoteSummary/"
HTML = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
HANG_SECONDS = 600.0  # longer than anybody waits
SECRETS = ("loopback-cookie", "loopback-crumb")


@dataclass(frozen=True)
class Request:
    """One request as it arrived.

    Attributes:
        endpoint: cookie, consent, crumb, timezone, chart, summary or other.
        at: seconds of the monotonic clock.
    """

    endpoint: str
    host: str
    path: str
    symbol: str | None
    query: dict[str, str]
    fault: Fault | None
    at: float


@dataclass(frozen=True)
class Reply:
    """Status, content type and body of an answer, and where it sends the client."""

    status: int
    body: bytes
    kind: str = "application/json;charset=utf-8"
    location: str | None = None

    @classmethod
    def json(cls, status: int, body: object) -> "Reply":
        return cls(status, json.dumps(body).encode())

    @classmethod
    def html(cls, status: int, title: str) -> "Reply":
        return cls(status, HTML.format(title).encode(), "text/html")


class YahooLoopback:
    """Yahoo, as long as the `with` block lasts.

    Attributes:
        market: what there is to know; may be changed at any time.
        faults: what goes wrong.
        log: every request, in order of arrival.
        delay_seconds: how long every answer takes.
        let_go: once it is set, what hangs is answered after all.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self.faults = Faults()
        self.log: list[Request] = []
        self.delay_seconds = 0.0
        self.let_go = threading.Event()
        self.stopping = threading.Event()
        self._recorded: dict[str, Reply] = {}
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="yahoo-loopback-")))
        self.context, self.authority_file = server_context(folder)
        self._server = self._stack.enter_context(_Server(("127.0.0.1", 0), _Proxy))
        self._server.yahoo = self
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._server.shutdown)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.let_go.set()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to meet this server where it looks for Yahoo."""
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "",
            "no_proxy": "",
            **dict.fromkeys(names, os.fspath(self.authority_file)),
        }

    def accepts(self, host: str) -> bool:
        """Whether the proxy leads there."""
        return host == "yahoo.com" or host.endswith(".yahoo.com")

    def requests(self, endpoint: str = "chart", symbol: str | None = None) -> list[Request]:
        """The requests so far for an endpoint, of one symbol or of all."""
        return [r for r in self.log if r.endpoint == endpoint and symbol in (None, r.symbol)]

    def replay(self, file: Path, symbol: str | None = None) -> str:
        """Answer every chart of a symbol with a recorded reply; returns the symbol.

        A record is JSON: either `request.url`, which names the symbol, with `response.status` and
        `response.bodyJson`, or `status` with `body` or `body_text`.
        """
        record = json.loads(file.read_text())
        response = record.get("response", record)
        if symbol is None:
            symbol = unquote(urlsplit(record["request"]["url"]).path.removeprefix(CHART_PATH))
        if "body_text" in response:
            self._recorded[symbol] = Reply(response["status"], response["body_text"].encode(), "text/plain")
        else:
            body = response.get("bodyJson", response.get("body"))
            self._recorded[symbol] = Reply.json(response["status"], body)
        return symbol

    def answer(self, request: Request) -> Reply:
        """The healthy answer."""
        if request.endpoint == "cookie":
            return Reply(404, b"", "text/html")  # as the genuine one; the cookie is in the headers
        if request.endpoint == "consent" and "done" in request.query:
            return self._consent(request)
        if request.endpoint == "consent":
            return Reply.html(200, "No consent needed")
        if request.endpoint == "crumb":
            return Reply(200, SECRETS[1].encode(), "text/plain")
        symbol = request.symbol or ""
        if request.endpoint in ("chart", "timezone"):
            if symbol in self._recorded:
                return self._recorded[symbol]
            if symbol in self.market.listings:
                return Reply.json(200, self.market.chart(symbol, request.query))
            return _chart_error(404, "Not Found", "No data found, symbol may be delisted")
        if request.endpoint == "summary":
            error = {"code": "Not Found", "description": f"Quote not found for symbol: {symbol}"}
            return Reply.json(404, {"quoteSummary": {"result": None, "error": error}})
        return Reply.html(404, "Not found")

    def _consent(self, request: Request) -> Reply:
        """The form, and once it has been sent, the way back."""
        done = request.query["done"]
        if request.query.get("agreed"):
            return Reply(302, b"", location=done)
        action = f"https://consent.yahoo.com/v2/collectConsent?agreed=1&{urlencode({'done': done})}"
        fields = '<input type="hidden" name="csrfToken" value="x"><input type="checkbox" name="agree" value="y">'
        return Reply(200, f'<form method="post" action="{escape(action)}">{fields}</form>'.encode(), "text/html")

    def broken_answer(self, request: Request, fault: Fault) -> Reply:
        """The answer of a fault that has one."""
        symbol = request.symbol or ""
        listing = self.market.listings.get(symbol, Listing(symbol, {}))
        now = self.market.clock()
        facts = meta(listing, listing.rows(now), now)
        shell: dict[str, Any] = {"meta": facts, "indicators": {"quote": [{}], "adjclose": [{}]}}
        unauthorised = {"code": "Unauthorized", "description": "Invalid Crumb"}
        return {
            Fault.RATE_LIMITED: lambda: Reply(429, b"Edge: Too Many Requests", "text/plain"),
            Fault.NOT_FOUND: lambda: _chart_error(404, "Not Found", "No data found, symbol may be delisted"),
            Fault.NO_DATA_IN_RANGE: lambda: _chart_error(
                400, "Bad Request", "Data doesn't exist for startDate = 1, endDate = 2"
            ),
            Fault.UNAUTHORISED: lambda: Reply.json(401, {"finance": {"result": None, "error": unauthorised}}),
            Fault.SERVER_ERROR: lambda: Reply.html(500, "Internal Server Error"),
            Fault.UNAVAILABLE: lambda: Reply.html(200, "Will be right back"),
            Fault.PHANTOM_SHELL: lambda: Reply.json(200, phantom(symbol, now)),
            Fault.EMPTY_SHELL: lambda: Reply.json(200, {"chart": {"result": [shell], "error": None}}),
            Fault.NULL_RESULT: lambda: Reply.json(200, {"chart": {"result": None, "error": None}}),
            Fault.CONSENT: lambda: Reply(
                302,
                b"",
                location="https://consent.yahoo.com/v2/collectConsent?"
                + urlencode({"done": f"https://{request.host}{request.path}"}),
            ),
            Fault.NOT_JSON: lambda: Reply.html(200, "Yahoo"),
        }[fault]()


def _chart_error(status: int, code: str, description: str) -> Reply:
    error = {"code": code, "description": description}
    return Reply.json(status, {"chart": {"result": None, "error": error}})


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    yahoo: YahooLoopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests; anything else is worth a traceback."""
        import sys

        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Proxy(socketserver.BaseRequestHandler):
    """Accepts CONNECT to a host of Yahoo and is that host from then on."""

    server: _Server

    def handle(self) -> None:
        yahoo = self.server.yahoo
        head = b""
        while b"\r\n\r\n" not in head:
            received = self.request.recv(4096)
            if not received:
                return
            head += received
        method, target, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        host, _, port = target.partition(":")
        if method != "CONNECT" or port != "443" or not yahoo.accepts(host):
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with yahoo.context.wrap_socket(self.request, server_side=True) as secure:
            yahoo._connections.add(secure)
            try:
                _Host(secure, self.client_address, self.server)
            finally:
                yahoo._connections.discard(secure)


class _Host(BaseHTTPRequestHandler):
    """One connection to a host of Yahoo."""

    protocol_version = "HTTP/1.1"
    server: _Server
    connection: ssl.SSLSocket

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The log of requests says it all."""

    def do_GET(self) -> None:
        yahoo = self.server.yahoo
        request = self._read()
        yahoo.log.append(request)
        yahoo.stopping.wait(yahoo.delay_seconds)
        if request.fault is Fault.HANG:
            if yahoo.let_go.wait(HANG_SECONDS) and not yahoo.stopping.is_set():
                self._send(yahoo.answer(request))
            else:
                self.close_connection = True
        elif request.fault is Fault.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            self.close_connection = True
        elif request.fault in (Fault.TRUNCATED, Fault.BROKEN_OFF):
            whole = yahoo.answer(request)
            half = Reply(whole.status, whole.body[: len(whole.body) // 2], whole.kind)
            self._send(half, len(half.body) if request.fault is Fault.TRUNCATED else len(whole.body))
            if request.fault is Fault.BROKEN_OFF:
                self.close_connection = True
                self.connection.settimeout(1)
                with contextlib.suppress(OSError):
                    self.connection.unwrap()
        elif request.fault is not None:
            self._send(yahoo.broken_answer(request, request.fault))
        else:
            self._send(yahoo.answer(request))

    def do_POST(self) -> None:
        self.do_GET()

    def _read(self) -> Request:
        host = self.headers.get("Host", "").partition(":")[0]
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        symbol = None
        endpoint = "other"
        for prefix in (CHART_PATH, SUMMARY_PATH):
            if parts.path.startswith(prefix):
                symbol = unquote(parts.path.removeprefix(prefix))
                endpoint = "chart" if "period1" in query else "timezone"
                endpoint = "summary" if prefix == SUMMARY_PATH else endpoint
        if host == "fc.yahoo.com":
            endpoint = "cookie"
        elif host in ("guce.yahoo.com", "consent.yahoo.com"):
            endpoint = "consent"
        elif parts.path == "/v1/test/getcrumb":
            endpoint = "crumb"
        fault = self.server.yahoo.faults.take(endpoint, symbol)
        return Request(endpoint, host, self.path, symbol, query, fault, time.monotonic())

    def _send(self, reply: Reply, length: int | None = None) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body) if length is None else length))
        self.send_header("Set-Cookie", f"A3={SECRETS[0]}; Domain=.yahoo.com; Path=/; Max-Age=86400; Secure")
        if reply.location is not None:
            self.send_header("Location", reply.location)
        self.end_headers()
        self.wfile.write(reply.body)
