-- What each instrument ought to have and what it has.
-- Past the end of a calendar nobody knows which weekdays are sessions; more in a row without a bar than the longest
-- holidays have are counted as if they were.
{% set longest_holidays = 10 %}
with stored as (
    select
        symbol,
        min(session_date) as first_session,
        max(session_date) as last_session,
        count(*) as stored_sessions
    from {{ ref('int_kept_bars') }}
    group by symbol
),

-- From where on bars are expected: few days, of which many instruments share one.
beginnings as (
    select
        instruments.symbol,
        instruments.calendar,
        coalesce(instruments.active_from, stored.first_session) as begins_on,
        coalesce(stored.last_session, instruments.active_from) as ends_on
    from {{ source('control', 'instruments') }} as instruments
    left join stored
        on instruments.symbol = stored.symbol
),

days as (
    select
        calendar,
        begins_on as day
    from beginnings
    union
    select
        calendar,
        ends_on as day
    from beginnings
),

days_counted as (
    select
        days.calendar,
        days.day,
        count(case when sessions.session_date >= days.day and sessions.bar_expected then 1 end) as since,
        count(case when sessions.session_date > days.day and sessions.bar_expected then 1 end) as afterwards,
        count(case when sessions.session_date > days.day and not sessions.is_listed then 1 end) as unlisted_afterwards
    from days
    inner join {{ ref('stg_sessions') }} as sessions
        on days.calendar = sessions.calendar
    where days.day is not null
    group by days.calendar, days.day
),

counted as (
    select
        beginnings.symbol,
        since_beginning.since as expected_sessions,
        since_end.afterwards
        + case when since_end.unlisted_afterwards > {{ longest_holidays }} then since_end.unlisted_afterwards else 0 end
            as staleness_sessions
    from beginnings
    left join days_counted as since_beginning
        on
            beginnings.calendar = since_beginning.calendar
            and beginnings.begins_on = since_beginning.day
    left join days_counted as since_end
        on
            beginnings.calendar = since_end.calendar
            and beginnings.ends_on = since_end.day
),

missing as (
    select
        symbol,
        count(*) as missing_sessions,
        min(session_date) as first_missing,
        max(session_date) as last_missing
    from {{ ref('int_missing_sessions') }}
    group by symbol
),

last_fetches as (
    select
        symbol,
        max_by(status, observed_at) as last_fetch_status,
        max(observed_at) as last_fetch_at
    from {{ source('raw', 'fetches') }}
    group by symbol
)

select
    instruments.symbol,
    stored.first_session,
    stored.last_session,
    coalesce(counted.expected_sessions, 0) as expected_sessions,
    coalesce(stored.stored_sessions, 0) as stored_sessions,
    coalesce(missing.missing_sessions, 0) as missing_sessions,
    missing.first_missing,
    missing.last_missing,
    counted.staleness_sessions,
    last_fetches.last_fetch_status,
    last_fetches.last_fetch_at,
    held.reason as held_back,
    {{ source_name() }} as source
from {{ source('control', 'instruments') }} as instruments
left join stored
    on instruments.symbol = stored.symbol
left join counted
    on instruments.symbol = counted.symbol
left join missing
    on instruments.symbol = missing.symbol
left join last_fetches
    on instruments.symbol = last_fetches.symbol
left join {{ source('control', 'held') }} as held
    on instruments.symbol = held.symbol
