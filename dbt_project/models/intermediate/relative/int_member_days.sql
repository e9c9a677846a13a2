{{ config(materialized='incremental_by_symbol') }}
-- Each bar as the sector of its company counts it, in the base currency: of sessions on which its closing price is made
-- with its sector fund's. A return keeps its company listed for 30 days after its session, or until the next one does.
with read_bars as (
    select * from {{ read(ref('int_bars')) }} as in_range
),

days as (
    select
        symbol,
        session_date,
        total_return as return_1d
    from {{ in_base_currency('read_bars') }} as in_base
)

select
    days.symbol,
    days.session_date,
    days.return_1d,
    cast({{ is_above('bars.close', 'trend.sma_50') }} as double) as is_above_sma_50,
    cast({{ is_above('bars.close', 'trend.sma_200') }} as double) as is_above_sma_200,
    trend.is_52w_high,
    trend.is_52w_low,
    case
        when days.return_1d is not null
            then
                least(
                    lead(days.session_date) over known_returns,
                    days.session_date + 31
                )
    end as listed_until
from days
inner join {{ read(ref('daily_bars')) }} as bars
    on
        days.symbol = bars.symbol
        and days.session_date = bars.session_date
inner join {{ read(ref('trend')) }} as trend
    on
        days.symbol = trend.symbol
        and days.session_date = trend.session_date
left join {{ ref('int_apart_from_sector') }} as apart
    on
        days.symbol = apart.symbol
        and days.session_date = apart.session_date
where apart.session_date is null
window known_returns as (
    partition by days.symbol, days.return_1d is null
    order by days.session_date
)
