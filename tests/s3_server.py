"""An S3 server on loopback, and the variables under which programs find it."""

import logging
import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pyarrow.fs as pafs
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

# A line for every request says nothing about a failure.
logging.getLogger("werkzeug").setLevel(logging.ERROR)

KEY, SECRET = "analyst", "geheim-s3"
BUCKET = "market"


class S3Server:
    """A server that keeps what it holds while it is down."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def files(self) -> pafs.S3FileSystem:
        """A client of its own."""
        return pafs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=f"127.0.0.1:{self.port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def stop(self) -> None:
        """Nobody answers any more."""
        self._server.stop()

    def start_again(self) -> None:
        """At the same address."""
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server with an empty bucket, which this process finds in its environment."""
    server = S3Server()
    try:
        # What an earlier server held is still in this process.
        reset = urllib.request.Request(f"http://127.0.0.1:{server.port}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=60).close()  # noqa: S310  (on loopback)
        server.files().create_dir(BUCKET)
        with patch.dict(os.environ, server.environment):
            yield server
    finally:
        server.stop()


@contextmanager
def below_a_path(prefix: str) -> Iterator[list[str]]:
    """The same store at another address, below a path only; this process finds it there.

    Yields the paths that were asked for.
    """
    asked: list[str] = []
    store = DomainDispatcherApplication(create_backend_app)

    def gateway(environ: dict[str, Any], start_response: Any) -> Any:
        asked.append(environ["PATH_INFO"])
        if not environ["PATH_INFO"].startswith(f"{prefix}/"):
            start_response("404 Not Found", [])
            return []
        for name in ("PATH_INFO", "RAW_URI", "REQUEST_URI"):
            environ[name] = environ.get(name, "").replace(prefix, "", 1)
        return store(environ, start_response)

    server = make_server("127.0.0.1", 0, gateway, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with patch.dict(os.environ, {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}{prefix}/"}):
            yield asked
    finally:
        server.shutdown()
        server.server_close()
