{{ config(materialized='view', meta={'changed_ranges': ['int_changes.changed_from']}) }}
-- What the bars did to the watched levels, to the extremes and to the round numbers, before anybody asks whether it
-- repeats what was before.
{% set extremes = ['52w_high', '52w_low', 'all_time_high', 'all_time_low'] %}
with watched_levels as (
    select
        level_id,
        symbol,
        series,
        kind,
        'line' as edge,
        session_date,
        bar_number,
        meeting,
        heading,
        side,
        is_confirmation,
        is_role_flip,
        retest,
        level_price,
        level_price as lower_price,
        level_price as upper_price,
        confirmed_side_before,
        confirmed_side,
        is_away,
        last_away_number
    from {{ ref('int_line_states') }}
    where is_active
    union all
    select
        level_id,
        symbol,
        series,
        kind,
        edge,
        session_date,
        bar_number,
        meeting,
        heading,
        place as side,
        is_confirmation,
        is_role_flip,
        cast(null as {{ dbt.type_string() }}) as retest,
        case when edge = 'upper' then upper_price else lower_price end as level_price,
        lower_price,
        upper_price,
        confirmed_side_before,
        confirmed_side,
        case when edge = 'upper' then is_away_upper else is_away_lower end as is_away,
        case when edge = 'upper' then last_away_upper_number else last_away_lower_number end as last_away_number
    from {{ ref('int_zone_states') }}
    where is_active
)

{% for event, heading, role_side_after, condition in [
    ('meeting', 'heading', 'confirmed_side_before', 'meeting is not null'),
    ("'confirmed'", 'side', 'confirmed_side_before', 'is_confirmation'),
    ("'role_flip'", 'side', 'confirmed_side', 'is_role_flip'),
    ('retest', 'side', 'confirmed_side_before', 'retest is not null'),
] -%}
    select
        level_id,
        symbol,
        series,
        kind,
        edge,
        session_date,
        bar_number,
        {{ event }} as event,
        {{ heading }} as heading,
        level_price,
        lower_price,
        upper_price,
        confirmed_side_before as role_side_before,
        {{ role_side_after }} as role_side_after,
        cast(null as {{ dbt.type_string() }}) as levels_crossed,
        cast(null as integer) as levels_crossed_count,
        true as is_same_level,
        is_away,
        last_away_number
    from watched_levels
    where {{ condition }}
    union all
{% endfor -%}
{% for extreme in extremes -%}
    select
        concat(symbol, ':{{ extreme }}') as level_id,
        symbol,
        cast(null as {{ dbt.type_string() }}) as series,
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
        cast(null as {{ dbt.type_string() }}) as levels_crossed,
        cast(null as integer) as levels_crossed_count,
        true as is_same_level,
        false as is_away,
        last_away_{{ extreme }}_number as last_away_number
    from {{ ref('int_extremes') }}
    where is_new_{{ extreme }}
    union all
{% endfor -%}
select
    concat(symbol, ':round_numbers') as level_id,
    symbol,
    cast(null as {{ dbt.type_string() }}) as series,
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
    levels_crossed,
    levels_crossed_count,
    is_same_level,
    false as is_away,
    last_away_number
from {{ ref('int_round_numbers') }}
where is_crossed
