{{ config(materialized='incremental_by_symbol', meta={'rebuilt': 'true'}) }}
-- Where each level stands at the latest session of its instrument. New bars change the levels of their instruments.
{% set changes = [incremental_ref('int_changes')] %}
{% set extremes = ['52w_high', '52w_low', 'all_time_high', 'all_time_low'] %}
with latest_numbers as (
    select
        symbol,
        series,
        max(bar_number) as bar_number
    from {{ of_changed_symbols(ref('int_level_prices'), changes) }} as prices
    group by symbol, series
),

{% for name in ['level_prices', 'extremes', 'round_numbers'] %}
    latest_{{ name }} as (
        select stored.*
        from {{ of_changed_symbols(ref('int_' ~ name), changes) }} as stored
        inner join latest_numbers
            on
                stored.symbol = latest_numbers.symbol
                and latest_numbers.series is {{ 'not distinct from stored.series' if loop.first else 'null' }}
                and stored.bar_number = latest_numbers.bar_number
    ),
{% endfor %}

standings as (
    -- every seed level, also one without a bar yet
    select
        seeds.level_id,
        seeds.level_id as event_level_id,
        seeds.symbol,
        seeds.series,
        seeds.kind,
        seeds.active_from,
        seeds.note,
        coalesce(lines.level_price, zones.lower_price, seeds.lower) as lower,
        coalesce(lines.level_price, zones.upper_price, seeds.upper) as upper,
        coalesce(lines.side, zones.place) as side,
        coalesce(lines.confirmed_side, zones.confirmed_side) as role_side
    from {{ source('control', 'price_levels') }} as seeds
    left join latest_numbers
        on
            seeds.symbol = latest_numbers.symbol
            and seeds.series is not distinct from latest_numbers.series
    left join {{ ref('int_line_states') }} as lines
        on
            seeds.level_id = lines.level_id
            and latest_numbers.bar_number = lines.bar_number
    left join {{ ref('int_zone_states') }} as zones
        on
            seeds.level_id = zones.level_id
            and latest_numbers.bar_number = zones.bar_number
    {%- for extreme in extremes %}
        {%- set farther = 'greatest' if extreme.endswith('high') else 'least' %}
        union all
        select
            concat(symbol, ':{{ extreme }}') as level_id,
            concat(symbol, ':{{ extreme }}') as event_level_id,
            symbol,
            cast(null as {{ dbt.type_string() }}) as series,
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
    {%- for place in ['above', 'below'] %}
        union all
        select
            concat(symbol, ':round_number_{{ place }}') as level_id,
            concat(symbol, ':round_numbers') as event_level_id,
            symbol,
            cast(null as {{ dbt.type_string() }}) as series,
            'round_number' as kind,
            cast(null as date) as active_from,
            '' as note,
            {{ nearest_round_number(place, 'close', 'latest_heading') }} as lower,
            {{ nearest_round_number(place, 'close', 'latest_heading') }} as upper,
            {{ -1 if place == 'above' else 1 }} as side,
            cast(null as integer) as role_side
        from latest_round_numbers
    {%- endfor %}
),

measured as (
    select
        standings.*,
        bars.close,
        bars.session_date,
        bars.session_position,
        bars.atr_14,
        {{ distance_from_level('bars.close', 'standings.lower', 'standings.upper') }} as distance
    from standings
    left join latest_level_prices as bars
        on
            standings.symbol = bars.symbol
            and standings.series is not distinct from bars.series
)

select
    measured.level_id,
    measured.symbol,
    measured.series,
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
    measured.session_position - last_events.session_position as sessions_since,
    round(abs(measured.distance), 9)
    <= round(greatest(0.01, coalesce(measured.atr_14 / 2 / measured.close, 0)), 9) as is_near,
    {{ price_source('instruments', 'measured.series') }} as price_source,
    measured.note,
    {{ source_name() }} as source
from measured
inner join {{ source('control', 'instruments') }} as instruments
    on measured.symbol = instruments.symbol
left join {{ ref('int_last_level_events') }} as last_events
    on measured.event_level_id = last_events.level_id
{%- if is_incremental() %}
    where measured.symbol in (select latest_numbers.symbol from latest_numbers)
    union all
    select *
    from {{ this }}
    where
        symbol not in (select latest_numbers.symbol from latest_numbers)
        and symbol in (select instruments.symbol from {{ source('control', 'instruments') }} as instruments)
{%- endif %}
