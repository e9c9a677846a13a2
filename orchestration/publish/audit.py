"""Data checks between the build and the publication: what dbt tests cannot know.

A failure with severity ERROR stops the publication and readers keep the last good version. What is wrong with one
instrument only is a warning: it must not withhold the others from the reader.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from orchestration.publish.gate import note_audit, stops
from orchestration.settings import Settings

DAILY_BARS = dg.AssetKey("daily_bars")
COVERAGE = dg.AssetKey("data_coverage")
REVISIONS = dg.AssetKey("price_revisions")

# A feed whose recent ranges contradict their closes this often is broken, whatever single bars say.
BROKEN_FEED_SESSIONS = 63
BROKEN_FEED_SHARE = 0.2

# A live exchange whose every instrument is this many expected sessions behind has no feed any more. One session may
# merely be late.
STALE_SESSIONS = 2

FOREIGN_ROWS = "select source, count(*) as rows from daily_bars where source <> ? group by source"

# Only what the control tables of now still ask for can be lost: an earlier as-of date, another exchange calendar or
# source symbol, a later active_from and a removed instrument are decisions, not losses.
LOST_SESSIONS = """
    select
        seen.symbol,
        count(*) as lost_sessions,
        min(seen.session_date) as first_lost,
        max(seen.session_date) as last_lost
    from published.daily_bars as seen
    inner join published.instruments as seen_as
        on seen.symbol = seen_as.symbol
    inner join instruments as now
        on
            seen.symbol = now.symbol
            and seen_as.calendar = now.calendar
            and seen_as.source_symbol = now.source_symbol
            and seen.session_date >= coalesce(now.active_from, seen.session_date)
    inner join stg_sessions as closed
        on
            now.calendar = closed.calendar
            and seen.session_date = closed.session_date
    anti join daily_bars as stored
        on
            seen.symbol = stored.symbol
            and seen.session_date = stored.session_date
    -- taken back on purpose: the quarantine says so
    anti join stg_suspect_bars as withheld
        on
            seen.symbol = withheld.symbol
            and seen.session_date = withheld.session_date
            and withheld.is_withheld
    group by seen.symbol
    order by seen.symbol
"""

GAPS = """
    select symbol, missing_sessions, first_missing, last_missing
    from data_coverage where missing_sessions > 0 order by missing_sessions desc
"""

STALE = """
    select coverage.symbol, calendar, coverage.last_session, coverage.staleness_sessions, last_fetch_status
    from data_coverage as coverage
    inner join instruments on coverage.symbol = instruments.symbol
    where coverage.staleness_sessions > 0
    order by coverage.staleness_sessions desc, coverage.symbol
"""

HELD_BACK = "select symbol, held_back as reason from data_coverage where held_back is not null order by symbol"

# How far the freshest instrument of each exchange is behind, over those that have bars at all. One instrument alone
# cannot tell a dead exchange from its own delisting, and one instrument must not withhold the others.
FRESHEST = """
    select calendar, min(coverage.staleness_sessions) as behind, count(*) as instruments
    from data_coverage as coverage
    inner join instruments on coverage.symbol = instruments.symbol
    where stored_sessions > 0
    group by calendar
    order by calendar
"""

BROKEN_FEEDS = """
    with numbered as (
        select
            symbol,
            bar_quality = 'range_rejected' as is_rejected,
            row_number() over (partition by symbol order by session_date desc) <= $recent as is_recent
        from daily_bars
    )
    select
        symbol,
        count(*) as sessions,
        count(case when is_rejected then 1 end) as ranges_rejected,
        count(case when is_rejected and is_recent then 1 end) as lately
    from numbered
    group by symbol
    -- a close that is adjusted beside a range that is not: the further back, the worse
    having ranges_rejected >= $share * sessions or lately >= $share * count(case when is_recent then 1 end)
    order by symbol
