"""One refresh from the command line: the Dagster job in this process, with progress, ending in what was flagged."""

import contextlib
import gc
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

from orchestration.alerts.data_alerts import cause, offenders
from orchestration.alerts.deliver import Report, begin_outbox, deliver
from orchestration.alerts.flagged import note_what_is_missing
from orchestration.alerts.overview import print_wrong_filters
from orchestration.alerts.sensor import remove_old
from orchestration.build import build_definitions
from orchestration.channels import Receivers
from orchestration.cli.progress import shown_on
from orchestration.cli.remediation import after_fetch, runbook
from orchestration.cli.status import print_header, print_new_events
from orchestration.files import must_link, must_lock
from orchestration.home import Home
from orchestration.ingest.assets import SET_RIGHT, RefreshConfig, plan_rules
from orchestration.ingest.checks import FETCH_OUTCOME
from orchestration.ingest.specs import INGESTED
from orchestration.instance.instance import opened_instance
from orchestration.instance.runs import fail_dead_runs, process_tags
from orchestration.instance.scratch import sweep
from orchestration.market.universe import Universe, load_universe
from orchestration.publish.assets import PUBLISHED
from orchestration.publish.copies import COPY_STEPS, copies_behind
from orchestration.publish.manifest import current_manifest, is_in_place, is_whole, version_folder
from orchestration.schedules import SESSION, due_session
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.signals.checks import check_keys
from orchestration.signals.new_events import evaluated_version
from orchestration.transform.build_state import BuildState
from orchestration.transform.dbt import DbtRunner

# What Dagster says of a step whose blocking check failed; the check itself has said more.
CHECK_FAILED = "DagsterAssetCheckFailedError"


def run_refresh(
    settings: Settings, config: RefreshConfig, console: Console | None = None, dbt: DbtRunner | None = None
) -> bool:
    """Run the job `refresh` here and now; returns whether it succeeded.

    The fetching is a run of its own. The second run, everything after it, happens only if there is something new to
    build from; see docs/decisions/0005-refresh-that-finds-nothing.md.

    Raises:
        OrewatchError: a setting, a seed or the run config is wrong; nothing was started.
    """
    # The file is named: what rich would look up later is the redirected one.
    console = console or Console(file=sys.stdout)
    universe = load_universe(settings.seeds, settings.currency)
    plan_rules(config, universe.symbols, settings.now().date())  # a wrong option stops here, not inside a run
    session = due_session(settings.now())
    print_header(console, settings.paths, settings.as_of)
    print_wrong_filters(settings.channels, universe, console)
    settings.paths.root.mkdir(parents=True, exist_ok=True)
    must_lock(settings.paths.root)
    must_link(settings.paths.root)
    with shown_on(console) as progress, _quiet(), opened_instance(settings.paths) as instance:
        # Before any run of this refresh can end: what ended earlier is no news.
        begin_outbox(settings.paths, instance)
        note_what_is_missing(settings.paths)  # a further session would take the flags away
        fail_dead_runs(instance, settings.paths)
        sweep(settings.paths.root)  # what a killed verification left
        ours = {"progress": progress, "dbt": dbt or DbtRunner(settings.paths.dbt, settings.dbt_environment())}
        definitions = build_definitions(
            settings,
            resources={name: dg.ResourceDefinition.hardcoded_resource(value) for name, value in ours.items()},
        )
        job = definitions.resolve_job_def("refresh")
        gc.freeze()  # what is loaded stays until the command ends: nobody looks for garbage among it
        fetched = _run(
            "fetch", job, instance, INGESTED, {"ops": {"ingest": {"config": config.model_dump(exclude_none=True)}}}
        )
        built = None
        if fetched.success and not is_current(settings.paths):
            rest = sorted(set(job.asset_layer.executable_asset_keys) - set(INGESTED))
            built = _run("build and check", job, instance, rest, {})
        elif fetched.success and (behind := copies_behind(settings)):
            keys = sorted(step.key for copy in behind for step in copy.steps)
            built = _run(f"publish to {' and '.join(copy.name for copy in behind)}", job, instance, keys, {})
        last = built or fetched
        if last.success and not (config.symbols or config.start or config.end):
            # The schedule need not do it again.
            instance.add_run_tags(last.run_id, {SESSION: session.isoformat()})
        report = _deliver(console, settings.paths, settings.receivers, instance)
        for line in remove_old(settings, instance):
            console.print(f"[yellow]warning[/] {escape(line)}", highlight=False, soft_wrap=True)
    for result in filter(None, (fetched, built)):
        _print_outcome(console, settings, universe, result)
    success = fetched.success and (built is None or built.success)
    if success or (built is not None and _only_copies_failed(built)):
        print_new_events(console, settings, rebuilt=built is not None and _published(built))
    if report:
        _print_alerts(console, bool(settings.channels), report)
    return success


