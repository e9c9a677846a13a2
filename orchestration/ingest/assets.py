"""The assets that bring data in: raw bars, the quarantine, the log of fetches, and the control tables.

All of them come from one step, because all of them come from one pass over the source.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from orchestration.asset_metadata import OWNERS, asked_for, column_schema, links, tag_run
from orchestration.market.universe import SEED_FILES
from orchestration.settings import DBT_PROJECT_DIR, Settings

if TYPE_CHECKING:
    from orchestration.ingest.lake import Lake
    from orchestration.ingest.run import IngestReport
    from orchestration.market.fetch_plan import PlanRules

BARS = dg.AssetKey(["raw", "bars"])
REJECTED_BARS = dg.AssetKey(["raw", "rejected_bars"])
FETCHES = dg.AssetKey(["raw", "fetches"])
FETCH_OUTCOME = "fetch_outcome"
CONTROL = {
    "instruments": "What is watched; a row of instruments.csv is all it takes to add one.",
    "price_levels": "Lines and zones of as-traded prices to watch; price_levels.csv.",
    "pairs": "Instruments whose gap is watched; pairs.csv.",
    "move_rules": "When a move is large; move_rules.csv.",
    "published_claims": "What publications said, to be held against our figures; published_claims.csv.",
    "sessions": "Closed sessions of every exchange in use.",
    "held": "Whose latest bars a data test has held back from the tables.",
}

# Of the others: the page about the seed files.
DOCUMENTS = {
    "bars": "docs/architecture.md#how-a-refresh-decides-what-to-ask-for",
    "fetches": "docs/architecture.md#how-a-refresh-decides-what-to-ask-for",
    "rejected_bars": "docs/data-quality.md#rules",
    "sessions": "docs/decisions/0003-comex-sessions.md",
    "held": "docs/data-quality.md#held-back",
    "price_levels": "docs/instruments-and-levels.md#levels",
    "move_rules": "docs/instruments-and-levels.md#move-rules",
    "published_claims": "docs/instruments-and-levels.md#claims",
}

INGESTED = (BARS, REJECTED_BARS, FETCHES, *(dg.AssetKey(["control", name]) for name in CONTROL))

# Symbols with a line of their own in the run's log; of more, about so many get one.
LOGGED_SYMBOLS = 500

# Under this name stands what a copied or restored home needed.
SET_RIGHT = "set right"

# Rows of a metadata table that a person would still read.
TABLE_ROWS = 50


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
    """The ingestion step for one source.

    Args:
        settings: name the source and its home.
        sources: what the dbt manifest says of the tables that this step writes, by dbt's unique id.
        mend_readers: mends the folder of published versions, before anything else; a line for each thing mended.
        fill_lake: fills an empty lake from the object store, if there is one; returns the number of files.
    """
    simulated = "SIMULATED prices. " if settings.simulated else ""
    tags = {"source": settings.source}

    @dg.multi_asset(
        name="ingest",
        specs=[
            dg.AssetSpec(
                BARS,
                group_name="lake",
                kinds={"python", "parquet", settings.source},
                owners=OWNERS,
                tags=tags,
                description=f"{simulated}Daily bars as they were delivered, every version of each, append-only.",
                metadata=_metadata("raw", "bars", settings, sources),
            ),
            dg.AssetSpec(
                REJECTED_BARS,
                group_name="lake",
                kinds={"python", "parquet"},
                owners=OWNERS,
                tags=tags,
                description="Delivered rows that were rejected or lost their range, each with the rule it broke.",
                metadata=_metadata("raw", "rejected_bars", settings, sources),
            ),
            dg.AssetSpec(
                FETCHES,
                group_name="lake",
                kinds={"python", "parquet"},
                owners=OWNERS,
                tags=tags,
                description="What was asked of the source for each symbol, and how it ended.",
                metadata=_metadata("raw", "fetches", settings, sources),
            ),
            *(
                dg.AssetSpec(
                    dg.AssetKey(["control", name]),
                    group_name="sources",
                    owners=OWNERS,
                    kinds={"python", "csv"} if name in SEED_FILES else {"python", "parquet"},
                    tags=tags,
                    description=description,
                    metadata=_metadata("control", name, settings, sources),
                )
                for name, description in CONTROL.items()
            ),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                FETCH_OUTCOME,
                asset=BARS,
                blocking=True,
                description="Every symbol was delivered. Some failing is a warning; nothing arriving stops the run."
                " What to do: docs/runbook.md#fetch_outcome",
            ),
            dg.AssetCheckSpec(
                "delivered_as_declared",
                asset=BARS,
                description="The source names the currency of instruments.csv and has no note about what it brought."
                " What to do: docs/runbook.md#delivered_as_declared",
            ),
            dg.AssetCheckSpec(
                "newly_quarantined",
                asset=REJECTED_BARS,
                description="No row of this batch had to be rejected or stripped of its range."
                " What to do: docs/runbook.md#newly_quarantined",
            ),
        ],
        required_resource_keys={"settings", "bar_source", "warehouse_lock", "progress"},
    )
    def ingest_step(
        context: dg.AssetExecutionContext, config: RefreshConfig
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        from orchestration.ingest.lake import Lake
        from orchestration.ingest.reference import control_tables, still_held, store_control
        from orchestration.ingest.run import ingest
        from orchestration.market.calendar import closed_sessions_of
        from orchestration.market.universe import load_universe

        current: Settings = context.resources.settings
        universe = load_universe(current.seeds)
        rules = plan_rules(config, current, universe.symbols, local=context.resources.bar_source.local)
        lake = Lake(current.paths.lake)
        # Readers first: whatever is wrong with the lake is no reason to keep them out.
        set_right = mend_readers(current.paths.published)
        set_right += lake.prepare()
        for line in set_right:
            context.log.warning(line)
        if current.store:
            context.resources.progress(0, 0, "looking into the object store")
            context.log.info(f"{fill_lake(current, lake)} files of the lake fetched from {current.store}")
        now = current.now()
        tag_run(context, current, asked_for=asked_for(config.symbols, config.start, config.end, config.full))

        def report_progress(done: int, total: int, line: str) -> None:
            # Every line is a row in Dagster's storage; who failed stands in the check, whatever their number.
            if done == total or done % max(1, total // LOGGED_SYMBOLS) == 0:
                context.log.info(f"[{done}/{total}] {line}")
            context.resources.progress(done, total, line)

        report = ingest(universe, context.resources.bar_source, current.source, lake, now, rules, report_progress)
        tag_run(context, current, new_bars=report.new_rows)
        for warning in report.warnings:
            context.log.warning(warning)
        calendars = [instrument.calendar for instrument in universe.instruments]
        held = still_held(current.paths.reference, {r.symbol for r in report.results if r.new})
        sessions = closed_sessions_of(calendars, now, report.unlisted)
        tables = control_tables(universe, sessions, lake.price_bases(), held)
        changed = store_control(current.paths.reference, tables)

        # What has not changed keeps its version: the tables made of it are not out of date.
        for name, table in tables.items():
            yield dg.MaterializeResult(
                asset_key=dg.AssetKey(["control", name]),
                metadata={"dagster/row_count": table.num_rows, "changed": name in changed},
                data_version=_version([(current.paths.reference / f"{name}.parquet").read_bytes()]),
            )
        files = {name: f"{name}:{size}".encode() for name, size in lake.files()}
        bars, rejected = (
            _version([said for name, said in files.items() if name.startswith(f"{dataset}/")])
            for dataset in ("bars", "rejected_bars")
        )
        yield dg.MaterializeResult(
            asset_key=BARS,
            data_version=bars,
            metadata={
                "simulated": current.simulated,
                "batch_id": report.batch_id or "none: nothing had to be asked for",
                "new_rows": report.new_rows,
                **lake.facts("bars"),
                **({SET_RIGHT: "\n".join(set_right)} if set_right else {}),
                "symbols": _symbols_table(report),
            },
        )
        yield dg.MaterializeResult(
            asset_key=REJECTED_BARS,
            data_version=rejected,
            metadata={"new_rows": len(report.new_rejections), **lake.facts("rejected_bars")},
        )
        yield dg.MaterializeResult(
            asset_key=FETCHES,
            # Asking again and finding nothing changes nothing.
            data_version=_version([f"{s}={status}".encode() for s, status in sorted(lake.latest_statuses().items())]),
            metadata={"new_rows": len(report.results), **lake.facts("fetches")},
        )
        yield _fetch_outcome(report)
        yield _delivered_as_declared(report, {i.symbol: i.currency for i in universe.instruments}, current.simulated)
        yield _newly_quarantined(report)

    return ingest_step


def _version(parts: Iterable[bytes]) -> dg.DataVersion:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part + b"\0")
    return dg.DataVersion(digest.hexdigest()[:32])


def _metadata(folder: str, name: str, settings: Settings, sources: Mapping[str, Any]) -> dict[str, Any]:
    """Columns and links of a table that ingestion writes; a seed's first file is the one that users edit."""
    source = sources[f"source.orewatch.{folder}.{name}"]
    seed = settings.seeds / f"{name}.csv"
    code = (Path(__file__), DBT_PROJECT_DIR / source["original_file_path"])
    document = DOCUMENTS.get(name, "docs/instruments-and-levels.md#the-files")
    is_seed = folder == "control" and name in SEED_FILES
    return column_schema(source["columns"]) | links(document, *((seed, *code) if is_seed else code))


