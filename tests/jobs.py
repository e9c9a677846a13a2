"""Running the real job in a test, and looking at what it published."""

import atexit
import datetime as dt
import io
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console

from orchestration.build import build_definitions
from orchestration.cli.refresh import run_refresh
from orchestration.cli.status import print_status
from orchestration.duckdb_io import rows
from orchestration.ingest.assets import RefreshConfig, plan_rules
from orchestration.ingest.lake import Lake
from orchestration.ingest.reference import reference_tables, store_reference
from orchestration.ingest.run import ingest
from orchestration.instance.progress import ProgressReporter, silent_progress
from orchestration.market.calendar import closed_sessions_of
from orchestration.market.contracts import contracts_among
from orchestration.market.universe import load_universe
from orchestration.publish.marts import marts
from orchestration.publish.versions import publish
from orchestration.resources import make_source
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.transform.fingerprint import fingerprint
from tests.compiled_dbt import CompiledDbt
from tests.models_sql import build_models


@cache
def forgetful_instance() -> dg.DagsterInstance:
    """One instance that stores no events: the result of a job has them all, and storing costs more than the tables."""
    instance = dg.DagsterInstance.ephemeral()
    atexit.register(instance.dispose)
    log: Any = instance.event_log_storage
    log.store_event = lambda event: None
    log.get_asset_records = lambda asset_keys=None: []
    log.fetch_observations = lambda *_, **__: dg.EventRecordsResult([], "", has_more=False)
    return instance


def resources_of(settings: Settings, real_dbt: bool = False) -> dict[str, Any]:
    """What a job is given here: the compiled models in this process in the place of dbt, unless dbt is the subject."""
    return {} if real_dbt else {"dbt": dg.ResourceDefinition.hardcoded_resource(CompiledDbt(settings))}


def resolved(definitions: dg.Definitions, job: str = "refresh") -> dg.JobDefinition:
    """A job of them, resolved beside an instance that lives.

    Dagster asks the instance that was opened last in this process, also one that has gone since, and then fails.
    """
    with dg.DagsterInstance.ephemeral():
        return definitions.resolve_job_def(job)


def run_job(
    settings: Settings, resources: dict[str, Any] | None = None, real_dbt: bool = False, **config: Any
) -> dg.ExecuteInProcessResult:
    """The job `refresh`, in this process."""
    definitions = build_definitions(settings, resources_of(settings, real_dbt) | (resources or {}))
    return resolved(definitions).execute_in_process(
        instance=forgetful_instance(),
        raise_on_error=False,
        run_config={
            "ops": {"ingest": {"config": config}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
    )


def publish_tables(settings: Settings) -> None:
    """What the job makes of a source's bars, published: without Dagster, and so without checks, alerts and brief."""
    universe, lake, now = load_universe(settings.seeds, settings.currency), Lake(settings.paths.lake), settings.now()
    lake.prepare()
    source = make_source(settings, universe)
    rules = plan_rules(RefreshConfig(), [], now.date())
    report = ingest(universe, source, settings.source, lake, now, rules)
    calendars = [instrument.calendar for instrument in universe.instruments]
    sessions = closed_sessions_of(calendars, now, report.unlisted)
    contracts = contracts_among(lake.latest_statuses(), universe.instruments)
    tables = reference_tables(universe, sessions, lake.price_bases(), contracts=contracts)
    store_reference(settings.paths.reference, tables)
    settings.paths.warehouse.unlink(missing_ok=True)
    build_models(settings.paths.root, settings.paths.warehouse, source=settings.source)
    made_from = fingerprint(lake, settings.paths.reference, DBT_PROJECT_DIR)
    publish(settings.paths.warehouse, marts(), settings.paths.published, made_from, settings.source, settings.simulated)


def refresh(settings: Settings, console: Console | None = None, real_dbt: bool = False) -> bool:
    """A refresh as the command line runs it; returns whether it succeeded."""
    return run_refresh(settings, RefreshConfig(), console, None if real_dbt else CompiledDbt(settings))


def refresh_and_read(settings: Settings, real_dbt: bool = False) -> tuple[bool, str]:
    """The same: whether it succeeded, and what it said, in long lines."""
    said = io.StringIO()
    success = refresh(settings, Console(file=said, width=1000), real_dbt)
    return success, said.getvalue()


def read_status(settings: Settings) -> str:
    """What `orewatch status` says, in long lines."""
    said = io.StringIO()
    print_status(settings, Console(file=said, width=1000))
    return said.getvalue()


def asset_graph(settings: Settings) -> Any:
    """Assets and checks of the code location; resolved beside an instance, as Dagster asks for one that lives."""
    with dg.DagsterInstance.ephemeral():
        return build_definitions(settings).resolve_asset_graph()


def rebuild(
    settings: Settings, scratch: Any, progress: ProgressReporter = silent_progress, with_tests: bool = False
) -> Path:
    """What `orewatch verify` and `orewatch as-of` build, as `orchestration.cli.rebuild.build_tables`, without dbt."""

    def built(model: str) -> None:
        progress(0, 0, f"rebuilt {model}")

    build_models(settings.paths.root, settings.paths.warehouse, source=settings.source, done=built)
    return settings.paths.warehouse


def published(settings: Settings, sql: str, *parameters: Any) -> list[dict[str, Any]]:
    """Rows of the version that readers see now."""
    return rows(settings.paths.published_file, sql, list(parameters))


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """Check evaluations by check name."""
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def steps(result: dg.ExecuteInProcessResult, kind: str) -> set[str]:
    """Step keys with an event of this kind, such as STEP_SUCCESS, STEP_SKIPPED or STEP_FAILURE."""
    return {str(e.step_key) for e in result.all_events if e.event_type_value == kind}


def write_seeds(folder: Path, **files: str) -> Path:
    """A folder of seeds: the shipped ones, some replaced by the given text; studies of other instruments are out."""
    if "instruments" in files:
        files.setdefault("event_studies", "study_id,scope,scope_value,signal,direction,threshold,note\n")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (DBT_PROJECT_DIR / "seeds").glob("*.csv"):
        (folder / path.name).write_text(files.get(path.stem, path.read_text("utf-8")), "utf-8")
    return folder


class ClockedSettings(Settings):
    """Settings whose clock stands where the test puts it."""

    moment: dt.datetime

    def now(self) -> dt.datetime:
        return self.moment


INSTRUMENTS_HEADER = (
    "symbol,source_symbol,name,asset_class,metal,tier,calendar,currency,tick_size,metal_symbol,sector_symbol,"
    "active_from\n"
)


def instrument_rows(*symbols: str) -> str:
    """An instruments.csv with plain New York funds of these symbols."""
    return INSTRUMENTS_HEADER + "".join(f"{s},{s},{s} fund,etf,silver,senior,XNYS,USD,0.01,,,\n" for s in symbols)


def small_seeds(folder: Path, *symbols: str, levels: str = "", rules: str | None = None) -> Path:
    """Seeds of a few funds, without pairs and claims, with the given level and rule rows."""
    return write_seeds(
        folder,
        instruments=instrument_rows(*symbols),
        price_levels="level_id,symbol,lower,upper,kind,active_from,note\n" + levels,
        pairs="pair_id,long_symbol,short_symbol,kind,z_threshold\n",
        move_rules="rule_id,scope,scope_value,measure,sessions,threshold,note\n"
        + (rules if rules is not None else "daily,all,,return_1d,1,0.05,\n"),
        published_claims="claim_id,published_on,publisher,symbol,measure,argument,session_date,claimed,tolerance,note\n",
    )
