"""One refresh from the command line: the Dagster job in this process, with progress, ending in what was flagged."""

import contextlib
import io
import logging
import sqlite3
import sys
import uuid
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape

from orchestration.alerts.data_alerts import cause
from orchestration.alerts.deliver import Report, open_journal, tell
from orchestration.alerts.flagged import note_what_is_missing
from orchestration.alerts.overview import print_wrong_filters
from orchestration.alerts.retention import prune
from orchestration.build import build_definitions
from orchestration.cli.progress import shown_on
from orchestration.cli.remediation import after_fetch, runbook
from orchestration.cli.status import print_flags, print_header
from orchestration.files import must_link, must_lock
from orchestration.ingest.assets import FETCH_OUTCOME, INGESTED, SET_RIGHT, RefreshConfig, plan_rules
from orchestration.instance.instance import fail_dead_runs, opened_instance, process_tags
from orchestration.instance.scratch import sweep
from orchestration.market.errors import StoreError
from orchestration.market.universe import Universe, load_universe
from orchestration.publish.assets import POSTGRES, PUBLISHED, STORED_LAKE, STORED_VERSION
from orchestration.publish.versions import PublishedManifest, current_manifest, is_in_place, is_whole, version_folder
from orchestration.schedules import SESSION, due_session
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.signals.checks import check_keys
from orchestration.signals.new_events import evaluated_version
from orchestration.transform.build_state import read_reason
from orchestration.transform.dbt import ReadyDbt

# Steps that copy what readers of the files have already, to where else it is wanted.
COPY_STEPS = {key.to_python_identifier() for key in (POSTGRES, STORED_LAKE, STORED_VERSION)}
# What Dagster says of a step whose blocking check failed; the check itself has said more.
CHECK_FAILED = "DagsterAssetCheckFailedError"


def run_refresh(
    settings: Settings, config: RefreshConfig, console: Console | None = None, ready_dbt: ReadyDbt | None = None
) -> bool:
    """Run the job `refresh` here and now; returns whether it succeeded.

    The fetching is a run of its own. The second run, everything after it, happens only if there is something new to
    build from; see docs/decisions/0005-refresh-that-finds-nothing.md.

    Raises:
        OrewatchError: a setting, a seed or the run config is wrong; nothing was started.
    """
    # The file is named: what rich would look up later is the redirected one.
    console = console or Console(file=sys.stdout)
    universe = load_universe(settings.seeds)
    plan_rules(config, settings, universe.symbols, local=False)  # a wrong option stops here, not inside a run
    session = due_session(settings.now())
    print_header(console, settings)
    print_wrong_filters(settings, universe, console)
    settings.paths.root.mkdir(parents=True, exist_ok=True)
    must_lock(settings.paths.root)
    must_link(settings.paths.root)
    with shown_on(console) as progress, _quiet(), opened_instance(settings) as instance:
        # Before any run of this refresh can end: what ended earlier is no news.
        open_journal(settings, instance)
        note_what_is_missing(settings)  # a further session would take the flags away
        fail_dead_runs(instance, settings)
        sweep(settings.paths.root)  # what a killed verification left
        ours = {"progress": progress, "ready_dbt": ready_dbt or ReadyDbt(settings)}
        definitions = build_definitions(
            settings,
            resources={name: dg.ResourceDefinition.hardcoded_resource(value) for name, value in ours.items()},
        )
        job = definitions.resolve_job_def("refresh")
        fetched = _run(
            "fetch", job, instance, INGESTED, {"ops": {"ingest": {"config": config.model_dump(exclude_none=True)}}}
        )
        built = None
        if fetched.success and not is_current(settings):
            rest = sorted(set(job.asset_layer.executable_asset_keys) - set(INGESTED))
            built = _run("build and check", job, instance, rest, {})
        elif fetched.success and (behind := copies_behind(settings)):
            built = _run(f"publish to {' and '.join(behind)}", job, instance, sorted(set().union(*behind.values())), {})
        last = built or fetched
        if last.success and not (config.symbols or config.start or config.end):
            # The schedule need not do it again.
            instance.add_run_tags(last.run_id, {SESSION: session.isoformat()})
        told = _tell(console, settings, instance)
        for line in prune(settings, instance):
            console.print(f"[yellow]warning[/] {escape(line)}", highlight=False, soft_wrap=True)
    for result in filter(None, (fetched, built)):
        _print_outcome(console, settings, universe, result)
    success = fetched.success and (built is None or built.success)
    if success or (built is not None and _only_copies_failed(built)):
        print_flags(console, settings, rebuilt=built is not None and _published(built))
    if told:
        _print_alerts(console, settings, told)
    return success


