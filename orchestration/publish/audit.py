"""Data checks between the build and the publication: what dbt tests cannot know.

A failure with severity ERROR stops the publication and readers keep the last good version. What is wrong with one
instrument only is a warning: it must not withhold the others from the reader.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from orchestration.publish.gate import note_audit, stops
from orchestration.settings import Settings

DAILY_BARS = dg.AssetKey("daily_bars")
COVERAGE = dg.AssetKey("data_coverage")
REVISIONS = dg.AssetKey("price_revisions")

# A live exchange whose every instrument is this many expected sessions behind has no feed any more. One session may
# merely be late.
STALE_SESSIONS = 2

# Rows of a table that a person would still read.
CORRECTIONS_SHOWN = 50


@dataclass(frozen=True)
class DataCheck:
    """One check: what it is about, in words for people, and what its offenders are called. Those that block stop."""

    asset: dg.AssetKey
    description: str
    offenders: str
    blocks: bool = False


DATA_CHECKS = {
    "one_source_only": DataCheck(
        DAILY_BARS,
        "Every bar comes from the source of this warehouse; simulated and real prices never mix.",
        "foreign sources",
        blocks=True,
    ),
    "no_session_lost": DataCheck(
        COVERAGE,
        "No session that readers see now is gone, of those that its exchange calendar, source symbol and active_from of"
        " today still ask for.",
        "instruments lost sessions",
        blocks=True,
    ),
    "fresh": DataCheck(
        COVERAGE,
        "Every instrument has the latest closed session that its exchange expects a bar for; else a warning. An error"
        f" when every one of two or more instruments of an exchange is {STALE_SESSIONS} or more such sessions behind"
        " and the source is live (sample, yahoo), or when nothing at all is stored.",
        "instruments are behind",
        blocks=True,
    ),
    "nothing_held_back": DataCheck(
        COVERAGE,
        "The latest bars of every instrument passed the data tests. Those that did not are held back, and the tables"
        " are built without them.",
        "instruments are held back",
    ),
    "calendars_known": DataCheck(
        COVERAGE,
        "The calendar of every exchange in use is recorded for the next three months. Past its end every weekday is"
        " asked for, bars are kept and marked unlisted_session, and holes cannot be told.",
        "calendars end soon or have ended",
    ),
    "no_gaps": DataCheck(
        COVERAGE, "Every expected session between the first and the latest is there.", "instruments have gaps"
    ),
    "feeds_sound": DataCheck(
        DAILY_BARS,
        "Open, high and low of each instrument agree with its closes: lately, and on the whole.",
        "feeds are broken",
    ),
    "bars_plausible": DataCheck(
        DAILY_BARS,
        "Nothing speaks against a stored bar; the rules are in docs/data-quality.md. Such a bar is used all the same"
        " and marked in daily_bars, but for one in another unit, which is withheld.",
        "kinds of suspect bars",
    ),
    "no_large_corrections": DataCheck(
        REVISIONS,
        "Since the published version the vendor has corrected no price and no dividend by as much as the rules"
        " price_correction of move_rules.csv say. A new basis is no correction.",
        "large corrections",
    ),
}


def build_data_checks() -> dg.AssetChecksDefinition:
    """All data checks, in one step."""

    @dg.multi_asset_check(
        name="data_checks",
        specs=[
            dg.AssetCheckSpec(
                name,
                asset=check.asset,
                blocking=check.blocks,
                description=f"{check.description} What to do: docs/runbook.md#{name}",
            )
            for name, check in DATA_CHECKS.items()
        ],
        can_subset=True,
    )
    def data_checks(
        context: dg.AssetCheckExecutionContext,
        settings: dg.ResourceParam[Settings],
        warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001  (held while the step runs)
    ) -> Iterator[dg.AssetCheckResult]:
        results = evaluate(settings.paths, settings.source, settings.now().date())
        # Before Dagster hears of it: the publication that it then starts asks the gate.
        note_audit(settings.paths, results)
        for result in results:
            if _key(result) in context.selected_asset_check_keys:
                yield with_what_readers_keep(settings.paths.published, result)

    return data_checks


def evaluate(home: Home, source: str, today: dt.date) -> list[dg.AssetCheckResult]:
    """All data checks of the warehouse, beside the version that readers see now."""
    from orchestration.duckdb_io import query, reading
    from orchestration.market.calendar import running_out
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
    ends = running_out([row["calendar"] for row in freshest], today)
    return [
        _result("one_source_only", foreign),
        _result("no_session_lost", lost),
        _freshness(source, freshest, stale),
        _result("nothing_held_back", held),
        _result("calendars_known", [{"calendar": name, "recorded_until": last} for name, last in ends.items()]),
        _result("no_gaps", gaps),
        _result("feeds_sound", broken),
        _corrections(corrected),
        _result("bars_plausible", suspects),
    ]


def _key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    assert result.asset_key is not None  # noqa: S101  (all of ours name their asset)
    assert result.check_name is not None  # noqa: S101
    return dg.AssetCheckKey(result.asset_key, result.check_name)


def with_what_readers_keep(published: Path, result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    """A result that stops the publication says which version readers stay on."""
    if not stops(result):
        return result
    from orchestration.publish.manifest import current_manifest

    manifest = current_manifest(published)
    kept = f"version {manifest.version} of {manifest.published_at}" if manifest else "nothing: there is no version yet"
    return result._replace(metadata={**result.metadata, "readers_keep": dg.MetadataValue.text(kept)})


def dead_exchanges(source: str, freshest: Sequence[dict[str, Any]]) -> list[str]:
    """By rows of `FRESHEST`, exchanges of a live source whose every instrument is behind.

    A drop folder is as old as its files.
    """
    if source == "files":
        return []
    return [row["calendar"] for row in freshest if row["instruments"] > 1 and (row["behind"] or 0) >= STALE_SESSIONS]


def _freshness(source: str, freshest: Sequence[dict[str, Any]], stale: list[dict[str, Any]]) -> dg.AssetCheckResult:
    """An error if an exchange, or everything, is dead; a warning if one instrument is behind."""
    dead = dead_exchanges(source, freshest)
    if not freshest:
        return _result("fresh", stale, passed=False, description="nothing at all is stored")
    if not dead:
        return _result("fresh", stale, severity=dg.AssetCheckSeverity.WARN)
    by = f"every one of {', '.join(dead)} by {STALE_SESSIONS} sessions or more"
    return _result("fresh", stale, description=f"{len(stale)} instruments are behind; {by}")


def _corrections(found: list[dict[str, Any]]) -> dg.AssetCheckResult:
    """Each is reported once, as long as publications follow."""
    bars = {(row["symbol"], row["session"]) for row in found}
    words = {"description": f"the vendor corrected {len(bars)} bars"} if found else {}
    return _result("no_large_corrections", found[:CORRECTIONS_SHOWN], **words)


def _result(name: str, offenders: list[dict[str, Any]], **other: Any) -> dg.AssetCheckResult:
    """What a check found; `other` takes the place of what follows from the offenders alone."""
    check = DATA_CHECKS[name]
    facts = {
        "passed": not offenders,
        "severity": dg.AssetCheckSeverity.ERROR if check.blocks else dg.AssetCheckSeverity.WARN,
        "description": f"{len(offenders) or 'no'} {check.offenders}",
        "metadata": offenders_table(offenders),
    }
    return dg.AssetCheckResult(asset_key=check.asset, check_name=name, **{**facts, **other})


def offenders_table(offenders: list[dict[str, Any]], without: Sequence[str] = ()) -> dict[str, Any]:
    """Offenders as a metadata table whose cells are readable as they stand, less the columns `without`."""
    if not offenders:
        return {}
    cells = [{name: _cell(value) for name, value in row.items() if name not in without} for row in offenders]
    return {"offenders": dg.MetadataValue.table([dg.TableRecord(row) for row in cells])}


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return round(value, 6) if isinstance(value, float) else str(value)
