"""A PostgreSQL server of the test's own: loopback only, in a folder that goes away, stopped by its process id.

PostgreSQL refuses to run as root; then it runs as the user that Debian's package creates.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.receivers import free_port

START_SECONDS = 180.0
INITDB = ["-U", "owner", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"]
# With every sign that a URL has to escape and SQL has to quote.
PASSWORD = "ge%heim'sä@b:c"  # noqa: S105
PASSWORD_IN_URL = "ge%25heim%27s%C3%A4%40b%3Ac"  # noqa: S105


def binaries() -> Path | None:
    """The folder of `postgres` and `initdb`; None if they are not installed."""
    places = [Path(found).resolve().parent for found in (shutil.which("postgres"), shutil.which("initdb")) if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((p for p in places if (p / "postgres").exists() and (p / "initdb").exists()), None)


@dataclass
class PostgresServer:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
    """

    port: int

    def url(self, role: str = "owner", password: str = PASSWORD_IN_URL, database: str = "postgres") -> str:
        """How a role connects; every role has the same password."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def connect(self, role: str = "owner", database: str = "postgres") -> Any:
        """A connection in autocommit."""
        import adbc_driver_postgresql.dbapi as postgres

        return postgres.connect(self.url(role, database=database), autocommit=True)

    def rows(self, sql: str, role: str = "owner", database: str = "postgres") -> list[tuple]:
        """The rows of one statement; none where it has none."""
        with self.connect(role, database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def create_role(self, role: str) -> None:
        """A role that may log in and nothing else."""
        quoted = PASSWORD.replace("'", "''")
        self.rows(f"create role {role} login password '{quoted}'")


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server and stop it; skips the test where PostgreSQL is not installed."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="orewatch-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD, "utf-8")
        if user is not None:
            for path in (folder, folder / "password"):
                shutil.chown(path, user.pw_uid, user.pw_gid)
        as_user: dict[str, Any] = (
            {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        )
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", *INITDB, f"--pwfile={folder / 'password'}"],
            check=True,
            capture_output=True,
            cwd=folder,
            timeout=START_SECONDS,
            **as_user,
        )
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        process = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", *(f"--{k}={v}" for k, v in settings.items())],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("wb"),
            **as_user,
        )
        try:
            _wait_until_it_listens(process, port, folder / "log")
            yield PostgresServer(port)
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: sessions are ended
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> pwd.struct_passwd | None:
    """Whom the server runs as; None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def _wait_until_it_listens(process: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {log.read_text('utf-8', 'replace')[-500:]}")
        if b"ready to accept connections" in log.read_bytes():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        time.sleep(0.1)
    raise RuntimeError("PostgreSQL did not start in time")
