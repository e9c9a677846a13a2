"""What was found out, kept from one evening to the next, and the table that a person reads."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.fault import Fault

EVERYDAY, REST, SURVIVED = "make test", "make test-all", "survived"


@dataclass(frozen=True)
class Result:
    """What became of one fault.

    Attributes:
        key: of the fault and the revision.
        id: of the fault.
        diff: the fault on one line.
        outcome: what caught it: `make test`, `make test-all`; or that it survived.
        by: the test, or what else stopped it.
        seconds: that it took.
        everything: whether more than `make test` was asked.
    """

    key: str
    id: str
    diff: str
    outcome: str
    by: str
    seconds: float
    everything: bool


@dataclass(frozen=True)
class Results:
    """The results in a file, one JSON object a line; of two with the same key the later one counts."""

    path: Path

    def read(self) -> dict[str, Result]:
        """All of them, by their key."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        return {result.key: result for result in (Result(**json.loads(line)) for line in lines)}

    def add(self, result: Result) -> None:
        """Keep one more."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")

    def forget(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)


def table(faults: Iterable[Fault], revision: str, found: dict[str, Result]) -> str:
    """Each fault and what became of it, in Markdown, with the sums and the survivors below."""
    lines = ["| fault | file | change | found by | seconds |", "|---|---|---|---|---:|"]
    known = []
    for fault in faults:
        result = found.get(fault.key(revision))
        change = f"{_code(fault.before)} -> {_code(fault.after)}"
        said, seconds = ("not tried yet", "") if result is None else (_said(result), f"{result.seconds:.0f}")
        lines.append(f"| {fault.id} | {fault.path}:{fault.line} | {change} | {said} | {seconds} |")
        known += [] if result is None else [(fault, result)]
    by_test = sum(result.outcome == EVERYDAY for _, result in known)
    survivors = [(fault, result) for fault, result in known if result.outcome == SURVIVED]
    lines += ["", f"Of {len(known)} faults tried {by_test} are found by make test, "]
    unasked = sum(not result.everything for _, result in survivors)
    lines[-1] += f"{len(known) - len(survivors)} by make test-all" + (
        f", which {unasked} survivors have not met yet (--everything)." if unasked else "."
    )
    lines += [f"Survived: {fault.id} {fault.diff} {fault.harm}".rstrip() for fault, _ in survivors]
    return "\n".join(lines)


def _said(result: Result) -> str:
    if result.outcome == SURVIVED:
        return "**survived** everything" if result.everything else "**survived** make test"
    return _code(result.by) + (" (make test-all)" if result.outcome == REST else "")


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|').replace('`', chr(39))}`"
