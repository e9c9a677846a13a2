"""A build of all tables: full refresh or incremental, a further attempt where one helps, and what is noted of it.

What Dagster hears stands in `transform.assets`, how dbt is run in `transform.invocation`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from orchestration.home import Home
from orchestration.ingest.lake import Lake
from orchestration.settings import DBT_PROJECT_DIR
from orchestration.transform.build_inputs import BuildInputs, build_inputs, full_refresh_reason
from orchestration.transform.build_state import BuildState, Built, take_back
from orchestration.transform.changed_ranges import ChangedRanges, after_build, still_true
from orchestration.transform.fingerprint import fingerprint
from orchestration.transform.manifest import data_tests, named
from orchestration.transform.run_results import Ran, dbt_complaint, dbt_failures, stopped
from orchestration.transform.warehouse import facts_of, start_over


@dataclass(frozen=True)
class Plan:
    """How a build goes, and what it is made from.

    Attributes:
        full_refresh: why every table is built from the first bar on; empty: the build is incremental.
        progress: one line for whoever waits.
        inputs, fingerprint: what the tables are made from.
        changed: what had changed since the publication before this build.
        everything: whether all models are built.
        held_back: by symbol, why its new bars are left out; of a second attempt without them.
        is_second: whether another attempt came before.
    """

    full_refresh: str
    progress: str
    inputs: BuildInputs
    fingerprint: str
    changed: ChangedRanges | None
    everything: bool = True
    held_back: Mapping[str, str] = field(default_factory=dict)
    is_second: bool = False


def plan_build(home: Home, engine: str, full_refresh_below_bars: int, everything: bool = True) -> Plan:
    """How the next build goes. Nothing is changed.

    Args:
        home: with lake, reference tables and warehouse.
        engine: what runs the SQL.
        full_refresh_below_bars: with fewer bars, a full refresh is as fast, and cannot be wrong.
        everything: whether all models are built; some alone keep no row of theirs.
    """
    inputs, made_from = _made_from(home, engine)
    known, lake = BuildState.load(home.build_state), Lake(home.lake)
    if not everything:
        reason = "some models are built alone"
    elif lake.row_count("bars") < full_refresh_below_bars:
        reason = f"fewer than {full_refresh_below_bars:,} bars are stored"
    else:
        reason = full_refresh_reason(known.inputs, inputs, lake, home.reference)
        if not reason and not (known.built and known.built.is_in(home.warehouse)):
            reason = "the warehouse is not the one that the last build left"
    progress = "building the tables" if reason else "bringing the tables up to date"
    changed = still_true(known.changed, home.warehouse)
    return Plan(reason, progress, inputs, made_from, changed, everything)


def begin(home: Home, engine: str, plan: Plan) -> None:
    """Before a build changes anything: nothing vouches for the tables any more; a full refresh starts from nothing."""
    take_back(home.build_state)
    if plan.full_refresh and plan.everything:
        start_over(home, engine)


def further_plan(
    home: Home, engine: str, plan: Plan, ran: Ran, hold_back: Callable[[Ran], Mapping[str, str]]
) -> Plan | None:
    """Another attempt, if one can do without what this one failed at.

    Args:
        home: what is built.
        engine: what runs the SQL.
        plan: of the build that has ended.
        ran: how it went.
        hold_back: leaves out the new bars that data tests blame; returns of which symbols, and why.
    """
    if ran.succeeded or not plan.everything:
        return None
    if not plan.full_refresh and (why := stopped(ran)):
        # Whatever is wrong with what earlier builds have left, a full refresh does without it.
        reason = f"an incremental build stopped: {why}"
        return replace(plan, full_refresh=reason, progress=f"building all tables anew, as {reason}", is_second=True)
    if engine == "duckdb" and not plan.held_back and (held_back := hold_back(ran)):
        inputs, made_from = _made_from(home, engine)
        return replace(
            plan,
            full_refresh="other bars are held back than before",
            progress=f"building all tables without the new bars of {', '.join(held_back)}",
            inputs=inputs,
            fingerprint=made_from,
            held_back=held_back,
            is_second=True,
        )
    return None


def why_blocked(ran: Ran, asked: set[str]) -> tuple[str, str] | None:
    """Why a build is not for readers, and the same for a person who has to do something; None, if all went well.

    Args:
        ran: the build.
        asked: the models and tests that it was to run, by dbt's unique id.
    """
    if not ran.succeeded:
        what, text = "a model or a blocking data test failed", dbt_failures(ran.results) or dbt_complaint(ran.error)
        return (f"{what}: {text}", f"{what}; readers keep the last published version: {text}")
    if left_out := asked - ran.passed:
        text = f"dbt ended without an error, and did not run {named(left_out)}"
        remedy = "Is dbt_project/target/manifest.json of these models? make manifest"
        return (text, f"{text}; readers keep the last published version. {remedy}")
    return None


def note_build(home: Home, plan: Plan, ran: Ran) -> None:
    """Note that a build of all tables has ended well; only now anything is known of them again."""
    BuildState(
        built=Built(
            fingerprint=plan.fingerprint, warehouse=facts_of(home.warehouse), tests=frozenset(ran.passed & data_tests())
        ),
        inputs=plan.inputs,
        changed=None if plan.full_refresh else after_build(plan.changed, home.warehouse),
        blocked=BuildState.load(home.build_state).blocked,
    ).save(home.build_state)


def _made_from(home: Home, engine: str) -> tuple[BuildInputs, str]:
    """Taken before dbt reads anything: what arrives meanwhile is not part of the build."""
    lake = Lake(home.lake)
    return (
        build_inputs(lake, home.reference, DBT_PROJECT_DIR, engine),
        fingerprint(lake, home.reference, DBT_PROJECT_DIR),
    )