def is_current(home: Home) -> bool:
    """Whether the published version was made from exactly what is there now, and the market checks have seen it."""
    from orchestration.ingest.lake import Lake
    from orchestration.transform.fingerprint import fingerprint

    manifest = current_manifest(home.published)
    if manifest is None or evaluated_version(home) != manifest.version:
        return False
    # Views name files by where they were published: a home that was moved is published again.
    if not is_in_place(home.published, manifest):
        return False
    if not is_whole(version_folder(home.published, manifest.version)):
        return False
    return manifest.fingerprint == fingerprint(Lake(home.lake), home.reference, DBT_PROJECT_DIR)


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


def _deliver(console: Console, home: Home, receivers: Receivers, instance: dg.DagsterInstance) -> Report | None:
    """Send what is pending; nothing that goes wrong here is a reason to fail a refresh."""
    try:
        return deliver(home, receivers, instance, everything=True)
    except (OSError, sqlite3.Error) as error:
        console.print(f"[yellow]warning[/] alerts: {escape(str(error))}; they will be sent with the next refresh")
        return None


def _print_alerts(console: Console, has_channels: bool, report: Report) -> None:
    for outcome in report.outcomes:
        console.print(f"Alerts:         {escape(outcome.text)}", highlight=False)
    if report.events and not has_channels:
        console.print(f"Alerts:         {report.events} noted; to have them sent, set OREWATCH_ALERTS")


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
            _print_remediation(console, settings, result, evaluation)
    if not result.success:
        for event in result.all_events:
            if event.is_step_failure and getattr(event.step_failure_data.error, "cls_name", None) != CHECK_FAILED:
                console.print(f"[bold red]failed[/] {event.step_key}: {escape(cause(event))}", soft_wrap=True)
        if _only_copies_failed(result):
            console.print("Readers there keep the last version that they have; the next refresh tries again.")
        elif _published(result):
            console.print("Readers see the new version. The run's log is in the web UI: orewatch dev", soft_wrap=True)
        else:
            # A fetch in which nothing arrived has built nothing that could be withheld: the lines above say it all.
            known = " What stopped it: orewatch status." if BuildState.load(settings.paths.build_state).blocked else ""
            console.print(
                f"{_kept(settings.paths)}{known} The run's log is in the web UI: orewatch dev", soft_wrap=True
            )


def _kept(home: Home) -> str:
    manifest = current_manifest(home.published)
    if manifest is None:
        return "Nothing has been published yet, and nothing is now."
    return f"Readers keep the last published version: {manifest.version} of {manifest.published_at}."


def _print_offenders(console: Console, evaluation: dg.AssetCheckEvaluation) -> None:
    records = offenders(evaluation)
    for record in records[:5]:
        values = ", ".join(str(v) for v in record.values() if v is not None)
        console.print("  " + escape(values), highlight=False)
    if len(records) > 5:
        console.print(f"  and {len(records) - 5} more")


def _print_remediation(
    console: Console, settings: Settings, result: dg.ExecuteInProcessResult, evaluation: dg.AssetCheckEvaluation
) -> None:
    """What to do next: about symbols that did not arrive, and about whatever stopped the run."""
    lines = []
    if evaluation.check_name == FETCH_OUTCOME:
        statuses = [str(record["error"]) for record in offenders(evaluation)]
        lines = after_fetch(settings.paths, settings.seeds, settings.files, statuses)
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