def is_current(settings: Settings) -> bool:
    """Whether the published version was made from exactly what is there now, and the market checks have seen it."""
    from orchestration.ingest.lake import Lake
    from orchestration.transform.fingerprint import fingerprint

    manifest = current_manifest(settings.paths.published)
    if manifest is None or evaluated_version(settings.paths) != manifest.version:
        return False
    # Views name files by where they were published: a home that was moved is published again.
    if not is_in_place(settings.paths.published, manifest):
        return False
    if not is_whole(version_folder(settings.paths.published, manifest.version)):
        return False
    return manifest.fingerprint == fingerprint(Lake(settings.paths.lake), settings.paths.reference, DBT_PROJECT_DIR)


def copies_behind(settings: Settings) -> dict[str, list[dg.AssetKey]]:
    """By name of the place, the assets of those copies that are not what readers of the files see.

    A place that cannot be asked is behind: the step says what is wrong, in a run that everybody sees.
    """
    manifest = current_manifest(settings.paths.published)
    behind: dict[str, list[dg.AssetKey]] = {}
    if manifest is None:
        return behind
    url = settings.postgres_url.get_secret_value()
    if url:
        from orchestration.publish.postgres import standing

        if not standing(url, settings.postgres_readers_schema, manifest).is_current:
            behind["PostgreSQL"] = [POSTGRES]
    if settings.store and not _store_is_current(settings, manifest):
        behind["the object store"] = [STORED_LAKE, STORED_VERSION]
    return behind


def _store_is_current(settings: Settings, manifest: PublishedManifest) -> bool:
    from orchestration.ingest.lake import Lake
    from orchestration.publish.backups import lake_is_stored
    from orchestration.publish.object_store import ObjectStore
    from orchestration.publish.stored_versions import version_is_stored

    try:
        store = ObjectStore.at(settings.store, settings.source)
        return lake_is_stored(Lake(settings.paths.lake), store, settings.paths.store_record) and version_is_stored(
            settings.paths.published, manifest, store
        )
    except StoreError:
        return False


def _only_copies_failed(result: dg.ExecuteInProcessResult) -> bool:
    failed = {event.step_key for event in result.all_events if event.is_step_failure}
    return bool(failed) and failed <= COPY_STEPS


def _published(result: dg.ExecuteInProcessResult) -> bool:
    return any(event.asset_key == PUBLISHED for event in result.get_asset_materialization_events())


