{{ config(materialized='incremental_by_symbol') }}
-- Sessions on which the exchange expects a bar and none is stored, up to the latest stored one.
with stored as (
    select
        symbol,
        -- or one of some weeks before the changed rows, which is all the same to them
        min(session_date) as first_session,
        max(session_date) as last_session
    from {{ read(ref('int_kept_bars'), lookback='70 bars') }} as bars
    group by symbol
),

expected as (
    select
        instruments.symbol,
        sessions.session_date
    from {{ source('control', 'instruments') }} as instruments
    inner join stored
        on instruments.symbol = stored.symbol
    inner join {{ ref('stg_sessions') }} as sessions
        on
            instruments.calendar = sessions.calendar
            and sessions.bar_expected
            and sessions.session_date >= coalesce(instruments.active_from, stored.first_session)
            and stored.last_session > sessions.session_date
)

select
    expected.symbol,
    expected.session_date
from expected
left join {{ read(ref('int_kept_bars')) }} as bars
    on
        expected.symbol = bars.symbol
        and expected.session_date = bars.session_date
where bars.symbol is null
