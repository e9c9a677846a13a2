{{ config(materialized='incremental_by_symbol', meta={'rebuilt': 'true'}) }}
-- Where each level stands at the latest session of its instrument. New bars change the levels of their instruments.
{% set changes = [incremental_ref('int_changes')] %}
{% set extremes = ['52w_high', '52w_low', 'all_time_high', 'all_time_low'] %}
with
{% for name, since in [
    ('int_traded_bars', 'changed_from'), ('int_extremes', 'changed_from'), ('int_round_numbers', 'changed_from'),
    ('level_events', none)
] %}
    changed_{{ name.removeprefix('int_') }} as (
        select * from {{ of_changed_symbols(ref(name), changes, since) }} as {{ name }}
    ),
{% endfor %}

latest_numbers as (
    select
        symbol,
        max(bar_number) as bar_number
    from changed_traded_bars
    group by symbol
),

latest_bars as (
    select bars.*
    from changed_traded_bars as bars
    inner join latest_numbers
        on
            bars.symbol = latest_numbers.symbol
            and bars.bar_number = latest_numbers.bar_number
),

latest_extremes as (
    select extremes.*
    from changed_extremes as extremes
    inner join latest_bars
        on
            extremes.symbol = latest_bars.symbol
            and extremes.bar_number = latest_bars.bar_number
),

latest_round_numbers as (
    select
        numbers.symbol,
        numbers.close,
        numbers.latest_heading,
        {{ round_number_step('numbers.close') }} as step
    from changed_round_numbers as numbers
    inner join latest_bars
        on
            numbers.symbol = latest_bars.symbol
            and numbers.bar_number = latest_bars.bar_number
),

round_numbers as (
    select
        symbol,
        'above' as place,
        -- a close on a number that it has reached from below has still to cross it
        step * case
            when latest_heading > 0 then ceil({{ steps_from_zero('close', 'step') }})
            else floor({{ steps_from_zero('close', 'step') }}) + 1
        end as level_price,
        close,
        latest_heading
    from latest_round_numbers
    union all
    select
        symbol,
        'below' as place,
        step * case
            when latest_heading < 0 then floor({{ steps_from_zero('close', 'step') }})
            -- below 100 the numbers are 90, 80, ...
            when {{ steps_from_zero('close', 'step') }} = 1 then 0.9
            else ceil({{ steps_from_zero('close', 'step') }}) - 1
        end as level_price,
        close,
        latest_heading
    from latest_round_numbers
),

standings as (
    -- every seed level, also one without a bar yet
    select
        seeds.level_id,
        seeds.level_id as event_level_id,
        seeds.symbol,
        seeds.kind,
        seeds.active_from,
        seeds.note,
        coalesce(lines.level_price, zones.lower_price, seeds.lower) as lower,
        coalesce(lines.level_price, zones.upper_price, seeds.upper) as upper,
        coalesce(lines.side, zones.place) as side,
        coalesce(lines.confirmed_side, zones.confirmed_side) as role_side
    from {{ source('control', 'price_levels') }} as seeds
    left join latest_bars
        on seeds.symbol = latest_bars.symbol
    left join {{ ref('int_line_states') }} as lines
        on
            seeds.level_id = lines.level_id
            and latest_bars.bar_number = lines.bar_number
    left join {{ ref('int_zone_states') }} as zones
        on
            seeds.level_id = zones.level_id
            and latest_bars.bar_number = zones.bar_number
    {%- for extreme in extremes %}
        {%- set farther = 'greatest' if extreme.endswith('high') else 'least' %}
        union all
        select
            concat(symbol, ':{{ extreme }}') as level_id,
            concat(symbol, ':{{ extreme }}') as event_level_id,
            symbol,
            'extreme' as kind,
            cast(null as date) as active_from,
            '' as note,
            {{ farther }}(price_{{ extreme }}, close) as lower,
            {{ farther }}(price_{{ extreme }}, close) as upper,
            sign(close - {{ farther }}(price_{{ extreme }}, close)) as side,
            cast(null as integer) as role_side
        from latest_extremes
        where price_{{ extreme }} is not null
    {%- endfor %}
    union all
    select
        concat(symbol, ':round_number_', place) as level_id,
        concat(symbol, ':round_numbers') as event_level_id,
        symbol,
        'round_number' as kind,
        cast(null as date) as active_from,
        '' as note,
        round(level_price, 6) as lower,
        round(level_price, 6) as upper,
        case when place = 'above' then -1 else 1 end as side,
        cast(null as integer) as role_side
    from round_numbers
),

last_sessions as (
    select
        level_id,
        max(session_date) as session_date
    from changed_level_events
    group by level_id
),

last_events as (
    select
        events.level_id,
        events.symbol,
        events.session_date,
        events.event,
        events.direction
    from changed_level_events as events
    inner join last_sessions
        on
            events.level_id = last_sessions.level_id
            and events.session_date = last_sessions.session_date
    where events.event_order = 1
),

-- Looked for from the few events on, and not in a join that keeps what has none: that would go through all bars.
event_bars as (
    select distinct
        bars.symbol,
        bars.session_date,
        bars.session_position
    from {{ ref('int_traded_bars') }} as bars
    inner join last_events
        on
            bars.symbol = last_events.symbol
            and bars.session_date = last_events.session_date
),

measured as (
    select
        standings.*,
        latest_bars.close,
        latest_bars.session_date,
        latest_bars.session_position,
        latest_bars.atr_14,
        {{ distance_from_level('latest_bars.close', 'standings.lower', 'standings.upper') }} as distance
    from standings
    left join latest_bars
        on standings.symbol = latest_bars.symbol
)

select
    measured.level_id,
    measured.symbol,
    measured.kind,
    measured.active_from,
    measured.lower,
    measured.upper,
    case
        when measured.side > 0 then 'above'
        when measured.side < 0 then 'below'
        when measured.side = 0 and measured.lower < measured.upper then 'inside'
        when measured.side = 0 then 'at'
    end as side,
    {{ role('measured.role_side') }} as role,
    measured.distance,
    measured.close,
    measured.session_date,
    measured.atr_14,
    last_events.event as last_event,
    last_events.direction as last_event_direction,
    last_events.session_date as last_event_date,
    measured.session_position - event_bars.session_position as sessions_since,
    round(abs(measured.distance), 9)
    <= round(greatest(0.01, coalesce(measured.atr_14 / 2 / measured.close, 0)), 9) as is_near,
    {{ price_source('instruments') }} as price_source,
    measured.note,
    {{ source_name() }} as source
from measured
inner join {{ source('control', 'instruments') }} as instruments
    on measured.symbol = instruments.symbol
left join last_events
    on measured.event_level_id = last_events.level_id
left join event_bars
    on
        measured.symbol = event_bars.symbol
        and last_events.session_date = event_bars.session_date
{%- if is_incremental() %}
    where measured.symbol in (select latest_numbers.symbol from latest_numbers)
    union all
    select *
    from {{ this }}
    where
        symbol not in (select latest_numbers.symbol from latest_numbers)
        and symbol in (select instruments.symbol from {{ source('control', 'instruments') }} as instruments)
{%- endif %}
