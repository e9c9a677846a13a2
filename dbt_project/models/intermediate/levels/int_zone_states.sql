-- Where each bar stands against each watched zone, and what it did to the zone. The edges belong to the zone.
{% set edges = ['lower', 'upper'] %}
with zones as (
    select
        level_id,
        symbol,
        series,
        kind,
        session_date,
        bar_number,
        is_active,
        {%- for edge in edges %}
            max(case when edge = '{{ edge }}' then level_price end) as {{ edge }}_price,
            count(case when edge = '{{ edge }}' and is_away then 1 end) > 0 as is_away_{{ edge }},
        {%- endfor %}
        max(high) as high,
        max(low) as low,
        max(close) as close
    from {{ ref('int_level_bars') }}
    where is_zone
    group by level_id, symbol, series, kind, session_date, bar_number, is_active
),

places as (
    select
        *,
        case
            when close < lower_price then -1
            when close > upper_price then 1
            else 0
        end as place
    from zones
),

turns as (
    select
        *,
        lag(place) over in_order as previous_place,
        lag(place, 2) over in_order as place_before_previous
    from places
    window in_order as (
        partition by level_id
        order by bar_number
    )
),

remembered as (
    select
        *,
        -- the second close outside, after the bar before left the zone to this side
        coalesce(place <> 0 and place = previous_place and previous_place <> place_before_previous, false)
            as is_confirmation,
        {{ last_known('case when place <> 0 and place = previous_place then place end') }} over before
            as confirmed_side_before
        {%- for edge in edges -%}
            ,
            max(case when is_away_{{ edge }} then bar_number end) over before as last_away_{{ edge }}_number
        {%- endfor %}
    from turns
    window before as (
        partition by level_id
        order by bar_number
        rows between unbounded preceding and 1 preceding
    )
)

select
    level_id,
    symbol,
    series,
    kind,
    session_date,
    bar_number,
    is_active,
    lower_price,
    upper_price,
    place,
    confirmed_side_before,
    case when place <> 0 and place = previous_place then place else confirmed_side_before end as confirmed_side,
    case
        when place <> previous_place and place = 0 then 'zone_entered'
        when place <> previous_place and previous_place = 0 then 'zone_exited'
        when place <> previous_place then 'zone_crossed_through'
        when (previous_place < 0 and high >= lower_price) or (previous_place > 0 and low <= upper_price)
            then 'pierce_rejected'
    end as meeting,
    case
        when place = previous_place then -place
        when place = 0 then -previous_place
        else place
    end as heading,
    -- the edge that the bar came through last
    case
        when place = previous_place or place = 0 then case when previous_place < 0 then 'lower' else 'upper' end
        when place > 0 then 'upper'
        else 'lower'
    end as edge,
    is_confirmation,
    coalesce(is_confirmation and confirmed_side_before <> place, false) as is_role_flip,
    is_away_lower,
    is_away_upper,
    last_away_lower_number,
    last_away_upper_number
from remembered
