"""What a command of dbt has run, by the file that it writes, and how it says what went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# What dbt writes at the end of a build, of each node.
RUN_RESULTS = "run_results.json"


@dataclass(frozen=True)
class Ran:
    """A build of dbt that has ended.

    Attributes:
        results: the file that dbt wrote of it; not there, if it ran nothing.
        succeeded: whether dbt ended without an error.
        error: what it said if it did not, as dagster-dbt has it.
        events: what Dagster is to hear.
        reported: the models and tests, by dbt's unique id, of which the events speak.
        earlier: those that passed in another part of the same build.
    """

    results: Path
    succeeded: bool
    error: Exception | None
    events: tuple[Any, ...] = ()
    reported: frozenset[str] = frozenset()
    earlier: frozenset[str] = frozenset()

    @property
    def passed(self) -> set[str]:
        """The models and tests that ran and passed, and of which Dagster hears."""
        return (passed_nodes(self.results) & self.reported) | self.earlier

    def followed_by(self, other: "Ran") -> "Ran":
        """Both as one build, of which the other was the second part."""
        return replace(other, events=(*self.events, *other.events), earlier=frozenset(self.passed))


def stopped(ran: Ran) -> str:
    """What has stopped a build, in one line; empty if nothing has, or no more than data tests that found something."""
    if ran.succeeded:
        return ""
    if ran.results.is_file():
        return dbt_failures(ran.results, statuses=("error",))
    return dbt_complaint(ran.error)


def dbt_failures(run_results_path: Path, statuses: Sequence[str] = ("error", "fail")) -> str:
    """The failed nodes of a dbt run in one line, each with dbt's own message; empty if dbt named none.

    Args:
        run_results_path: what dbt wrote.
        statuses: which nodes count; `fail` is a data test that found something, `error` whatever could not be run.
    """
    import orjson

    try:
        run_results = orjson.loads(run_results_path.read_bytes())
    except FileNotFoundError:
        return ""
    failed = [
        f"{r['unique_id'].split('.')[2]}: {(r.get('message') or r['status']).strip().splitlines()[0]}"
        for r in run_results["results"]
        if r["status"] in statuses
    ]
    return "; ".join(failed)


def passed_nodes(run_results_path: Path) -> set[str]:
    """Unique ids of the models that a dbt run has built and of the tests that passed; none if it ran nothing.

    A test whose severity is a warning has done its work when it has run.
    """
    import orjson

    try:
        run_results = orjson.loads(run_results_path.read_bytes())
    except FileNotFoundError:
        return set()
    return {r["unique_id"] for r in run_results["results"] if r["status"] in ("success", "pass", "warn")}


def dbt_complaint(error: Exception | None) -> str:
    """What dbt logged as errors, in one line: all there is if it stopped before it ran anything."""
    text = str(getattr(error, "description", None) or error or "dbt did not say why it stopped")
    # Before its own words stand the command and advice for people at a terminal.
    before, _, own = text.partition("Errors parsed from dbt logs:")
    return " ".join((own.strip() or before).split())
