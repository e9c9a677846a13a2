"""An S3 server on loopback, and the variables under which programs find it."""

import logging
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pyarrow.fs as pafs
from moto.server import ThreadedMotoServer

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
