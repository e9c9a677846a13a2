"""What a command of dbt has run, by the file that it writes, and how it says what went wrong."""

from collections.abc import Sequence
from pathlib import Path

from dagster_dbt import DbtCliInvocation

# What dbt writes at the end of a build, of each node.
RUN_RESULTS = "run_results.json"


def stopped(invocation: DbtCliInvocation, target: Path) -> str:
    """What has stopped a build, in one line; empty if nothing has, or no more than data tests that found something."""
    if invocation.is_successful():
        return ""
    if (target / RUN_RESULTS).is_file():
        return dbt_failures(target / RUN_RESULTS, statuses=("error",))
    return dbt_complaint(invocation.get_error())


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
