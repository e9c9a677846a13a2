"""The dashboard on loopback: Superset in an environment of its own, over the published version.

    make dashboard
    make dashboard-password
    python -m dashboard.serve [--port 8088] [--new-password]

The first start makes Superset's own database below `<home>/<source>/dashboard` and prints a password, once. What was
changed in the browser stays until the bundle changes; then charts and dashboard of the bundle are overwritten.
"""

import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dashboard.bundle import rendered
from orchestration.cli.main import readable_errors, require_free_port
from orchestration.home import Home
from orchestration.market.errors import OrewatchError
from orchestration.settings import PROJECT_ROOT, load_settings

HERE = Path(__file__).parent
ENVIRONMENT = PROJECT_ROOT / ".venv-dashboard"
PAGE = "superset/dashboard/orewatch/"
# Of Superset's own database; while it is being made it has another name, so that a killed start begins again.
DATABASE, UNFINISHED = "superset.db", "superset.db.unfinished"
START_SECONDS = 180


@dataclass(frozen=True)
class Superset:
    """Superset of one home.

    Attributes:
        home: whose published version is shown.
        simulated: whether every price in it is made up.
        environment: folder of the Python environment that Superset is installed in.
    """

    home: Home
    simulated: bool
    environment: Path = ENVIRONMENT

    @property
    def folder(self) -> Path:
        """Superset's own database, key and log; readable by its owner only."""
        return self.home.root / "dashboard"

    @property
    def log(self) -> Path:
        """What Superset says."""
        return self.folder / "superset.log"

    def variables(self, database: str = DATABASE, **more: str) -> dict[str, str]:
        """The environment variables of a process of Superset."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SUPERSET_", "PYTHON"))},
            "SUPERSET_HOME": str(self.folder),
            "SUPERSET_CONFIG_PATH": str(HERE / "superset_config.py"),
            "SUPERSET_SECRET_KEY": self._key(),
            "OREWATCH_DASHBOARD_DATABASE": database,
            "OREWATCH_PUBLISHED": str(self.home.published),
            "SCARF_ANALYTICS": "false",
            **more,
        }

    def _key(self) -> str:
        """What signs sessions: made once, or every restart would log everybody out."""
        path = self.folder / "secret_key"
        if not path.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(42), "ascii")
            fresh.rename(path)
        return path.read_text("ascii")

    def _bootstrap(self, *arguments: str, database: str = DATABASE, **more: str) -> None:
        command = [str(self.environment / "bin" / "python"), str(HERE / "bootstrap.py"), *arguments]
        variables = self.variables(database, **more)
        with self.log.open("ab") as log:
            done = subprocess.run(command, env=variables, stdout=log, stderr=log, cwd=self.folder)  # noqa: S603
        if done.returncode:
            raise OrewatchError(f"Superset failed at `{arguments[0]}`; the end of {self.log}:\n{last_lines(self.log)}")

    def create(self) -> str | None:
        """Make Superset's database if there is none; returns the password of `admin`, or None if there was one."""
        self._key()
        if (self.folder / DATABASE).exists():
            return None
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        word = secrets.token_urlsafe(12)
        self._bootstrap("create", database=UNFINISHED, SUPERSET_ADMIN_PASSWORD=word)
        (self.folder / UNFINISHED).rename(self.folder / DATABASE)
        return word

    def new_password(self) -> str:
        """Give `admin` another password; returns it."""
        word = secrets.token_urlsafe(12)
        self._bootstrap("password", SUPERSET_ADMIN_PASSWORD=word)
        return word

    def bring_in(self, files: dict[str, str]) -> bool:
        """Import a bundle unless it is the one that was imported last; returns whether it was."""
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        record = self.folder / "bundle.sha256"
        if record.exists() and record.read_text("ascii") == digest:
            return False
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(content, "utf-8")
            self._bootstrap("import", folder)
        record.write_text(digest, "ascii")
        return True

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """Serve on 127.0.0.1; the process, once it answers.

        Raises:
            OrewatchError: it ended, or did not answer in time.
        """
        command = [str(self.environment / "bin" / "gunicorn"), "--workers", "1", "--threads", "8", "--timeout", "120"]
        command += ["--bind", f"127.0.0.1:{port}", "superset.app:create_app()"]
        with self.log.open("ab") as log:
            server = subprocess.Popen(command, env=self.variables(), stdout=log, stderr=log, cwd=self.folder)  # noqa: S603
        end = time.monotonic() + START_SECONDS
        try:
            while not _answers(port):
                if server.poll() is not None:
                    raise OrewatchError(f"Superset ended at once; the end of {self.log}:\n{last_lines(self.log)}")
                if time.monotonic() > end:
                    raise OrewatchError(f"Superset does not answer on port {port}; see {self.log}")
                time.sleep(0.2)
        except BaseException:
            stop(server)
            raise
        return server


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and wait for it."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def last_lines(path: Path, count: int = 8) -> str:
    """The end of a log."""
    return "\n".join(path.read_text("utf-8", errors="replace").splitlines()[-count:])


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def prepared(superset: Superset, say: Callable[[str], None], new_password: bool = False) -> None:
    """Make what is missing: database, password, bundle.

    Raises:
        OrewatchError: Superset is not installed, nothing is published, or Superset failed; the line says what to do.
    """
    if not (superset.environment / "bin" / "gunicorn").exists():
        raise OrewatchError(f"Superset is not installed in {superset.environment}: run `make dashboard`")
    files = rendered(superset.home, superset.simulated)
    if shutil.disk_usage(superset.home.root).free < 50 * 2**20:
        raise OrewatchError(f"{superset.home.root.parent}: less than 50 MB are free; Superset's database needs them")
    if not (superset.folder / DATABASE).exists():
        say("Preparing Superset's own database (a minute, the first time only)")
    word = superset.create() or (superset.new_password() if new_password else None)
    if word:
        say(
            f"Log in as [bold]admin[/] with the password [bold]{word}[/] (shown once; another: make dashboard-password)"
        )
    if superset.bring_in(files):
        say("The dashboard of this version of Orewatch is in place")


def main(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 8088,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="Give the user admin another password, and end.")
    ] = False,
) -> None:
    """Show the published tables as a dashboard on 127.0.0.1, until Ctrl-C."""
    console = Console(soft_wrap=True, highlight=False)
    with readable_errors():
        settings = load_settings()
        superset = Superset(settings.paths, settings.simulated)
        if new_password:
            prepared(superset, console.print, new_password)
            return
        require_free_port(port, "make dashboard PORT=NUMBER")
        prepared(superset, console.print)
        server = superset.start(port)
        # Also where a shell has started it in the background, with SIGINT ignored.
        for stopping in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stopping, signal.default_int_handler)
        console.print(f"Dashboard: http://127.0.0.1:{port}/{PAGE} (Ctrl-C ends it)")
        try:
            code = server.wait()
        except KeyboardInterrupt:
            stop(server)
            return
        raise OrewatchError(f"Superset ended with code {code}; the end of {superset.log}:\n{last_lines(superset.log)}")


if __name__ == "__main__":
    typer.run(main)
