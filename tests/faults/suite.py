"""The tests, asked about one fault: those nearest to it first, then all of `make test`, then the rest on demand.

A test that fails with the fault in has to pass without it, or it says nothing about the fault and is left out.
"""

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tests.faults.fault import Fault
from tests.faults.scratch import Copy, Ran, UnclearError

# What `make test` runs, and what `make test-all` adds.
EVERYDAY = "not slow and not torture"
REST = "slow and not torture"

# As in `make test`: what goes to one process together says tests/scheduling.py.
PYTEST = ["-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"]
# It reads the code that faults are put into, and would find every one of the chosen by its text.
OURS = "tests/unit/test_faults.py"
FOLDERS = ("tests/unit/", "tests/property/", "tests/golden/", "tests/integration/")
NEAREST = 8
# Measures against trusted implementations, levels against a plain loop, the sample, incremental builds.
FOR_SQL = [
    "tests/golden/test_golden.py",
    "tests/property/test_levels.py",
    "tests/integration/test_sample_refresh.py",
    "tests/integration/test_incremental.py",
]
# So many tests that fail without the fault too: then something else is wrong with the copy.
UNSOUND = 5

# How pytest ends: all passed; some failed; none was chosen.
PASSED, FAILED, NOTHING_CHOSEN = 0, 1, 5

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", re.MULTILINE)
_MACRO = re.compile(r"\bmacro\s+(?:default__|duckdb__|spark__)?(\w+)")


@dataclass
class Suite:
    """The tests of a copy.

    Attributes:
        copy: where they run.
        seconds: that one run of them may take.
        unsound: tests that fail without a fault.
        said: what the runs about the latest fault printed.
    """

    copy: Copy
    seconds: float
    unsound: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def must_start(self) -> None:
        """Pass if pytest starts in the sound copy.

        Raises:
            UnclearError: it does not.
        """
        ran = self._pytest(["--collect-only", "-m", EVERYDAY, "tests/unit"])
        if ran.code != PASSED:
            raise UnclearError(f"pytest does not even start without a fault\n{ran.said}")

    def everyday(self, fault: Fault) -> str | None:
        """What of `make test` finds a fault: a test, or the time limit, in words; None if nothing does.

        Raises:
            UnclearError: see there.
        """
        self.said.clear()
        near = nearest(self.copy, fault)
        others = [path for path in test_files(self.copy) if path not in near]
        return self._first_finding(fault, near, EVERYDAY) or self._first_finding(fault, others, EVERYDAY)

    def rest(self, fault: Fault) -> str | None:
        """The same of what only `make test-all` runs."""
        return self._first_finding(fault, test_files(self.copy), REST)

    def _first_finding(self, fault: Fault, files: list[str], marked: str) -> str | None:
        for _ in range(UNSOUND):
            with self.copy.with_fault(fault):
                parsed = self.copy.dbt_reads_it() if fault.is_sql else None
                is_read = parsed is None or parsed.code == 0
                ran = self._pytest(["-x", "-m", marked, *files]) if is_read else parsed
            self.said.append(ran.said)
            if fault.is_sql and (parsed := self.copy.dbt_reads_it()).code != 0:
                raise UnclearError(f"dbt does not read the models without the fault either\n{parsed.said}")
            if not is_read:
                return "dbt does not read it"
            if ran.code is None:
                return f"no end within {self.seconds / 60:.0f} minutes"
            if ran.code in (PASSED, NOTHING_CHOSEN):
                return None
            failed = _FAILED.findall(ran.said)
            if not failed:
                # What every test needs is broken; by the fault?
                self.must_start()
                return "pytest breaks off"
            if self._passes(failed[0]):
                return failed[0]
            self.unsound.add(failed[0])
        raise UnclearError(f"{', '.join(sorted(self.unsound))} fail without the fault too")

    def _passes(self, test: str) -> bool:
        """Whether a test passes without the fault, alone or after those that stand before it in its file."""
        if self._pytest(["-m", "", test]).code == PASSED:
            return True
        ran = self._pytest([test.split("::")[0]])
        return ran.code in (PASSED, FAILED) and test not in _FAILED.findall(ran.said)

    def _pytest(self, arguments: list[str]) -> Ran:
        left_out = [f"--deselect={test}" for test in sorted(self.unsound)]
        return self.copy.run(
            [self.copy.program("python"), "-m", "pytest", *PYTEST, *left_out, *arguments], self.seconds
        )


def test_files(copy: Copy) -> list[str]:
    """Every file of tests but our own: unit tests first, small ones before large ones."""
    found = [path for path in copy.files() if re.fullmatch(r"tests/(?!torture/).*test_\w+\.py", path) and path != OURS]
    return sorted(found, key=lambda path: (_folder(path), len(copy.read(path))))


def nearest(copy: Copy, fault: Fault) -> list[str]:
    """A few files that are most likely to find a fault: those that name the module, model or macro that it is in."""
    named = re.compile(_names(copy, fault))
    found = [path for path in test_files(copy) if named.search(copy.read(path))]
    # A path that is gone would end pytest before it begins.
    always = [path for path in FOR_SQL if fault.is_sql and (copy.root / path).exists()]
    return list(dict.fromkeys([*found[:NEAREST], *always]))


def _names(copy: Copy, fault: Fault) -> str:
    stem = PurePosixPath(fault.path).stem
    if not fault.is_sql:
        dotted = fault.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        package = re.escape(dotted.rpartition(".")[0])
        return rf"\b{re.escape(dotted)}\b|from {package} import [^\n]*\b{re.escape(stem)}\b"
    if "/macros/" in fault.path:
        words = {stem, *_MACRO.findall(copy.read(fault.path))}
    else:
        # Few tests name a model that no reader sees; they name the tables that are made from it.
        models = [path for path in copy.files() if "/models/" in path and path.endswith(".sql")]
        words = {stem, *(PurePosixPath(path).stem for path in models if f"ref('{stem}')" in copy.read(path))}
    return rf"\b(?:{'|'.join(sorted(words))})\b"


def _folder(path: str) -> int:
    return next((rank for rank, folder in enumerate(FOLDERS) if path.startswith(folder)), len(FOLDERS))
