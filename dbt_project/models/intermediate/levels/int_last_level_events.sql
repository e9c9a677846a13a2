{{ config(materialized='view') }}
-- The latest event of each level; of several in one session the one that says most.
with last_events as (
    select
        level_id,
        symbol,
        series,
        max(session_date) as session_date,
        max_by(event, session_date) as event,
        max_by(direction, session_date) as direction
    from {{ ref('level_events') }}
    where event_order = 1
    group by level_id, symbol, series
)

select
    last_events.level_id,
    last_events.symbol,
    last_events.session_date,
    last_events.event,
    last_events.direction,
    bars.session_position
from last_events
inner join {{ ref('int_level_prices') }} as bars
    on
        last_events.symbol = bars.symbol
        and last_events.series is not distinct from bars.series
        and last_events.session_date = bars.session_date
