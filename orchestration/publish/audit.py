"""Data checks between the build and the publication: what dbt tests cannot know.

A failure with severity ERROR stops the publication and readers keep the last good version. What is wrong with one
instrument only is a warning: it must not withhold the others from the reader.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.home import Home
from orchestration.publish.audit_queries import (
    BROKEN_FEED_SESSIONS,
    BROKEN_FEED_SHARE,
    BROKEN_FEEDS,
    FOREIGN_ROWS,
    FRESHEST,
    GAPS,
    HELD_BACK,
    LARGE_CORRECTIONS,
    LOST_SESSIONS,
    NEW_TO_READERS,
    STALE,
    SUSPECTS,
)
from orchestration.settings import Settings

DAILY_BARS = dg.AssetKey("daily_bars")
COVERAGE = dg.AssetKey("data_coverage")
REVISIONS = dg.AssetKey("price_revisions")

# A live exchange whose every instrument is this many expected sessions behind has no feed any more. One session may
# merely be late.
STALE_SESSIONS = 2

# Rows of a table that a person would still read.
CORRECTIONS_SHOWN = 50


def _spec(name: str, asset: dg.AssetKey, description: str, blocking: bool = False) -> dg.AssetCheckSpec:
    described = f"{description} What to do: docs/runbook.md#{name}"
    return dg.AssetCheckSpec(name, asset=asset, blocking=blocking, description=described)


DATA_CHECKS = (
    _spec(
        "one_source_only",
        DAILY_BARS,
        "Every bar comes from the source of this warehouse; simulated and real prices never mix.",
        blocking=True,
    ),
    _spec(
        "no_session_lost",
        COVERAGE,
        "No session that readers see now is gone, of those that its exchange calendar, source symbol and active_from of"
        " today still ask for.",
        blocking=True,
    ),
    _spec(
        "fresh",
        COVERAGE,
        "Every instrument has the latest closed session that its exchange expects a bar for; else a warning. An error"
        f" when every one of two or more instruments of an exchange is {STALE_SESSIONS} or more such sessions behind"
        " and the source is live (sample, yahoo), or when nothing at all is stored.",
        blocking=True,
    ),
    _spec(
        "nothing_held_back",
        COVERAGE,
        "The latest bars of every instrument passed the data tests. Those that did not are held back, and the tables"
        " are built without them.",
    ),
    _spec(
        "calendars_known",
        COVERAGE,
        "The calendar of every exchange in use is recorded for the next three months. Past its end every weekday is"
        " asked for, bars are kept and marked unlisted_session, and holes cannot be told.",
    ),
    _spec("no_gaps", COVERAGE, "Every expected session between the first and the latest is there."),
    _spec(
        "feeds_sound",
        DAILY_BARS,
        "Open, high and low of each instrument agree with its closes: lately, and on the whole.",
    ),
    _spec(
        "bars_plausible",
        DAILY_BARS,
        "Nothing speaks against a stored bar; the rules are in docs/data-quality.md. Such a bar is used all the same"
        " and marked in daily_bars, but for one in another unit, which is withheld.",
    ),
    _spec(
        "no_large_corrections",
        REVISIONS,
        "Since the published version the vendor has corrected no price and no dividend by as much as the rules"
        " price_correction of move_rules.csv say. A new basis is no correction.",
    ),
)


def build_data_checks() -> dg.AssetChecksDefinition:
    """All data checks, in one step."""

    @dg.multi_asset_check(
        name="data_checks",
        specs=DATA_CHECKS,
        can_subset=True,
        required_resource_keys={"settings", "warehouse_lock"},
    )
    def data_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        settings: Settings = context.resources.settings
        results = evaluate(settings.paths, settings.source, settings.now().date())
        # Before Dagster hears of it: the publication that it then starts reads the record.
        record_audit(settings, results)
        for result in results:
            if _key(result) in context.selected_asset_check_keys:
                yield with_what_readers_keep(settings.paths.published, result)

    return data_checks


def evaluate(home: Home, source: str, today: dt.date) -> list[dg.AssetCheckResult]:
    """All data checks of the warehouse, beside the version that readers see now."""
    from orchestration.duckdb_io import query, reading
    from orchestration.publish.manifest import table_sql

    published = {"published": home.published_file} if home.published_file.exists() else None

    def of_readers(sql: str) -> str:
        # A home that was moved heals by a refresh, in which this is asked: the views look elsewhere.
        for name in ("daily_bars", "price_revisions"):
            sql = sql.replace(f"published.{name} ", f"{table_sql(home.published, name, 'published')} ")
        return sql

    with reading(home.warehouse, published) as warehouse:
        foreign = query(warehouse, FOREIGN_ROWS, [source])
        lost = query(warehouse, of_readers(LOST_SESSIONS)) if published else []
        freshest, stale, gaps, held = (query(warehouse, sql) for sql in (FRESHEST, STALE, GAPS, HELD_BACK))
        broken = query(warehouse, BROKEN_FEEDS, {"recent": BROKEN_FEED_SESSIONS, "share": BROKEN_FEED_SHARE})
        corrected = query(warehouse, LARGE_CORRECTIONS.format(new=of_readers(NEW_TO_READERS) if published else ""))
        suspects = query(warehouse, SUSPECTS)
    warning = dg.AssetCheckSeverity.WARN
    return [
        _result(DAILY_BARS, "one_source_only", foreign, "foreign sources"),
        _result(COVERAGE, "no_session_lost", lost, "instruments lost sessions"),
        _freshness(source, freshest, stale),
        _result(COVERAGE, "nothing_held_back", held, "instruments are held back", warning),
        _calendars(today, [row["calendar"] for row in freshest]),
        _result(COVERAGE, "no_gaps", gaps, "instruments have gaps", warning),
        _result(DAILY_BARS, "feeds_sound", broken, "feeds are broken", warning),
        _corrections(corrected),
        _result(DAILY_BARS, "bars_plausible", suspects, "kinds of suspect bars", warning),
    ]


def _key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    assert result.asset_key is not None  # noqa: S101  (all of ours name their asset)
    assert result.check_name is not None  # noqa: S101
    return dg.AssetCheckKey(result.asset_key, result.check_name)


def record_audit(settings: Settings, results: Sequence[dg.AssetCheckResult]) -> None:
    """Note which build passed; no error, and a whole build, or no note. What stopped it is noted for `status`."""
    from orchestration.transform.build_state import read_record, remove_records, write_reason, write_record

    built = read_record(settings.paths.build_record)
    stopped = [r for r in results if stops(r)]
    if stopped or built is None:
        remove_records(settings.paths.audit_record)
    else:
        write_record(settings.paths.audit_record, built)
    if stopped:
        write_reason(settings.paths.withheld_record, "; ".join(f"{r.check_name}: {r.description}" for r in stopped))


def stops(result: dg.AssetCheckResult) -> bool:
    """Whether a result withholds the build from readers."""
    return not result.passed and result.severity is dg.AssetCheckSeverity.ERROR


def with_what_readers_keep(published: Path, result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    """A result that stops the publication says which version readers stay on."""
    if not stops(result):
        return result
    from orchestration.publish.manifest import current_manifest

    manifest = current_manifest(published)
    kept = f"version {manifest.version} of {manifest.published_at}" if manifest else "nothing: there is no version yet"
    return result._replace(metadata={**result.metadata, "readers_keep": dg.MetadataValue.text(kept)})


def dead_exchanges(source: str, freshest: Sequence[dict[str, Any]]) -> list[str]:
    """Exchanges of a live source whose every instrument is behind; a drop folder is as old as its files.

    Args:
        source: its name.
        freshest: rows of `FRESHEST`.
    """
    if source == "files":
        return []
    return [row["calendar"] for row in freshest if row["instruments"] > 1 and (row["behind"] or 0) >= STALE_SESSIONS]


def _freshness(source: str, freshest: Sequence[dict[str, Any]], stale: list[dict[str, Any]]) -> dg.AssetCheckResult:
    """The check `fresh`; what it does is in its specification."""
    dead = dead_exchanges(source, freshest)
    if not freshest:
        description = "nothing at all is stored"
    elif not stale:
        description = "no instruments are behind"
    else:
        description = f"{len(stale)} instruments are behind"
    if dead:
        description += f"; every one of {', '.join(dead)} by {STALE_SESSIONS} sessions or more"
    return dg.AssetCheckResult(
        asset_key=COVERAGE,
        check_name="fresh",
        passed=bool(freshest) and not stale,
        severity=dg.AssetCheckSeverity.ERROR if dead or not freshest else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=offenders_table(stale),
    )


def _calendars(today: dt.date, calendars: Sequence[str]) -> dg.AssetCheckResult:
    """The check `calendars_known`."""
    from orchestration.market.calendar import running_out

    found = running_out(calendars, today)
    ends = [{"calendar": name, "recorded_until": last} for name, last in found.items()]
    return _result(COVERAGE, "calendars_known", ends, "calendars end soon or have ended", dg.AssetCheckSeverity.WARN)


def _corrections(found: list[dict[str, Any]]) -> dg.AssetCheckResult:
    """The check `no_large_corrections`; each is told once, as long as publications follow."""
    bars = {(row["symbol"], row["session"]) for row in found}
    return dg.AssetCheckResult(
        asset_key=REVISIONS,
        check_name="no_large_corrections",
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"the vendor corrected {len(bars)} bars" if found else "no large corrections",
        metadata=offenders_table(found[:CORRECTIONS_SHOWN]),
    )


def _result(
    asset: dg.AssetKey,
    name: str,
    offenders: list[dict[str, Any]],
    what: str,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=not offenders,
        severity=severity,
        description=f"{len(offenders)} {what}" if offenders else f"no {what}",
        metadata=offenders_table(offenders),
    )


def offenders_table(offenders: list[dict[str, Any]], without: Sequence[str] = ()) -> dict[str, Any]:
    """Offenders as a metadata table whose cells are readable as they stand, less the columns `without`."""
    if not offenders:
        return {}
    return {
        "offenders": dg.MetadataValue.table(
            [
                dg.TableRecord({name: _cell(value) for name, value in row.items() if name not in without})
                for row in offenders
            ]
        )
    }


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return round(value, 6) if isinstance(value, float) else str(value)
