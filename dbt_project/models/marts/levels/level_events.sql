{{ config(materialized='incremental_by_symbol', meta={'in_batches': false}) }}
-- What the bars did to the watched levels, to the extremes and to the round numbers, one row per event.
with events as (
    -- the levels of price_levels.csv are few, and known from their first bar on
    select * from {{ ref('int_level_events') }}
    where kind not in ('extreme', 'round_number')
    union all
    select * from {{ read(ref('int_level_events')) }} as everywhere
    where kind in ('extreme', 'round_number')
),

known as (
    {{ last_events_before(['extreme', 'round_number']) }}
),

with_previous as (
    select
        events.*,
        events.event in ('confirmed', 'role_flip') as is_about_a_cross,
        -- of the session before; events of one session do not repeat each other
        coalesce(
            max(events.bar_number) over (
                partition by events.level_id, events.edge
                order by events.bar_number
                range between unbounded preceding and 1 preceding
            ),
            known.bar_number
        ) as previous_event_number
    from events
    left join known
        on events.level_id = known.level_id
),

armed as (
    select
        *,
        -- no close has got away from the level since its last event
        coalesce(
            is_same_level and coalesce(last_away_number, 0) < previous_event_number, false
        ) as is_unarmed
    from with_previous
),

-- A second close repeats what its cross repeated, unless one of the two has got away.
repetitions as (
    select
        *,
        case
            when is_about_a_cross
                then
                    coalesce(max(case when is_unarmed and not is_about_a_cross then 1 else 0 end) over (
                        partition by level_id, edge
                        order by bar_number
                        range between 1 preceding and 1 preceding
                    ), 0) = 1
                    and coalesce(last_away_number, 0) < bar_number - 1
                    and not is_away
            else is_unarmed
        end as is_repeat
    from armed
)

select
    md5(concat_ws(
        '|',
        events.symbol,
        events.level_id,
        cast(events.session_date as {{ dbt.type_string() }}),
        events.event,
        'as_traded'
    )) as event_id,
    events.level_id,
    events.symbol,
    events.series,
    events.kind,
    events.session_date,
    events.event,
    case when events.heading > 0 then 'up' else 'down' end as direction,
    events.level_price as level,
    events.lower_price as lower,
    events.upper_price as upper,
    events.levels_crossed,
    events.levels_crossed_count,
    bars.previous_close as prev_close,
    bars.open,
    bars.high,
    bars.low,
    bars.close,
    {{ role('events.role_side_before') }} as role_before,
    {{ role('events.role_side_after') }} as role_after,
    events.is_repeat,
    -- a flip says that a side was confirmed, a failed retest that the level was crossed
    cast(row_number() over (
        partition by events.level_id, events.session_date
        order by
            case events.event
                when 'role_flip' then 1
                when 'confirmed' then 2
                when 'retest_failed' then 3
                when 'retest_held' then 4
                when 'pierce_rejected' then 6
                else 5
            end,
            events.event
    ) as integer) as event_order,
    'as_traded' as price_basis,
    {{ price_source('instruments', 'events.series') }} as price_source,
    {{ source_name() }} as source
from repetitions as events
inner join {{ ref('int_level_prices') }} as bars
    on
        events.symbol = bars.symbol
        and events.series is not distinct from bars.series
        and events.session_date = bars.session_date
inner join {{ source('control', 'instruments') }} as instruments
    on events.symbol = instruments.symbol
