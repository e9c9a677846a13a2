-- What each instrument ought to have and what it has.
with stored as (
    select
        symbol,
        min(session_date) as first_session,
        max(session_date) as last_session,
        count(*) as stored_sessions
    from {{ ref('stg_bars') }}
    group by symbol
),

expected as (
    select
        instruments.symbol,
        sessions.session_date,
        bars.symbol is null as is_missing,
        sessions.session_date > coalesce(stored.last_session, instruments.active_from) as is_after_last
    from {{ source('control', 'instruments') }} as instruments
    left join stored
        on instruments.symbol = stored.symbol
    inner join {{ ref('stg_sessions') }} as sessions
        on
            instruments.calendar = sessions.calendar
            and sessions.bar_expected
            and sessions.session_date >= coalesce(instruments.active_from, stored.first_session)
    left join {{ ref('stg_bars') }} as bars
        on
            instruments.symbol = bars.symbol
            and sessions.session_date = bars.session_date
),

counted as (
    select
        symbol,
        count(*) as expected_sessions,
        count(case when is_missing and not coalesce(is_after_last, true) then 1 end) as missing_sessions,
        min(case when is_missing and not coalesce(is_after_last, true) then session_date end) as first_missing,
        max(case when is_missing and not coalesce(is_after_last, true) then session_date end) as last_missing,
        count(case when is_after_last then 1 end) as staleness_sessions
    from expected
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
    coalesce(counted.missing_sessions, 0) as missing_sessions,
    counted.first_missing,
    counted.last_missing,
    counted.staleness_sessions,
    last_fetches.last_fetch_status,
    last_fetches.last_fetch_at,
    {{ source_name() }} as source
from {{ source('control', 'instruments') }} as instruments
left join stored
    on instruments.symbol = stored.symbol
left join counted
    on instruments.symbol = counted.symbol
left join last_fetches
    on instruments.symbol = last_fetches.symbol