"""

# The latest session of each, so that a further one is news.
SUSPECTS = """
    select symbol, max(session_date) as session, rule, count(*) as bars, min(session_date) as first_session
    from stg_suspect_bars group by symbol, rule order by session desc, symbol, rule
"""

# Readers of the published version have been told of those that stand in it.
NEW_TO_READERS = """
    anti join published.price_revisions as known
        on
            found.symbol = known.symbol
            and found.session_date = known.session_date
            and found.field = known.field
            and found.changed_at = known.changed_at
"""

LARGE_CORRECTIONS = """
    select
        found.symbol, found.session_date as session, found.field, found.old_value, found.new_value, found.corrected_by,
        found.reason, found.changed_at
    from price_revisions as found
    {new}
    where found.is_large
    order by abs(found.corrected_by) desc, found.symbol, found.session_date, found.field
"""

# Rows of a table that a person would still read.
CORRECTIONS_SHOWN = 50


def build_data_checks() -> dg.AssetChecksDefinition:
    """All data checks, in one step."""

    @dg.multi_asset_check(
        name="data_checks",
        specs=[
            dg.AssetCheckSpec(
                "one_source_only",
                asset=DAILY_BARS,
                blocking=True,
                description="Every bar comes from the source of this warehouse; simulated and real prices never mix."
                " What to do: docs/runbook.md#one_source_only",
            ),
            dg.AssetCheckSpec(
                "no_session_lost",
                asset=COVERAGE,
                blocking=True,
                description="No session that readers see now is gone, of those that its exchange calendar, source"
                " symbol and active_from of today still ask for. What to do: docs/runbook.md#no_session_lost",
            ),
            dg.AssetCheckSpec(
                "fresh",
                asset=COVERAGE,
                blocking=True,
                description="Every instrument has the latest closed session that its exchange expects a bar for; else"
                " a warning. An error when every one of two or more instruments of an exchange is"
                f" {STALE_SESSIONS} or more such sessions behind and the source is live (sample, yahoo), or when"
                " nothing at all is stored. What to do: docs/runbook.md#fresh",
            ),
            dg.AssetCheckSpec(
                "nothing_held_back",
                asset=COVERAGE,
                description="The latest bars of every instrument passed the data tests. Those that did not are held"
                " back, and the tables are built without them. What to do: docs/runbook.md#nothing_held_back",
            ),
            dg.AssetCheckSpec(
                "calendars_known",
                asset=COVERAGE,
                description="The calendar of every exchange in use is recorded for the next three months. Past its end"
                " every weekday is asked for, bars are kept and marked unlisted_session, and holes cannot be told."
                " What to do: docs/runbook.md#calendars_known",
            ),
            dg.AssetCheckSpec(
                "no_gaps",
                asset=COVERAGE,
                description="Every expected session between the first and the latest is there."
                " What to do: docs/runbook.md#no_gaps",
            ),
            dg.AssetCheckSpec(
                "feeds_sound",
                asset=DAILY_BARS,
                description="Open, high and low of each instrument agree with its closes: lately, and on the whole."
                " What to do: docs/runbook.md#feeds_sound",
            ),
            dg.AssetCheckSpec(
                "bars_plausible",
                asset=DAILY_BARS,
                description="Nothing speaks against a stored bar; the rules are in docs/data-quality.md. Such a bar is"
                " used all the same and marked in daily_bars, but for one in another unit, which is withheld."
                " What to do: docs/runbook.md#bars_plausible",
            ),
            dg.AssetCheckSpec(
                "no_large_corrections",
                asset=REVISIONS,
                description="Since the published version the vendor has corrected no price and no dividend by as much"
                " as the rules price_correction of move_rules.csv say. A new basis is no correction."
                " What to do: docs/runbook.md#no_large_corrections",
            ),
        ],
        can_subset=True,
        required_resource_keys={"settings", "warehouse_lock"},
    )
    def data_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        settings: Settings = context.resources.settings
        results = evaluate(settings)
        # Before Dagster hears of it: the publication that it then starts asks the gate.
        note_audit(settings.paths, results)
        for result in results:
            if _key(result) in context.selected_asset_check_keys:
                yield with_what_readers_keep(settings, result)

    return data_checks


def evaluate(settings: Settings) -> list[dg.AssetCheckResult]:
    """All data checks of the warehouse, beside the version that readers see now."""
    from orchestration.duckdb_io import query, reading
    from orchestration.publish.versions import table_sql

    published = {"published": settings.paths.published_file} if settings.paths.published_file.exists() else None

    def of_readers(sql: str) -> str:
        # A home that was moved heals by a refresh, in which this is asked: the views look elsewhere.
        for name in ("daily_bars", "price_revisions"):
            sql = sql.replace(f"published.{name} ", f"{table_sql(settings.paths.published, name, 'published')} ")
        return sql

    with reading(settings.paths.warehouse, published) as warehouse:
        foreign = query(warehouse, FOREIGN_ROWS, [settings.source])
        lost = query(warehouse, of_readers(LOST_SESSIONS)) if published else []
        freshest, stale, gaps, held = (query(warehouse, sql) for sql in (FRESHEST, STALE, GAPS, HELD_BACK))
        broken = query(warehouse, BROKEN_FEEDS, {"recent": BROKEN_FEED_SESSIONS, "share": BROKEN_FEED_SHARE})
        corrected = query(warehouse, LARGE_CORRECTIONS.format(new=of_readers(NEW_TO_READERS) if published else ""))
        suspects = query(warehouse, SUSPECTS)
    warning = dg.AssetCheckSeverity.WARN
    return [
        _result(DAILY_BARS, "one_source_only", foreign, "foreign sources"),
        _result(COVERAGE, "no_session_lost", lost, "instruments lost sessions"),
        _freshness(settings, freshest, stale),
        _result(COVERAGE, "nothing_held_back", held, "instruments are held back", warning),
        _calendars(settings, [row["calendar"] for row in freshest]),
        _result(COVERAGE, "no_gaps", gaps, "instruments have gaps", warning),
        _result(DAILY_BARS, "feeds_sound", broken, "feeds are broken", warning),
        _corrections(corrected),
        _result(DAILY_BARS, "bars_plausible", suspects, "kinds of suspect bars", warning),
    ]


def _key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    assert result.asset_key is not None  # noqa: S101  (all of ours name their asset)
    assert result.check_name is not None  # noqa: S101
    return dg.AssetCheckKey(result.asset_key, result.check_name)


def with_what_readers_keep(settings: Settings, result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    """A result that stops the publication says which version readers stay on."""
    from orchestration.publish.versions import current_manifest

    if not stops(result):
        return result

    manifest = current_manifest(settings.paths.published)
    kept = f"version {manifest.version} of {manifest.published_at}" if manifest else "nothing: there is no version yet"
    return result._replace(metadata={**result.metadata, "readers_keep": dg.MetadataValue.text(kept)})


def dead_exchanges(settings: Settings, freshest: Sequence[dict[str, Any]]) -> list[str]:
    """Exchanges of a live source whose every instrument is behind; a drop folder is as old as its files.

    Args:
        settings: name the source.
        freshest: rows of `FRESHEST`.
    """
    if settings.source == "files":
        return []
    return [row["calendar"] for row in freshest if row["instruments"] > 1 and (row["behind"] or 0) >= STALE_SESSIONS]


def _freshness(
    settings: Settings, freshest: Sequence[dict[str, Any]], stale: list[dict[str, Any]]
) -> dg.AssetCheckResult:
    """The check `fresh`; what it does is in its specification."""
    dead = dead_exchanges(settings, freshest)
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


def _calendars(settings: Settings, calendars: Sequence[str]) -> dg.AssetCheckResult:
    """The check `calendars_known`."""
    from orchestration.market.calendar import running_out

    found = running_out(calendars, settings.now().date())
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
