-- The newest version of each bar, with its session's place among those on which its exchange expects a bar.
with newest as (
    select
        symbol,
        session_date,
        open,
        high,
        low,
        close,
        adj_close,
        volume,
        dividend,
        split_ratio,
        bar_quality,
        source,
        observed_at,
        batch_id
    from {{ ref('stg_bar_versions') }}
    where versions_back = 1
)

select
    newest.symbol,
    newest.session_date,
    newest.open,
    newest.high,
    newest.low,
    newest.close,
    newest.adj_close,
    newest.volume,
    newest.dividend,
    newest.split_ratio,
    newest.bar_quality,
    newest.source,
    newest.observed_at,
    newest.batch_id,
    instruments.tick_size,
    instruments.asset_class,
    sessions.session_number
from newest
inner join {{ source('control', 'instruments') }} as instruments
    on newest.symbol = instruments.symbol
inner join {{ ref('stg_sessions') }} as sessions
    on
        instruments.calendar = sessions.calendar
        and newest.session_date = sessions.session_date
