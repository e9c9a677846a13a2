{{ config(materialized='incremental_by_symbol', meta={'in_batches': false}) }}
-- What the bars did to the watched levels, to the extremes and to the round numbers, one row per event.
{% set extremes = ['52w_high', '52w_low', 'all_time_high', 'all_time_low'] %}
with line_events as (
    {%- for event, heading, condition in [
        ('meeting', 'heading', 'meeting is not null'),
        ("'confirmed'", 'side', 'is_confirmation'),
        ("'role_flip'", 'side', 'is_role_flip'),
        ('retest', 'side', 'retest is not null'),
    ] %}
        select
            level_id,
            symbol,
            kind,
            'line' as edge,
            session_date,
            bar_number,
            {{ event }} as event,
            {{ heading }} as heading,
            level_price,
            level_price as lower_price,
            level_price as upper_price,
            confirmed_side_before as role_side_before,
            {{ 'confirmed_side' if event == "'role_flip'" else 'confirmed_side_before' }} as role_side_after,
            is_away,
            last_away_number
        from {{ ref('int_line_states') }}
        where is_active and {{ condition }}
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
),

zone_events as (
    {%- for event, heading, edge, condition in [
        ('meeting', 'heading', 'edge', 'meeting is not null'),
        ("'confirmed'", 'place', "case when place > 0 then 'upper' else 'lower' end", 'is_confirmation'),
        ("'role_flip'", 'place', "case when place > 0 then 'upper' else 'lower' end", 'is_role_flip'),
    ] %}
        select
            level_id,
            symbol,
            kind,
            {{ edge }} as edge,
            session_date,
            bar_number,
            {{ event }} as event,
            {{ heading }} as heading,
            case when {{ edge }} = 'upper' then upper_price else lower_price end as level_price,
            lower_price,
            upper_price,
            confirmed_side_before as role_side_before,
            {{ 'confirmed_side' if event == "'role_flip'" else 'confirmed_side_before' }} as role_side_after,
            case when {{ edge }} = 'upper' then is_away_upper else is_away_lower end as is_away,
            case when {{ edge }} = 'upper' then last_away_upper_number else last_away_lower_number end
                as last_away_number
        from {{ ref('int_zone_states') }}
        where is_active and {{ condition }}
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
),

extreme_events as (
    {%- for extreme in extremes %}
        select
            concat(symbol, ':{{ extreme }}') as level_id,
            symbol,
            'extreme' as kind,
            'line' as edge,
            session_date,
            bar_number,
            'new_extreme' as event,
            {{ 1 if extreme.endswith('high') else -1 }} as heading,
            price_{{ extreme }} as level_price,
            price_{{ extreme }} as lower_price,
            price_{{ extreme }} as upper_price,
            cast(null as integer) as role_side_before,
            cast(null as integer) as role_side_after,
            false as is_away,
            last_away_{{ extreme }}_number as last_away_number
        from {{ read(ref('int_extremes')) }} as extremes
        where is_new_{{ extreme }}
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
),

events as (
    {%- for events in ['line_events', 'zone_events', 'extreme_events'] %}
        select
            *,
            cast(null as {{ dbt.type_string() }}) as levels_crossed,
            cast(null as integer) as levels_crossed_count,
            true as is_same_level
        from {{ events }}
        union all
    {%- endfor %}
    select
        concat(symbol, ':round_numbers') as level_id,
        symbol,
        'round_number' as kind,
        'line' as edge,
        session_date,
        bar_number,
        'round_numbers_crossed' as event,
        heading,
        level_price,
        level_price as lower_price,
        level_price as upper_price,
        cast(null as integer) as role_side_before,
        cast(null as integer) as role_side_after,
        false as is_away,
        last_away_number,
        levels_crossed,
        levels_crossed_count,
        is_same_level
    from {{ read(ref('int_round_numbers')) }} as numbers
    where is_crossed
    {%- if is_incremental() %}
        -- the last event before those that are built again: what a repetition would repeat
        union all
        select
            last_events.level_id,
            last_events.symbol,
            last_events.kind,
            'line' as edge,
            last_events.session_date,
            bars.bar_number,
            'known' as event,
            0 as heading,
            cast(null as double) as level_price,
            cast(null as double) as lower_price,
            cast(null as double) as upper_price,
            cast(null as integer) as role_side_before,
            cast(null as integer) as role_side_after,
            false as is_away,
            cast(null as bigint) as last_away_number,
            cast(null as {{ dbt.type_string() }}) as levels_crossed,
            cast(null as integer) as levels_crossed_count,
            true as is_same_level
        from (
            select
                stored.level_id,
                stored.symbol,
                stored.kind,
                max(stored.session_date) as session_date
            from {{ this }} as stored
            inner join {{ ref('int_changes') }} as changes
                on
                    stored.symbol = changes.symbol
                    and stored.session_date < changes.changed_from
            where stored.kind in ('extreme', 'round_number')
            group by stored.level_id, stored.symbol, stored.kind
        ) as last_events
        inner join {{ ref('int_traded_bars') }} as bars
            on
                last_events.symbol = bars.symbol
                and last_events.session_date = bars.session_date
    {%- endif %}
),

with_previous as (
    select
        *,
        event in ('confirmed', 'role_flip') as is_about_a_cross,
        -- of the session before; events of one session do not repeat each other
        max(bar_number) over (
            partition by level_id, edge
            order by bar_number
            range between unbounded preceding and 1 preceding
        ) as previous_event_number
    from events
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
    {{ price_source('instruments') }} as price_source,
    {{ source_name() }} as source
from repetitions as events
inner join {{ ref('int_traded_bars') }} as bars
    on
        events.symbol = bars.symbol
        and events.session_date = bars.session_date
inner join {{ source('control', 'instruments') }} as instruments
    on events.symbol = instruments.symbol