def plan_rules(config: RefreshConfig, settings: Settings, symbols: tuple[str, ...], local: bool) -> "PlanRules":
    """The fetch plan's rules from the run config.

    Raises:
        SettingsError: a symbol is unknown or a date cannot be read; one line says which and what is allowed.
    """
    import datetime as dt

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
    if days["start"] and days["start"] > settings.now().date():
        raise SettingsError(f"start: '{config.start}' lies in the future; allowed: a date up to today")
    if config.full and days["start"]:
        raise SettingsError("full: given with a start; allowed: one of them")
    return PlanRules(
        restatement_sessions=None if local else settings.restatement_sessions,
        whole_history_days=settings.whole_history_days,
        symbols=frozenset(config.symbols),
        start=days["start"],
        end=days["end"],
        full=config.full,
    )


def _fetch_outcome(report: "IngestReport") -> dg.AssetCheckResult:
    failures = report.failures
    nothing_arrived = bool(report.results) and all(r.status != "ok" for r in report.results)
    if nothing_arrived and not failures:
        summary = "the drop folder has no file for any watched symbol"
    else:
        summary = f"{len(failures)} of {len(report.results)} symbols failed"
    return dg.AssetCheckResult(
        check_name=FETCH_OUTCOME,
        asset_key=BARS,
        passed=not failures and not nothing_arrived,
        severity=dg.AssetCheckSeverity.ERROR if nothing_arrived else dg.AssetCheckSeverity.WARN,
        description=summary,
        metadata={
            "failed": dg.MetadataValue.table(
                [dg.TableRecord({"symbol": r.symbol, "error": str(r.status), "detail": r.detail}) for r in failures]
            )
        }
        if failures
        else {},
    )


