"""Running the real job in a test, and looking at what it published."""

import datetime as dt
import io
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console

from orchestration.assets.ingest import RefreshConfig
from orchestration.build import build_definitions
from orchestration.refresh import run_refresh
from orchestration.report import print_status
from orchestration.settings import Settings
from orchestration.storage.warehouse import rows


def run_job(settings: Settings, resources: dict[str, Any] | None = None, **config: Any) -> dg.ExecuteInProcessResult:
    """The job `refresh`, in this process, on an instance of its own."""
    definitions = build_definitions(settings, resources)
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("refresh").execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={
                "ops": {"ingest": {"config": config}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )


def refresh_and_read(settings: Settings) -> tuple[bool, str]:
    """A refresh as the command line runs it: whether it succeeded, and what it said, in long lines."""
    said = io.StringIO()
    success = run_refresh(settings, RefreshConfig(), Console(file=said, width=1000))
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


def published(settings: Settings, sql: str, *parameters: Any) -> list[dict[str, Any]]:
    """Rows of the version that readers see now."""
    return rows(settings.published_file, sql, list(parameters))


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """Check evaluations by check name."""
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def steps(result: dg.ExecuteInProcessResult, kind: str) -> set[str]:
    """Step keys with an event of this kind, such as STEP_SUCCESS, STEP_SKIPPED or STEP_FAILURE."""
    return {str(e.step_key) for e in result.all_events if e.event_type_value == kind}


def write_seeds(folder: Path, **files: str) -> Path:
    """A folder of seeds: the shipped ones, with some files replaced by the given text."""
    from orchestration.settings import DBT_PROJECT_DIR

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
