-- Every line that is watched beside every price that it is held against, as traded and rounded to the tick.
-- A zone is watched as its two edges; int_zone_states puts them together again.
with edges as (
    select
        level_id,
        symbol,
        series,
        kind,
        active_from,
        upper > lower as is_zone,
        lower as level_price,
        'lower' as edge
    from {{ source('control', 'price_levels') }}
    union all
    select
        level_id,
        symbol,
        series,
        kind,
        active_from,
        true as is_zone,
        upper as level_price,
        'upper' as edge
    from {{ source('control', 'price_levels') }}
    where upper > lower
),

-- A level is named in the prices of its first day; splits after that day re-base it.
named_on as (
    select
        edges.level_id,
        edges.edge,
        coalesce(
            max_by(bars.splits_to_come, bars.session_date) filter (where bars.session_date <= edges.active_from),
            min_by(bars.splits_to_come, bars.session_date)
        ) as splits_to_come
    from edges
    inner join {{ ref('int_level_prices') }} as bars
        on
            edges.symbol = bars.symbol
            and edges.series is not distinct from bars.series
    group by edges.level_id, edges.edge
),

beside_bars as (
    select
        edges.level_id,
        edges.edge,
        edges.is_zone,
        edges.kind,
        bars.symbol,
        bars.series,
        bars.session_date,
        bars.bar_number,
        bars.session_position,
        bars.session_date >= edges.active_from as is_active,
        {{ to_tick('edges.level_price / named_on.splits_to_come * bars.splits_to_come', 'bars.tick_size') }}
            as level_price,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.atr_14
    from edges
    inner join named_on
        on
            edges.level_id = named_on.level_id
            and edges.edge = named_on.edge
    inner join {{ ref('int_level_prices') }} as bars
        on
            edges.symbol = bars.symbol
            and edges.series is not distinct from bars.series
)

select
    level_id,
    edge,
    is_zone,
    kind,
    symbol,
    series,
    session_date,
    bar_number,
    session_position,
    is_active,
    level_price,
    open,
    high,
    low,
    close,
    -- the close has left the level: what comes next is no repetition
    round(abs(close - level_price), 6) >= {{ stand_off('level_price', 'atr_14') }} as is_away
from beside_bars