def _delivered_as_declared(report: "IngestReport", declared: dict[str, str], simulated: bool) -> dg.AssetCheckResult:
    """Symbols in another currency than instruments.csv says, and what the source noted about those it delivered."""
    # The simulated source labels every delivery; that it is simulated is no news.
    rows = [(r, "" if simulated else r.note) for r in report.results if r.status == "ok"]
    other = [r.symbol for r, _ in rows if r.currency not in (None, declared[r.symbol])]
    offenders = [(r, note) for r, note in rows if note or r.symbol in other]
    return dg.AssetCheckResult(
        check_name="delivered_as_declared",
        asset_key=BARS,
        passed=not offenders,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(other)} symbols in another currency than instruments.csv says,"
        f" {sum(bool(note) for _, note in offenders)} with a note",
        metadata={
            "symbols": dg.MetadataValue.table(
                [
                    dg.TableRecord(
                        {
                            "symbol": r.symbol,
                            "delivered currency": r.currency or "",
                            "declared currency": declared[r.symbol],
                            "note": note,
                        }
                    )
                    for r, note in offenders
                ]
            )
        }
        if offenders
        else {},
    )


def _newly_quarantined(report: "IngestReport") -> dg.AssetCheckResult:
    rows = report.new_rejections
    return dg.AssetCheckResult(
        check_name="newly_quarantined",
        asset_key=REJECTED_BARS,
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(rows)} rows of this batch are new in the quarantine",
        metadata={
            "rows": dg.MetadataValue.table(
                [
                    dg.TableRecord(
                        {
                            "symbol": symbol,
                            "session": str(day or ""),
                            "rule": rule,
                            "severity": severity,
                            "detail": detail,
                        }
                    )
                    for symbol, day, rule, severity, detail in rows[-TABLE_ROWS:]
                ]
            )
        }
        if rows
        else {},
    )


def _symbols_table(report: "IngestReport") -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "symbol": r.symbol,
                    "asked because": r.reason,
                    "status": str(r.status),
                    "delivered": r.delivered,
                    "new": r.new,
                    "rebased": r.rebased,
                    "rejected": r.rejected,
                    "demoted": r.demoted,
                    "held back": r.held_back,
                }
            )
            for r in report.results
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn(name, "string" if name in ("symbol", "asked because", "status") else "int")
                for name in (
                    "symbol",
                    "asked because",
                    "status",
                    "delivered",
                    "new",
                    "rebased",
                    "rejected",
                    "demoted",
                    "held back",
                )
            ]
        ),
    )
