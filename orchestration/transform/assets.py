"""The dbt models as assets, and how their dbt properties read in the UI."""

import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtProject, dbt_assets

from orchestration.asset_metadata import tag_run
from orchestration.market.errors import SettingsError
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.transform.dbt import WHOLE
from orchestration.transform.manifest import data_tests, named, read_manifest
from orchestration.transform.run_results import RUN_RESULTS, dbt_complaint, dbt_failures, passed_nodes, stopped
from orchestration.transform.spark import is_cluster, master_answers
from orchestration.transform.translator import OrewatchTranslator


def build_models(
    settings: Settings, meanwhile: Callable[[], None], published_table: Callable[[Path, str, str], str]
) -> dg.AssetsDefinition:
    """All dbt models and their tests, built in one step.

    Args:
        settings: name the source and its home.
        meanwhile: what this process may do in a thread of its own while dbt builds in another.
        published_table: how a query names a table of the version that readers see; `publish.versions.table_sql`.
    """
    manifest, translator = read_manifest(), OrewatchTranslator(settings.source, settings.simulated)

    @dbt_assets(
        manifest=manifest,
        project=DbtProject(DBT_PROJECT_DIR, profiles_dir=DBT_PROJECT_DIR),
        dagster_dbt_translator=translator,
        name="dbt_models",
        required_resource_keys={"settings", "warehouse_lock", "progress", "ready_dbt"},
    )
    def dbt_models(context: dg.AssetExecutionContext) -> Iterator[Any]:
        from orchestration.duckdb_io import table_facts
        from orchestration.ingest.lake import Lake
        from orchestration.transform.build_inputs import premises, why_whole, write_premises
        from orchestration.transform.build_state import is_as_built, remove_records, write_reason, write_record
        from orchestration.transform.changed_ranges import note_build, take_changes
        from orchestration.transform.fingerprint import fingerprint
        from orchestration.transform.held_back import blamed, hold_back
        from orchestration.transform.spark_tables import load_tables

        current: Settings = context.resources.settings
        target = current.paths.root / "dbt"
        # Of what a killed build has left, nothing is known: the record comes back with the end of this one.
        lake = Lake(current.paths.lake)
        require_engine(current)
        taken_for_granted = premises(lake, current.paths.reference, DBT_PROJECT_DIR, current.engine)
        if lake.row_count("bars") < current.full_refresh_below_bars:
            # As fast as an incremental build, and cannot be wrong.
            whole = f"fewer than {current.full_refresh_below_bars:,} bars are stored"
        else:
            whole = why_whole(current.paths.premises_record, taken_for_granted, lake, current.paths.reference)
            if not whole and not is_as_built(current.paths.build_record, current.paths.warehouse):
                whole = "the warehouse is not the one that the last build left"
        tag_run(context, current, build="whole" if whole else "incremental")
        context.log.info(f"all tables are built from the first bar on: {whole}" if whole else "an incremental build")
        context.resources.progress(0, 0, "building the tables" if whole else "bringing the tables up to date")
        remove_records(current.paths.audit_record, current.paths.build_record, current.paths.premises_record)
        changes = take_changes(current.paths.changes_record, current.paths.warehouse)
        # Taken before dbt reads anything: what arrives meanwhile is not part of this build.
        built_from = fingerprint(lake, current.paths.reference, DBT_PROJECT_DIR)
        if not context.is_subset:
            threading.Thread(target=meanwhile, daemon=True).start()

        def build() -> tuple[DbtCliInvocation, list[Any]]:
            # dbt writes it only once it has run something; an old one would answer for this run.
            (target / RUN_RESULTS).unlink(missing_ok=True)
            if whole and not context.is_subset:
                _start_over(current)
            begun = _begin_build(context, manifest, translator, target, whole=bool(whole) or context.is_subset)
            # Held back until dbt has let go of the warehouse: the counts below open it.
            return begun, list(begun.stream())

        invocation, events = build()
        if not whole and not context.is_subset and (why := stopped(invocation, target)):
            # Whatever is wrong with what earlier builds have left, a whole one does without it.
            whole = f"an incremental build stopped: {why}"
            context.log.warning(f"all tables are built from the first bar on: {whole}")
            tag_run(context, current, build="whole")
            context.resources.progress(0, 0, f"building all tables anew, as {whole}")
            invocation, events = build()
        if not invocation.is_successful() and current.engine == "duckdb" and not context.is_subset:
            reasons = blamed(target / RUN_RESULTS, manifest, current.paths.warehouse)
            if reasons and hold_back(current, reasons, published_table):
                for symbol, reason in reasons.items():
                    context.log.warning(f"{symbol} is held back: {reason}")
                whole = "other bars are held back than before"
                tag_run(context, current, build="whole", held_back=", ".join(reasons))
                context.resources.progress(0, 0, f"building all tables without the new bars of {', '.join(reasons)}")
                taken_for_granted = premises(lake, current.paths.reference, DBT_PROJECT_DIR, current.engine)
                built_from = fingerprint(lake, current.paths.reference, DBT_PROJECT_DIR)
                invocation, events = build()
        # Without an output nothing was built, and what dbt could not open cannot be counted either.
        built_any = any(isinstance(event, dg.Output) for event in events)
        if current.engine == "spark" and invocation.is_successful():
            context.resources.progress(0, 0, "loading what Spark has built")
            load_tables(current.paths.spark, current.paths.warehouse)
        facts = table_facts(current.paths.warehouse) if built_any and current.paths.warehouse.is_file() else {}
        for event in events:
            if isinstance(event, dg.Output):
                yield event.with_metadata({**event.metadata, **facts.get(event.output_name.rpartition("__")[2], {})})
            else:
                yield event
        if not invocation.is_successful():
            said = dbt_failures(target / RUN_RESULTS) or dbt_complaint(invocation.get_error())
            write_reason(current.paths.withheld_record, f"a model or a blocking data test failed: {said}")
            raise dg.Failure(
                description=f"a model or a blocking data test failed; readers keep the last published version: {said}",
                allow_retries=False,
            )
        ran = passed_nodes(target / RUN_RESULTS) & _told(events)
        if left_out := _asked_for(context) - ran:
            said = f"dbt ended without an error, and did not run {named(left_out)}"
            write_reason(current.paths.withheld_record, said)
            raise dg.Failure(
                description=f"{said}; readers keep the last published version. Is dbt_project/target/manifest.json of"
                " these models? make manifest",
                allow_retries=False,
            )
        # Part of the models, built alone, leaves the others on older rows: no record, so nothing is published from it.
        if not context.is_subset:
            write_record(current.paths.build_record, built_from, ran & data_tests(), current.paths.warehouse)
            write_premises(current.paths.premises_record, taken_for_granted)
            if not whole:
                note_build(current.paths.changes_record, changes, current.paths.warehouse)

    return dbt_models