def _run(
    part: str,
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    run_config: dict[str, Any],
) -> dg.ExecuteInProcessResult:
    run_id = str(uuid.uuid4())
    return job.execute_in_process(
        run_id=run_id,
        instance=instance,
        raise_on_error=False,
        asset_selection=list(keys),
        run_config={**run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        # `user` is what the web UI shows as who launched a run.
        tags={"part": part, "user": "command line", **process_tags(run_id)},
    )


def _tell(console: Console, settings: Settings, instance: dg.DagsterInstance) -> Report | None:
    """Send what channels are owed; nothing that goes wrong here is a reason to fail a refresh."""
    try:
        return tell(settings, instance, everything=True)
    except (OSError, sqlite3.Error) as error:
        console.print(f"[yellow]warning[/] alerts: {escape(str(error))}; they will be sent with the next refresh")
        return None


def _print_alerts(console: Console, settings: Settings, told: Report) -> None:
    for outcome in told.outcomes:
        console.print(f"Alerts:         {escape(outcome.text)}", highlight=False)
    if told.events and not settings.channels:
        console.print(f"Alerts:         {told.events} noted; to have them sent, set OREWATCH_ALERTS")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the chatter of the libraries off the screen; the run's log in the UI has all of it."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _print_outcome(console: Console, settings: Settings, universe: Universe, result: dg.ExecuteInProcessResult) -> None:
    stored = _metadata(result, "raw/bars", "new_rows")
    batch = _metadata(result, "raw/bars", "batch_id")
    rejected = _metadata(result, "raw/rejected_bars", "new_rows")
    if stored is not None:
        console.print(f"[bold]{stored:,}[/] bars stored, [bold]{rejected or 0:,}[/] newly quarantined (batch {batch})")
    for line in (_metadata(result, "raw/bars", SET_RIGHT) or "").splitlines():
        console.print(f"[yellow]warning[/] {escape(line)}", highlight=False, soft_wrap=True)
    market = check_keys(universe)
    for evaluation in result.get_asset_check_evaluations():
        # Market checks have their own table at the end.
        if not evaluation.passed and evaluation.asset_check_key not in market:
            mark = (
                "[bold red]stopped by[/]"
                if evaluation.severity is dg.AssetCheckSeverity.ERROR
                else "[yellow]warning[/]"
            )
            console.print(f"{mark} {evaluation.check_name}: {escape(evaluation.description or '')}")
            _print_offenders(console, evaluation)
            _print_advice(console, settings, result, evaluation)
    if not result.success:
        for event in result.all_events:
            if event.is_step_failure and _error_name(event) != CHECK_FAILED:
                console.print(f"[bold red]failed[/] {event.step_key}: {escape(cause(event))}", soft_wrap=True)
        if _only_copies_failed(result):
            console.print("Readers there keep the last version that they have; the next refresh tries again.")
        elif _published(result):
            console.print("Readers see the new version. The run's log is in the web UI: orewatch dev", soft_wrap=True)
        else:
            # A fetch in which nothing arrived has built nothing that could be withheld: the lines above say it all.
            known = " What stopped it: orewatch status." if read_reason(settings.paths.withheld_record) else ""
            console.print(f"{_kept(settings)}{known} The run's log is in the web UI: orewatch dev", soft_wrap=True)


def _error_name(event: dg.DagsterEvent) -> str | None:
    error = event.step_failure_data.error
    return error.cls_name if error else None


def _kept(settings: Settings) -> str:
    manifest = current_manifest(settings.paths.published)
    if manifest is None:
        return "Nothing has been published yet, and nothing is now."
    return f"Readers keep the last published version: {manifest.version} of {manifest.published_at}."


def _print_offenders(console: Console, evaluation: dg.AssetCheckEvaluation) -> None:
    records = _records(evaluation)
    for record in records[:5]:
        values = ", ".join(str(v) for v in record.data.values() if v is not None)
        console.print("  " + escape(values), highlight=False)
    if len(records) > 5:
        console.print(f"  and {len(records) - 5} more")


def _records(evaluation: dg.AssetCheckEvaluation) -> list[dg.TableRecord]:
    """The rows of the check's tables."""
    tables = [value for value in evaluation.metadata.values() if isinstance(value, dg.TableMetadataValue)]
    return [record for table in tables for record in table.records]


def _print_advice(
    console: Console, settings: Settings, result: dg.ExecuteInProcessResult, evaluation: dg.AssetCheckEvaluation
) -> None:
    """What to do next: about symbols that did not arrive, and about whatever stopped the run."""
    lines = []
    if evaluation.check_name == FETCH_OUTCOME:
        lines = after_fetch(settings, [str(record.data["error"]) for record in _records(evaluation)])
    if evaluation.severity is dg.AssetCheckSeverity.ERROR:
        spec = result.job_def.asset_layer.asset_graph.get_check_spec(evaluation.asset_check_key)
        lines = [*lines, runbook(evaluation.check_name, spec.description or "")]
    for line in lines:
        console.print(f"  [bold]what to do:[/] {escape(line)}", highlight=False, soft_wrap=True)


def _metadata(result: dg.ExecuteInProcessResult, asset: str, name: str) -> Any:
    for event in result.get_asset_materialization_events():
        if event.asset_key and event.asset_key.to_user_string() == asset:
            value = event.materialization.metadata.get(name)
            return None if value is None else value.value
    return None
