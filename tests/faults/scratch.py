"""The copy of the repository that faults are put into: never the checkout itself.

It is a git worktree of one revision in `.faults/copy`. `PYTHONPATH` lets its `orchestration` win over the one that is
installed in the environment, which is the checkout's; `found_elsewhere` asks whether it really does.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.fault import Fault

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / ".faults"

# Which file a process and a command of the environment import; far from the copy, whose folder would be found anyway.
IMPORTED = """
import importlib.metadata, inspect, orchestration
(command,) = importlib.metadata.entry_points(group="console_scripts", name="orewatch")
print(orchestration.__file__)
print(inspect.getfile(__import__(command.module, fromlist=["app"])))
"""
# What a process gets to end by itself, and to stop what it has started.
GRACE_SECONDS = 60


class UnclearError(Exception):
    """It cannot be said whether the tests find a fault."""


@dataclass(frozen=True)
class Ran:
    """How a process ended; no code if its time was up."""

    code: int | None
    said: str


@dataclass(frozen=True)
class Copy:
    """The copy in a folder, at a revision."""

    root: Path
    revision: str

    @classmethod
    def at(cls, revision: str) -> "Copy":
        """The copy as that revision has it, whatever an earlier run has left in it."""
        copy = cls(FOLDER / "copy", _git(CHECKOUT, "rev-parse", "--verify", f"{revision}^{{commit}}").strip())
        FOLDER.mkdir(exist_ok=True)
        if not (copy.root / ".git").exists():
            _git(CHECKOUT, "worktree", "prune")
            _git(CHECKOUT, "worktree", "add", "--force", "--quiet", "--detach", str(copy.root), copy.revision)
        _git(copy.root, "checkout", "--quiet", "--force", "--detach", copy.revision)
        _git(copy.root, "clean", "--quiet", "--force", "-d")
        for environment in (".venv", ".venv-dashboard"):
            if (CHECKOUT / environment).exists() and not (copy.root / environment).exists():
                (copy.root / environment).symlink_to(CHECKOUT / environment, target_is_directory=True)
        prepared = CHECKOUT / "dbt_project" / "target"
        if prepared.exists() and not (copy.root / "dbt_project" / "target").exists():
            # With what dbt has parsed already it parses what differs.
            shutil.copytree(prepared, copy.root / "dbt_project" / "target")
        return copy

    def files(self) -> list[str]:
        """Every file of the revision."""
        return _git(self.root, "ls-files").splitlines()

    def read(self, path: str) -> str:
        """The text of one of them."""
        return (self.root / path).read_bytes().decode("utf-8")

    def found_elsewhere(self) -> list[str]:
        """Modules of the pipeline that a process of the copy would import from elsewhere; none, if all is well."""
        said = self.run([self.program("python"), "-c", IMPORTED], 60, cwd=Path("/")).said.split()
        return [path for path in said if not Path(path).is_relative_to(self.root)] if len(said) == 2 else said

    @contextlib.contextmanager
    def with_fault(self, fault: Fault) -> Iterator[None]:
        """The copy with a fault in it, for as long as the block lasts."""
        path = self.root / fault.path
        sound = path.read_bytes()
        try:
            path.write_bytes(fault.put_into(sound.decode("utf-8")).encode("utf-8"))
            self._forget_compiled(path)
            yield
        finally:
            path.write_bytes(sound)
            self._forget_compiled(path)

    def dbt_reads_it(self) -> Ran:
        """Make the manifest again; the tests use it as it is."""
        project = self.root / "dbt_project"
        ran = self.run([self.program("python"), "-m", "orchestration.transform.dbt", "--quiet", "parse"], 600)
        if ran.code == 0:
            (project / "target" / "manifest.json").touch()
        return ran

    def program(self, name: str) -> str:
        """A program of the environment, as the copy finds it."""
        return str(self.root / ".venv" / "bin" / name)

    def run(self, arguments: list[str], seconds: float, cwd: Path | None = None) -> Ran:
        """Run a program in the copy; what it has started ends with it.

        Raises:
            UnclearError: somebody else has ended it.
        """
        foreign = ("OREWATCH_", "PYTEST_", "DAGSTER_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        # Not through a pipe: what outlives pytest would hold it open.
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                arguments,
                cwd=cwd or self.root,
                env={**environment, "PYTHONPATH": str(self.root)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = None
            with contextlib.suppress(subprocess.TimeoutExpired), _ended_at_last(process):
                code = process.wait(seconds)
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
        if code is not None and code < 0:
            raise UnclearError(f"{Path(arguments[0]).name} was ended by signal {-code}")
        return Ran(code, said)

    @staticmethod
    def _forget_compiled(path: Path) -> None:
        # Python takes it for that of the text if size and second of the change are the same.
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


@contextlib.contextmanager
def _ended_at_last(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Interrupt a process that has not ended, as a person would; then kill what is left of its group."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout
