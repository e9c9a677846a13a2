"""What the data checks ask of the warehouse, some of it beside `published`, the version that readers see now."""

# A feed whose recent ranges contradict their closes this often is broken, whatever single bars say.
BROKEN_FEED_SESSIONS = 63
BROKEN_FEED_SHARE = 0.2

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
    anti join int_bar_anomalies as withheld
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
    from int_bar_anomalies group by symbol, rule order by session desc, symbol, rule
"""

# Readers of the published version know those that stand in it.
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
