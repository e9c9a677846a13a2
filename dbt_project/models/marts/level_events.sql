-- What the bars did to the watched levels, one row per event.
with sides as (
    select
        *,
        -- which side of the line the close is on; 0 on the line itself
        sign(close - level_price) as touching_side,
        sum(abs(sign(close - level_price))) over in_order as closes_off_the_line
    from {{ ref('int_level_bars') }}
    window in_order as (
        partition by level_id, edge
        order by session_date
        rows between unbounded preceding and current row
    )
),

-- A close on the line keeps the side of the last close off it: the only other side in its group.
carried as (
    select
        *,
        sign(sum(touching_side) over (partition by level_id, edge, closes_off_the_line)) as side
    from sides
),

with_previous as (
    select
        *,
        lag(side) over (partition by level_id, edge order by session_date) as previous_side
    from carried
),

line_events as (
    select
        level_id,
        symbol,
        session_date,
        case
            when side = previous_side then 'pierce_rejected'
            when (open - level_price) * side > 0 then 'gap_through'
            else 'close_cross'
        end as event,
        case
            when side <> previous_side then side
            else -previous_side
        end as heading,
        level_price,
        previous_close,
        open,
        high,
        low,
        close
    from with_previous
    where
        not is_zone
        and is_active
        and previous_side <> 0
        and (
            side <> previous_side
            or (previous_side < 0 and high > level_price)
            or (previous_side > 0 and low < level_price)
        )
),

-- Both edges of a zone side by side; an edge itself belongs to the zone.
zones as (
    select
        level_id,
        symbol,
        session_date,
        is_active,
        min(level_price) as lower_price,
        max(level_price) as upper_price,
        any_value(previous_close) as previous_close,
        any_value(open) as open,
        any_value(high) as high,
        any_value(low) as low,
        any_value(close) as close
    from {{ ref('int_level_bars') }}
    where is_zone
    group by level_id, symbol, session_date, is_active
),

zone_places as (
    select
        *,
        case
            when close < lower_price then -1
            when close > upper_price then 1
            else 0
        end as place,
        case
            when previous_close < lower_price then -1
            when previous_close > upper_price then 1
            when previous_close is not null then 0
        end as previous_place
    from zones
),

zone_events as (
    select
        level_id,
        symbol,
        session_date,
        case
            when place = previous_place then 'pierce_rejected'
            when place = 0 then 'zone_entered'
            when previous_place = 0 then 'zone_exited'
            else 'zone_crossed_through'
        end as event,
        case
            when place = previous_place then -place
            when place = 0 then -previous_place
            else place
        end as heading,
        -- the edge that the bar came through last
        case
            when place = previous_place or place = 0
                then case when previous_place < 0 then lower_price else upper_price end
            when place > 0 then upper_price
            else lower_price
        end as level_price,
        previous_close,
        open,
        high,
        low,
        close
    from zone_places
    where
        is_active
        and (
            place <> previous_place
            or (place < 0 and previous_place < 0 and high >= lower_price)
            or (place > 0 and previous_place > 0 and low <= upper_price)
        )
),

events as (
    select * from line_events
    union all
    select * from zone_events
)

select
    md5(concat_ws('|', symbol, level_id, cast(session_date as {{ dbt.type_string() }}), event, 'as_traded'))
        as event_id,
    level_id,
    symbol,
    session_date,
    event,
    case when heading > 0 then 'up' else 'down' end as direction,
    level_price as level,
    previous_close as prev_close,
    open,
    high,
    low,
    close,
    'as_traded' as price_basis,
    {{ source_name() }} as source
from events
