"""Data checks between the build and the publication: what dbt tests cannot know.

A failure with severity ERROR stops the publication and readers keep the last good version. What is wrong with one
instrument only is a warning: it must not withhold the others from the reader.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from orchestration.settings import Settings

DAILY_BARS = dg.AssetKey("daily_bars")
COVERAGE = dg.AssetKey("data_coverage")

# A feed whose recent ranges contradict their closes this often is broken, whatever single bars say.
BROKEN_FEED_SESSIONS = 63
BROKEN_FEED_SHARE = 0.2

# A real feed that is this many sessions behind for every instrument is not a feed any more.
STALE_SESSIONS = 3

FOREIGN_ROWS = "select source, count(*) as rows from daily_bars where source <> ? group by source"

LOST_SESSIONS = "select symbol, stored_sessions from data_coverage"

GAPS = """
    select symbol, missing_sessions, first_missing, last_missing
    from data_coverage where missing_sessions > 0 order by missing_sessions desc
"""

STALE = """
    select symbol, last_session, staleness_sessions, last_fetch_status
    from data_coverage where staleness_sessions > 0 order by staleness_sessions desc
"""

FRESHEST = "select min(staleness_sessions) as behind from data_coverage"

BROKEN_FEEDS = """
    with recent as (
        select symbol, bar_quality
        from daily_bars
        qualify row_number() over (partition by symbol order by session_date desc) <= ?
    )
    select symbol, count(*) as sessions, count(case when bar_quality = 'range_rejected' then 1 end) as ranges_rejected
    from recent group by symbol having ranges_rejected >= ? * count(*) order by symbol
"""


def build_data_checks() -> dg.AssetChecksDefinition:
    """All data checks, in one step."""

    @dg.multi_asset_check(
        name="data_checks",
        specs=[
            dg.AssetCheckSpec(
                "one_source_only",
                asset=DAILY_BARS,
                blocking=True,
                description="Every bar comes from the source of this warehouse; simulated and real prices never mix.",
            ),
            dg.AssetCheckSpec(
                "no_session_lost",
                asset=COVERAGE,
                blocking=True,
                description="No instrument has fewer sessions than in the version that readers see now.",
            ),
            dg.AssetCheckSpec(
                "fresh",
                asset=COVERAGE,
                blocking=True,
                description="The latest closed session of each exchange is there.",
            ),
            dg.AssetCheckSpec(
                "no_gaps",
                asset=COVERAGE,
                description="Every expected session between the first and the latest is there.",
            ),
            dg.AssetCheckSpec(
                "feeds_sound",
                asset=DAILY_BARS,
                description="Open, high and low of each instrument have lately agreed with its closes.",
            ),
        ],
        required_resource_keys={"settings", "warehouse_lock"},
    )
    def data_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from orchestration.storage.warehouse import rows

        settings: Settings = context.resources.settings
        warehouse = settings.warehouse_path
        yield _result(
            DAILY_BARS, "one_source_only", rows(warehouse, FOREIGN_ROWS, [settings.source]), "foreign sources"
        )
        yield _result(COVERAGE, "no_session_lost", _lost_sessions(settings), "instruments lost sessions")
        behind = rows(warehouse, FRESHEST)[0]["behind"]
        yield _result(
            COVERAGE,
            "fresh",
            rows(warehouse, STALE),
            "instruments are behind",
            severity=freshness_severity(settings, behind),
        )
        yield _result(COVERAGE, "no_gaps", rows(warehouse, GAPS), "instruments have gaps", dg.AssetCheckSeverity.WARN)
        yield _result(
            DAILY_BARS,
            "feeds_sound",
            rows(warehouse, BROKEN_FEEDS, [BROKEN_FEED_SESSIONS, BROKEN_FEED_SHARE]),
            "feeds are broken",
            dg.AssetCheckSeverity.WARN,
        )

    return data_checks


def freshness_severity(settings: Settings, behind: int | None) -> dg.AssetCheckSeverity:
    """ERROR where even the freshest instrument of a live source is behind; a drop folder is as old as its files."""
    stale = behind is None or behind > STALE_SESSIONS
    return dg.AssetCheckSeverity.ERROR if stale and settings.source != "files" else dg.AssetCheckSeverity.WARN


def _lost_sessions(settings: Settings) -> list[dict[str, Any]]:
    from orchestration.storage.warehouse import rows

    published = settings.published_dir / "current" / "market.duckdb"
    if not published.exists():
        return []
    before = {row["symbol"]: row["stored_sessions"] for row in rows(published, LOST_SESSIONS)}
    return [
        {**row, "published_sessions": before[row["symbol"]]}
        for row in rows(settings.warehouse_path, LOST_SESSIONS)
        if row["stored_sessions"] < before.get(row["symbol"], 0)
    ]


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
