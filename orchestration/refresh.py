"""One refresh from the command line: the Dagster job in this process, with progress, ending in what was flagged."""

import contextlib
import io
import logging
import sqlite3
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from orchestration.alerts.data import cause
from orchestration.alerts.deliver import Report, open_journal, tell
from orchestration.assets.ingest import INGESTED, RefreshConfig, plan_rules
from orchestration.build import build_definitions
from orchestration.checks.flags import evaluated_version
from orchestration.checks.market import check_groups
from orchestration.instance import fail_dead_runs, prepare_instance, process_tags
from orchestration.market.universe import Universe, load_universe
from orchestration.report import print_flags, print_header
from orchestration.resources import ProgressReporter
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.storage.publish import current_manifest

# Where there is no terminal to draw a bar on.
SECONDS_BETWEEN_LINES = 5.0


def run_refresh(settings: Settings, config: RefreshConfig, console: Console | None = None) -> bool:
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
    print_header(console, settings)
    prepare_instance(settings)
    with _progress(console) as progress, _quiet(), dg.DagsterInstance.get() as instance:
        # Before any run of this refresh can end: what ended earlier is no news.
        open_journal(settings)
        fail_dead_runs(instance)
        definitions = build_definitions(
            settings, resources={"progress": dg.ResourceDefinition.hardcoded_resource(progress)}
        )
        job = definitions.resolve_job_def("refresh")
        fetched = _run(
            "fetch", job, instance, INGESTED, {"ops": {"ingest": {"config": config.model_dump(exclude_none=True)}}}
        )
        built = None
        if fetched.success and not is_current(settings):
            rest = sorted(set(job.asset_layer.executable_asset_keys) - set(INGESTED))
            built = _run("build and check", job, instance, rest, {})
        told = _tell(console, settings, instance)
    for result in filter(None, (fetched, built)):
        _print_outcome(console, universe, result)
    success = fetched.success and (built is None or built.success)
    if success:
        print_flags(console, settings, rebuilt=built is not None)
    if told:
        _print_alerts(console, settings, told)
    return success


def is_current(settings: Settings) -> bool:
    """Whether the published version was made from exactly what is there now, and the market checks have seen it."""
    from orchestration.storage.fingerprint import fingerprint
    from orchestration.storage.lake import Lake

    manifest = current_manifest(settings.published_dir)
    if manifest is None or evaluated_version(settings) != manifest.version:
        return False
    return manifest.fingerprint == fingerprint(Lake(settings.lake_dir), settings.control_dir, DBT_PROJECT_DIR)


def _run(
    part: str,
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    run_config: dict[str, Any],
) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        asset_selection=list(keys),
        run_config={**run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={"part": part, **process_tags()},
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
def _progress(console: Console) -> Iterator[ProgressReporter]:
    """Something that shows how far it is: a bar on a terminal, a line now and then where there is none."""
    if not console.is_terminal:
        yield _lines_now_and_then(console)
        return
    with Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        # It may hold what a source said: no markup.
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total, line: bar.update(task, description=line, completed=done, total=total or None)


def _lines_now_and_then(console: Console) -> ProgressReporter:
    shown_at = time.monotonic()

    def report(done: int, total: int, line: str) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= SECONDS_BETWEEN_LINES:
            shown_at = time.monotonic()
            console.print(f"[{done}/{total}] {line}" if total else line, markup=False, highlight=False)

    return report


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the chatter of the libraries off the screen; the run's log in the UI has all of it."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _print_outcome(console: Console, universe: Universe, result: dg.ExecuteInProcessResult) -> None:
    stored = _metadata(result, "raw/bars", "new_rows")
    batch = _metadata(result, "raw/bars", "batch_id")
    rejected = _metadata(result, "raw/rejected_bars", "new_rows")
    if stored is not None:
        console.print(f"[bold]{stored:,}[/] bars stored, [bold]{rejected or 0:,}[/] newly quarantined (batch {batch})")
    market = {group.asset for group in check_groups(universe)}
    for evaluation in result.get_asset_check_evaluations():
        # Market checks have their own table at the end.
        if not evaluation.passed and evaluation.asset_key not in market:
            mark = (
                "[bold red]stopped by[/]"
                if evaluation.severity is dg.AssetCheckSeverity.ERROR
                else "[yellow]warning[/]"
            )
            console.print(f"{mark} {evaluation.check_name}: {escape(evaluation.description or '')}")
            _print_offenders(console, evaluation)
    if not result.success:
        for event in result.all_events:
            if event.is_step_failure:
                console.print(f"[bold red]failed[/] {event.step_key}: {escape(cause(event))}", soft_wrap=True)
        console.print("Readers keep the last published version. The run's log is in the web UI: orewatch dev")


def _print_offenders(console: Console, evaluation: Any) -> None:
    for value in evaluation.metadata.values():
        if isinstance(value, dg.TableMetadataValue):
            for record in value.records[:5]:
                console.print(
                    "  " + escape(", ".join(str(v) for v in record.data.values() if v is not None)), highlight=False
                )
            if len(value.records) > 5:
                console.print(f"  and {len(value.records) - 5} more")


def _metadata(result: dg.ExecuteInProcessResult, asset: str, name: str) -> Any:
    for event in result.get_asset_materialization_events():
        if event.asset_key and event.asset_key.to_user_string() == asset:
            value = event.materialization.metadata.get(name)
            return None if value is None else value.value
    return None
