"""The step that brings data in: raw bars, the quarantine, the log of fetches, and the reference tables.

All of them come from one step, because all of them come from one pass over the source.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from orchestration.asset_metadata import asked_for, tag_run
from orchestration.ingest.checks import (
    check_specs,
    delivered_as_declared,
    fetch_outcome,
    newly_quarantined,
    symbols_table,
)
from orchestration.ingest.specs import BARS, FETCHES, REJECTED_BARS, asset_specs
from orchestration.instance.progress import ProgressReporter
from orchestration.market.universe import Universe, load_universe
from orchestration.settings import Settings
from orchestration.sources.base import BarSource

if TYPE_CHECKING:
    from orchestration.ingest.lake import Lake
    from orchestration.ingest.report import IngestReport
    from orchestration.market.fetch_plan import PlanRules

# Symbols with a line of their own in the run's log; of more, about so many get one.
LOGGED_SYMBOLS = 500

# Under this name stands what a copied or restored home needed.
SET_RIGHT = "set right"


class RefreshConfig(dg.Config):
    """What to ask the source for, when it should not be what the fetch plan says."""

    symbols: list[str] = Field(
        default_factory=list,
        description="Only these symbols of instruments.csv, instead of all that need something; none: all.",
    )
    start: str | None = Field(
        default=None, description="Ask again from this date on (YYYY-MM-DD), whatever is stored; up to today or `end`."
    )
    end: str | None = Field(default=None, description="Ask again up to this date (YYYY-MM-DD); needs `start`.")
    full: bool = Field(default=False, description="Ask for the whole history of everything; not together with `start`.")


def build_ingest(
    settings: Settings,
    sources: Mapping[str, Any],
    mend_readers: Callable[[Path], list[str]],
    fill_lake: Callable[[Settings, "Lake"], int],
) -> dg.AssetsDefinition:
    """The ingest step for one source.

    Args:
        settings: name the source and its home.
        sources: what the dbt manifest says of the tables that this step writes, by dbt's unique id.
        mend_readers: mends the folder of published versions, before anything else; a line for each thing mended.
        fill_lake: fills an empty lake from the object store, if there is one; returns the number of files.
    """

    @dg.multi_asset(
        name="ingest",
        specs=asset_specs(settings.source, settings.seeds, sources),
        check_specs=check_specs(),
    )
    def ingest_step(
        context: dg.AssetExecutionContext,
        config: RefreshConfig,
        settings: dg.ResourceParam[Settings],
        bar_source: dg.ResourceParam[BarSource],
        warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001  (held while the step runs)
        progress: dg.ResourceParam[ProgressReporter],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        from orchestration.ingest.lake import Lake
        from orchestration.ingest.run import ingest

        universe, now = load_universe(settings.seeds, settings.currency), settings.now()
        window = None if bar_source.local else settings.restatement_sessions
        rules = plan_rules(config, universe.symbols, now.date(), window, settings.whole_history_days)
        lake = Lake(settings.paths.lake)
        # Readers first: whatever is wrong with the lake is no reason to keep them out.
        set_right = [*mend_readers(settings.paths.published), *lake.prepare()]
        for line in set_right:
            context.log.warning(line)
        if settings.store:
            progress(0, 0, "looking into the object store")
            context.log.info(f"{fill_lake(settings, lake)} files of the lake fetched from {settings.store}")
        tag_run(context, settings.paths, asked_for=asked_for(config.symbols, config.start, config.end, config.full))
        report = ingest(universe, bar_source, settings.source, lake, now, rules, _logging(context, progress))
        tag_run(context, settings.paths, new_bars=report.new_rows)
        for warning in report.warnings:
            context.log.warning(warning)
        yield from _reference_results(settings.paths.reference, universe, lake, now, report)
        yield from _lake_results(lake, report, settings.simulated, set_right)
        yield fetch_outcome(report)
        yield delivered_as_declared(report, settings.simulated)
        yield newly_quarantined(report)

    return ingest_step


def _logging(context: dg.AssetExecutionContext, progress: ProgressReporter) -> ProgressReporter:
    def report(done: int, total: int, line: str) -> None:
        # Every line is a row in Dagster's storage; who failed stands in the check, whatever their number.
        if done == total or done % max(1, total // LOGGED_SYMBOLS) == 0:
            context.log.info(f"[{done}/{total}] {line}")
        progress(done, total, line)

    return report


def plan_rules(
    config: RefreshConfig,
    symbols: Sequence[str],
    today: dt.date,
    restatement_sessions: int | None = None,
    whole_history_days: int = 7,
) -> "PlanRules":
    """The fetch plan's rules from the run config.

    Args:
        config: of the run.
        symbols: of the universe.
        today: the last day that a range may start at.
        restatement_sessions: see `PlanRules`; None where the source is local.
        whole_history_days: see `PlanRules`.

    Raises:
        SettingsError: a symbol is unknown or a date cannot be read; one line says which and what is allowed.
    """
    from orchestration.market.errors import SettingsError
    from orchestration.market.fetch_plan import PlanRules

    for symbol in config.symbols:
        if symbol not in symbols:
            raise SettingsError(f"symbols: '{symbol}' is unknown; allowed: {', '.join(symbols)}")
    days: dict[str, dt.date | None] = {}
    for name, value in (("start", config.start), ("end", config.end)):
        try:
            days[name] = dt.date.fromisoformat(value) if value else None
        except ValueError:
            raise SettingsError(f"{name}: '{value}' is not allowed; allowed: a date as YYYY-MM-DD") from None
    if days["end"] and not days["start"]:
        raise SettingsError("end: given without a start; allowed: both, or a start alone")
    if days["start"] and days["end"] and days["end"] < days["start"]:
        raise SettingsError(f"end: '{config.end}' is before start '{config.start}'; allowed: start <= end")
    if days["start"] and days["start"] > today:
        raise SettingsError(f"start: '{config.start}' lies in the future; allowed: a date up to today")
    if config.full and days["start"]:
        raise SettingsError("full: given with a start; allowed: one of them")
    return PlanRules(
        restatement_sessions=restatement_sessions,
        whole_history_days=whole_history_days,
        symbols=frozenset(config.symbols),
        start=days["start"],
        end=days["end"],
        full=config.full,
    )


def _reference_results(
    folder: Path, universe: Universe, lake: "Lake", now: dt.datetime, report: "IngestReport"
) -> Iterator[dg.MaterializeResult]:
    """Write the reference tables; what has not changed keeps its version, so that nothing made of it is out of date."""
    from orchestration.ingest.reference import reference_tables, still_held, store_reference
    from orchestration.market.calendar import closed_sessions_of
    from orchestration.market.contracts import contracts_among

    sessions = closed_sessions_of((i.calendar for i in universe.instruments), now, report.unlisted)
    held = still_held(folder, {r.symbol for r in report.results if r.new})
    contracts = contracts_among(lake.latest_statuses(), universe.instruments)
    tables = reference_tables(universe, sessions, lake.price_bases(), held, contracts)
    changed = store_reference(folder, tables)
    for name, table in tables.items():
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey(["control", name]),
            metadata={"dagster/row_count": table.num_rows, "changed": name in changed},
            data_version=_version([(folder / f"{name}.parquet").read_bytes()]),
        )


def _lake_results(
    lake: "Lake", report: "IngestReport", simulated: bool, set_right: list[str]
) -> Iterator[dg.MaterializeResult]:
    files = {
        dataset: [f"{path}:{size}" for path, size in lake.files() if path.startswith(f"{dataset}/")]
        for dataset in ("bars", "rejected_bars")
    }
    yield dg.MaterializeResult(
        asset_key=BARS,
        data_version=_version(line.encode() for line in files["bars"]),
        metadata={
            "simulated": simulated,
            "batch_id": report.batch_id or "none: nothing had to be asked for",
            "new_rows": report.new_rows,
            **lake.facts("bars"),
            **({SET_RIGHT: "\n".join(set_right)} if set_right else {}),
            "symbols": symbols_table(report),
        },
    )
    yield dg.MaterializeResult(
        asset_key=REJECTED_BARS,
        data_version=_version(line.encode() for line in files["rejected_bars"]),
        metadata={"new_rows": len(report.new_rejections), **lake.facts("rejected_bars")},
    )
    yield dg.MaterializeResult(
        asset_key=FETCHES,
        # A request that brings nothing changes nothing.
        data_version=_version(f"{s}={status}".encode() for s, status in sorted(lake.latest_statuses().items())),
        metadata={"new_rows": len(report.results), **lake.facts("fetches")},
    )


def _version(parts: Iterable[bytes]) -> dg.DataVersion:
    content = b"".join(part + b"\0" for part in parts)
    return dg.DataVersion(hashlib.sha256(content).hexdigest()[:32])
