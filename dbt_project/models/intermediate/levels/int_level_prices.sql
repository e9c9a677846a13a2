{{ config(materialized='view') }}
-- What levels are held against: the price of an instrument as traded, or a series that is computed from prices, of
-- which only closes are known: the price ratio of a pair, or a close as a multiple of its average.
with watched as (
    select distinct
        symbol,
        series
    from {{ source('control', 'price_levels') }}
    where series is not null
),

computed as (
    {%- for n in [50, 200] %}
        select
            watched.symbol,
            watched.series,
            bars.session_date,
            bars.session_number,
            round(bars.close / trend.sma_{{ n }}, 6) as close
        from watched
        inner join {{ ref('int_bars') }} as bars
            on watched.symbol = bars.symbol
        inner join {{ ref('trend') }} as trend
            on
                bars.symbol = trend.symbol
                and bars.session_date = trend.session_date
        where watched.series = 'sma_{{ n }}' and trend.sma_{{ n }} is not null
        union all
    {%- endfor %}
    select
        watched.symbol,
        watched.series,
        pairs.session_date,
        bars.session_number,
        round(pairs.value, 6) as close
    from watched
    inner join {{ ref('pair_spreads') }} as pairs
        on watched.series = pairs.pair_id
    inner join {{ ref('int_bars') }} as bars
        on
            watched.symbol = bars.symbol
            and pairs.session_date = bars.session_date
    where pairs.value > 0
)

select
    symbol,
    cast(null as {{ dbt.type_string() }}) as series,
    session_date,
    bar_number,
    session_position,
    open,
    high,
    low,
    close,
    previous_close,
    atr_14,
    splits_to_come,
    tick_size
from {{ ref('int_traded_bars') }}
union all
select
    symbol,
    series,
    session_date,
    row_number() over in_order as bar_number,
    session_number as session_position,
    cast(null as double) as open,
    cast(null as double) as high,
    cast(null as double) as low,
    close,
    lag(close) over in_order as previous_close,
    cast(null as double) as atr_14,
    1.0 as splits_to_come,
    0.000001 as tick_size
from computed
window in_order as (
    partition by symbol, series
    order by session_date
)