def _asked_for(context: dg.AssetExecutionContext) -> set[str]:
    """The models and tests, by dbt's unique id, that this step is to run."""
    assets = context.assets_def
    specs: list[dg.AssetSpec | dg.AssetCheckSpec] = [assets.specs_by_key[key] for key in context.selected_asset_keys]
    specs += [assets.get_spec_for_check_key(key) for key in context.selected_asset_check_keys]
    return {spec.metadata["dagster_dbt/unique_id"] for spec in specs}


def _told(events: Iterable[Any]) -> set[str]:
    """The models and tests of which dbt has told Dagster, by dbt's unique id."""
    told = (event.metadata.get("unique_id") for event in events if isinstance(event, dg.Output | dg.AssetCheckResult))
    return {str(getattr(id_, "value", id_)) for id_ in told}


def _start_over(settings: Settings) -> None:
    """Take away what earlier builds have left, whatever state it is in: a whole build needs nothing of it."""
    from orchestration.transform.build_state import files_of, remove_records
    from orchestration.transform.spark_tables import start_over

    if settings.engine == "spark":
        start_over(settings.paths.spark)
    elif settings.paths.warehouse.is_file():
        # Its log first: DuckDB would read one that lies beside a new file.
        remove_records(*reversed(files_of(settings.paths.warehouse)))


def require_engine(settings: Settings) -> None:
    """Do nothing if what runs the models is there.

    Raises:
        SettingsError: it is not; the message says what to install or to start.
    """
    if settings.engine != "spark":
        return
    if not (find_spec("pyspark") and find_spec("dbt.adapters.spark")):
        raise SettingsError("OREWATCH_ENGINE=spark needs dbt-spark and pyspark: run `make spark-environment`")
    if not settings.has_java:
        raise SettingsError("OREWATCH_ENGINE=spark needs Java 17: on Debian, apt-get install default-jre-headless")
    if is_cluster(settings.spark) and not master_answers(settings.spark):
        raise SettingsError(
            f"OREWATCH_SPARK={settings.spark}: nothing answers there. Start the master and its workers, "
            "or let Spark run in this process: OREWATCH_SPARK=local[*]"
        )


def _begin_build(
    context: dg.AssetExecutionContext,
    manifest: dict[str, Any],
    translator: DagsterDbtTranslator,
    target: Path,
    whole: bool,
) -> DbtCliInvocation:
    """A build of what was asked for, as dagster-dbt would start it, in the process that has read the models already.

    dagster-dbt's own start asks dbt for its version in one more process and loads dbt's adapter into this one, which
    takes as long as half of the models.
    """
    import importlib.metadata

    from dagster_dbt.asset_utils import get_subset_selection_for_context
    from packaging.version import Version

    arguments = list(WHOLE if whole else ())
    if context.is_subset:
        selection, indirect = get_subset_selection_for_context(
            context=context,
            manifest=manifest,
            select=None,
            exclude=None,
            selector=None,
            dagster_dbt_translator=translator,
            current_dbt_indirect_selection_env=None,
        )
        arguments += [*selection, *(("--indirect-selection", indirect) if indirect else ())]
    return DbtCliInvocation(
        process=context.resources.ready_dbt.build(arguments),
        manifest=manifest,
        dagster_dbt_translator=translator,
        project_dir=DBT_PROJECT_DIR,
        target_path=target,
        raise_on_error=False,
        cli_version=Version(importlib.metadata.version("dbt-core")),
        context=context,
    )
