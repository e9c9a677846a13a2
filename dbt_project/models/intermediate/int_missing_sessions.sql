{{ config(materialized='incremental', incremental_strategy='changed_rows') }}
-- Sessions on which the exchange expects a bar and none is stored, up to the latest stored one.
with stored as (
    select
        symbol,
        -- or one of some weeks before the changed rows, which is all the same to them
        min(session_date) as first_session,
        max(session_date) as last_session
    from {{ lookback(ref('stg_bars'), 'short_lookback_from') }} as bars
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
    where {{ in_changed_range('sessions', symbols='instruments') }}
)

select
    expected.symbol,
    expected.session_date
from expected
left join {{ changed_range(ref('stg_bars')) }} as bars
    on
        expected.symbol = bars.symbol
        and expected.session_date = bars.session_date
where bars.symbol is null
