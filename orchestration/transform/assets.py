"""The dbt models as assets: one step, and how its dbt properties read in the UI."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import DbtProject, dbt_assets

from orchestration.asset_metadata import tag_run
from orchestration.home import Home
from orchestration.instance.progress import ProgressReporter
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.transform.build_state import block_publication
from orchestration.transform.dbt import FULL_REFRESH, DbtRunner
from orchestration.transform.invocation import asked_for, run_dbt
from orchestration.transform.manifest import read_manifest
from orchestration.transform.run_results import Ran
from orchestration.transform.spark import EVIDENCE, require_engine
from orchestration.transform.translator import OrewatchTranslator

if TYPE_CHECKING:
    from orchestration.transform.build import Plan


# Of the part of a build that Spark does.
NO_EVIDENCE = ("--exclude", EVIDENCE)


def build_models(
    settings: Settings, meanwhile: Callable[[], None], published_table: Callable[[Path, str, str], str]
) -> dg.AssetsDefinition:
    """All dbt models and their tests, built in one step.

    Args:
        settings: name the source and its home.
        meanwhile: what this process may do in a thread of its own while dbt builds in another.
        published_table: how a query names a table of the version that readers see; `publish.manifest.table_sql`.
    """
    manifest, translator = read_manifest(), OrewatchTranslator(settings.simulated)

    @dbt_assets(
        manifest=manifest,
        project=DbtProject(DBT_PROJECT_DIR, profiles_dir=DBT_PROJECT_DIR),
        dagster_dbt_translator=translator,
        name="dbt_models",
    )
    def dbt_models(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001  (held while the step runs)
        progress: dg.ResourceParam[ProgressReporter],
        dbt: dg.ResourceParam[DbtRunner],
    ) -> Iterator[Any]:
        from orchestration.transform import build
        from orchestration.transform.held_back import hold_back
        from orchestration.transform.spark_tables import load_tables

        home, engine, everything = settings.paths, settings.engine, not context.is_subset
        require_engine(engine, settings.spark, settings.has_java)
        if everything:
            threading.Thread(target=meanwhile, daemon=True).start()

        def leave_out(ran: Ran) -> dict[str, str]:
            return hold_back(home, ran.results, manifest, published_table)

        following: build.Plan | None = build.plan_build(home, engine, settings.full_refresh_below_bars, everything)
        while following:
            plan = following
            _announce(context, home, progress, plan)
            build.begin(home, engine, plan)
            arguments = [*(FULL_REFRESH if plan.full_refresh else ()), *(NO_EVIDENCE if engine == "spark" else ())]
            ran = run_dbt(dbt, context, manifest, translator, arguments)
            following = build.further_plan(home, engine, plan, ran, leave_out)
        if engine == "spark" and ran.succeeded:
            progress(0, 0, "loading what Spark has built")
            load_tables(home.spark, home.warehouse)
            if everything:
                on_duckdb = DbtRunner(dbt.target / "evidence", {**dbt.variables, **settings.on_duckdb})
                ran = ran.followed_by(run_dbt(on_duckdb, context, manifest, translator, ["--select", EVIDENCE]))
        yield from _with_facts(ran.events, home.warehouse)
        if blocked := build.why_blocked(ran, asked_for(context)):
            reason, description = blocked
            block_publication(home.build_state, reason)
            raise dg.Failure(description=description, allow_retries=False)
        if everything:
            build.note_build(home, plan, ran)

    return dbt_models


def _announce(context: dg.AssetExecutionContext, home: Home, progress: ProgressReporter, plan: "Plan") -> None:
    """Say how a build goes: in the tags of the run, in its log, to whoever waits."""
    held_back = {"held_back": ", ".join(plan.held_back)} if plan.held_back else {}
    tag_run(context, home, build="whole" if plan.full_refresh else "incremental", **held_back)
    for symbol, reason in plan.held_back.items():
        context.log.warning(f"{symbol} is held back: {reason}")
    log = context.log.warning if plan.is_second else context.log.info
    log(f"full refresh: {plan.full_refresh}" if plan.full_refresh else "incremental build")
    progress(0, 0, plan.progress)


def _with_facts(events: Sequence[Any], warehouse: Path) -> Iterator[Any]:
    """What Dagster hears of a build, of each table with what it holds now."""
    from orchestration.duckdb_io import table_facts

    # Without an output nothing was built, and what dbt could not open cannot be counted either.
    built_any = any(isinstance(event, dg.Output) for event in events)
    facts = table_facts(warehouse) if built_any and warehouse.is_file() else {}
    for event in events:
        if isinstance(event, dg.Output):
            event = event.with_metadata({**event.metadata, **facts.get(event.output_name.rpartition("__")[2], {})})
        yield event
