"""The gate between the build and its readers: what a publication may rest on is decided here, from `BuildState`.

A build of all tables that has ended, that every data test of dbt and the data checks let pass, and that still stands in
the warehouse. Checks report what they find; whether it withholds the build from readers is said here.
"""

from collections.abc import Sequence

import dagster as dg

from orchestration.home import Home
from orchestration.market.errors import PublishError
from orchestration.transform.build_state import BuildState, block_publication
from orchestration.transform.manifest import data_tests, named

NOT_AUDITED = (
    "the tables have not been built and audited since the last fetch; materialize all, or run orewatch refresh"
)


def stops(result: dg.AssetCheckResult) -> bool:
    """Whether what a data check found withholds the build from readers."""
    return not result.passed and result.severity is dg.AssetCheckSeverity.ERROR


def note_audit(home: Home, results: Sequence[dg.AssetCheckResult]) -> None:
    """Note that all data checks let the build in the warehouse pass, or why it is blocked.

    Args:
        home: with the state of the build.
        results: of every data check.
    """
    stopped = [result for result in results if stops(result)]
    if stopped:
        block_publication(home.build_state, "; ".join(f"{r.check_name}: {r.description}" for r in stopped))
        return
    known = BuildState.load(home.build_state)
    audited = known.built.fingerprint if known.built else None
    known.model_copy(update={"audited": audited}).save(home.build_state)


def may_publish(home: Home) -> str:
    """The fingerprint of the build in the warehouse, if it may be published.

    It goes into the published manifest as it is. If newer bars have arrived since, the version is honest about its age:
    the next refresh finds another fingerprint and builds again.

    Raises:
        PublishError: it may not; the message names the tests that did not run.
    """
    state = BuildState.load(home.build_state)
    if state.built is None or state.built.fingerprint != state.audited:
        raise PublishError(NOT_AUDITED)
    if home.warehouse.is_file() and not state.built.is_in(home.warehouse):
        raise PublishError(NOT_AUDITED)
    if missing := data_tests() - state.built.tests:
        raise PublishError(f"the tables have not passed {named(missing)}; materialize all, or run orewatch refresh")
    return state.built.fingerprint
