"""How dbt is run here, by whomever: `DbtRunner`, one command and one environment.

What an operator has set for a dbt of his own (`DBT_TARGET`, `DBT_RESOURCE_TYPES`, ...) would change what runs, or what
is said of it. So the environment of dbt is made from a list of names, and the folder of its profile is ours.

A fifth of what a `dbt build` of this project takes goes into loading dbt and reading the models. Neither needs the
prices, so a process can do that on another core while they are fetched. It waits on its standard input: one line, with
further arguments or empty, and it builds; none and it ends, so it never outlives who started it. It opens no database
before that line.

    python -m orchestration.transform.dbt ARGUMENTS...            a dbt command, now: what the Makefile calls
    python -m orchestration.transform.dbt --ready ARGUMENTS...    the process that waits, and what it waits with
"""

import gc
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestration.instance.loading import loading
from orchestration.settings import DBT_PROJECT_DIR, PROJECT_ROOT
from orchestration.transform.fingerprint import project_files
from orchestration.transform.spark import end_without_workers

# Arguments of the production build: models and data tests; unit tests belong to development and CI.
BUILD = ("build", "--exclude-resource-type", "unit_test")
# And of one that keeps no row of an earlier build.
FULL_REFRESH = ("--full-refresh",)

PARTIAL_PARSE = "partial_parse.msgpack"

READY = "--ready"

# Of the environment, what dbt is handed on: what a process needs to run, Python's and Java's own ways of finding their
# things, and what the project reads where nobody has settings for it. Nothing of DBT_*, and no secret: building tables
# asks nobody anything.
HANDED_ON = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "TMP", "TEMP"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "OMP_NUM_THREADS"),
        *("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUTF8"),
        *("JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"),
        *("OREWATCH_SOURCE", "OREWATCH_ROOT", "OREWATCH_WAREHOUSE", "OREWATCH_MEMORY_GB"),
        *("OREWATCH_ENGINE", "OREWATCH_SPARK", "OREWATCH_SPARK_DRIVER"),
    }
)
HANDED_ON_PREFIXES = ("LC_", "MALLOC_", "JAVA_", "SPARK_", "PYSPARK_", "HADOOP_")


class DbtRunner:
    """dbt on one home: any command, and a build that can begin at once. What is prepared serves one build.

    Args:
        target: the folder in which dbt keeps what it compiled, ran and logged.
        variables: what the project reads of the home that is built, as `Settings.dbt_environment` says it; without
            them the project's own defaults count.
        prepare: begin to load dbt and the models now, rather than when the build is asked for.
    """

    def __init__(self, target: Path, variables: Mapping[str, str] | None = None, prepare: bool = False) -> None:
        self.target, self.variables = target, dict(variables or {})
        self._prepared: subprocess.Popen[bytes] | None = None
        self._read = ""
        if prepare:
            self._prepare()

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of dbt: what `HANDED_ON` names, and what we say."""
        given = {n: v for n, v in os.environ.items() if n in HANDED_ON or n.startswith(HANDED_ON_PREFIXES)}
        return {
            **given,
            **self.variables,
            "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
            "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(self.target),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DO_NOT_TRACK": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, *arguments: str, **how: Any) -> "subprocess.Popen[Any]":
        """Begin a command of dbt.

        Args:
            arguments: the command.
            how: what `subprocess.Popen` takes.
        """
        prepare_target(self.target)
        command = [str(Path(sys.executable).parent / "dbt"), *arguments]
        return subprocess.Popen(command, env=self.environment, **how)  # noqa: S603

    def run(self, *arguments: str, **how: Any) -> "subprocess.CompletedProcess[Any]":
        """A command of dbt from beginning to end; what it prints is caught if `how` asks for pipes."""
        with self.start(*arguments, **how) as process:
            out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def build(self, arguments: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
        """Begin to build; the process writes dbt's events to its standard output, one JSON object a line.

        Args:
            arguments: of dbt beyond `BUILD`: `FULL_REFRESH`, or a selection.
        """
        if self._prepared is None or self._prepared.poll() is not None or self._read != project_digest():
            self.close()
            self._prepare()
        process, self._prepared = self._prepared, None
        assert process is not None and process.stdin is not None  # noqa: S101, PT018  (`_prepare` made them)
        with suppress(BrokenPipeError):  # it has died; its exit code and what it said will tell
            process.stdin.write(shlex.join(arguments).encode() + b"\n")
            process.stdin.close()
        process.stdin = None
        return process

    def close(self) -> None:
        """End a process that was prepared for nothing."""
        if self._prepared is not None:
            self._prepared.kill()
            self._prepared.communicate()
            self._prepared = None

    def _prepare(self) -> None:
        # Before dbt reads a file of it: if one is changed later, what it has read is of no use.
        self._read = project_digest()
        prepare_target(self.target)
        self._prepared = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "orchestration.transform.dbt", READY, *BUILD],
            # Events in the form and with the mark that dagster-dbt would ask for.
            env={**self.environment, "DBT_LOG_FORMAT": "json", "DAGSTER_DBT_CLI": "true"},
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


def prepare_target(target: Path) -> None:
    """A folder for dbt to work in, with what `make manifest` has read: it saves dbt the reading of every model."""
    target.mkdir(parents=True, exist_ok=True)
    parsed = DBT_PROJECT_DIR / "target" / PARTIAL_PARSE
    if parsed.is_file() and not (target / PARTIAL_PARSE).exists():
        shutil.copy2(parsed, target / PARTIAL_PARSE)


def project_digest() -> str:
    """Changes with any file of the dbt project, by its name, size and time of change."""
    digest = hashlib.sha256()
    for path in project_files(DBT_PROJECT_DIR):
        facts = path.stat()
        digest.update(f"{path}:{facts.st_size}:{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Run a command of dbt; or wait with one, see above. Returns dbt's exit code."""
    if arguments[:1] == [READY]:
        return _wait_with(arguments[1:])
    return DbtRunner(DBT_PROJECT_DIR / "target").run(*arguments).returncode


def _wait_with(arguments: Sequence[str]) -> int:
    """Read the models, wait for a line, run; returns dbt's exit code."""
    with loading():
        # What the Python models need takes most of a second.
        import statsmodels.stats.multitest
        import statsmodels.stats.proportion  # noqa: F401
        from dbt.cli.main import dbtRunner
        from dbt.contracts.graph.manifest import Manifest

        import orchestration.evidence.tables  # noqa: F401

        # In silence: what is wrong with the models, the command itself will say, as it reads them again.
        read = dbtRunner().invoke(["--log-level", "none", "--log-level-file", "none", "--no-write-json", "parse"])
    gc.freeze()  # nor look for it among these ever after
    line = sys.stdin.readline()
    if not line:
        return 0
    manifest = read.result if isinstance(read.result, Manifest) else None
    if os.environ.get("OREWATCH_ENGINE") == "spark":
        end_without_workers(os.environ["OREWATCH_SPARK"], os.environ["OREWATCH_MEMORY_GB"])
    return 0 if dbtRunner(manifest=manifest).invoke([*arguments, *shlex.split(line)]).success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
