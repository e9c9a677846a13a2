"""dbt itself, many times on one home: it loads and reads the models once, and every command is a fork of that.

python -m tests.forked_dbt      (environment and folders of the home; a command a line, an exit code for each)
"""

import os
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.transform.dbt import DbtRunner, prepare_target


class ForkedDbt(ExitStack):
    """dbt on the models of a home.

    Args:
        settings: name the home.
        target: where dbt keeps what it compiled, ran and logged.
    """

    def __init__(self, settings: Settings, target: Path) -> None:
        super().__init__()
        self.settings, self.target = settings, target

    def __enter__(self) -> Self:
        prepare_target(self.target)
        self._process = self.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.forked_dbt"],
                env=DbtRunner(self.target, self.settings.dbt_environment()).environment,
                cwd=PROJECT_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self.callback(self._process.kill)
        return self

    def run(self, *arguments: str) -> None:
        """Run a command of dbt to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(shlex.join(arguments) + "\n")
        self._process.stdin.flush()
        code = self._process.stdout.readline().strip()
        assert code == "0", (arguments, code, (self.target / "dbt.log").read_text("utf-8")[-3000:])


def main() -> None:
    """Read the models, then run what is asked for, one after the other, until nobody asks any more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    from dbt.cli.main import dbtRunner

    manifest = dbtRunner().invoke(["--quiet", "--no-write-json", "parse"]).result
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            done = dbtRunner(manifest=manifest).invoke(shlex.split(line))
            os._exit(0 if done.success else 1)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    main()
