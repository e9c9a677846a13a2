{{ config(materialized='incremental_by_symbol') }}
-- Each bar as the sector of its company counts it. A return keeps its company listed for 30 days after its session, or
-- until the next one does.
select
    returns.symbol,
    returns.session_date,
    returns.return_1d,
    cast({{ is_above('bars.close', 'trend.sma_50') }} as double) as is_above_sma_50,
    cast({{ is_above('bars.close', 'trend.sma_200') }} as double) as is_above_sma_200,
    trend.is_52w_high,
    trend.is_52w_low,
    case
        when returns.return_1d is not null
            then
                least(
                    lead(returns.session_date) over known_returns,
                    returns.session_date + 31
                )
    end as listed_until
from {{ read(ref('returns')) }} as returns
inner join {{ read(ref('daily_bars')) }} as bars
    on
        returns.symbol = bars.symbol
        and returns.session_date = bars.session_date
inner join {{ read(ref('trend')) }} as trend
    on
        returns.symbol = trend.symbol
        and returns.session_date = trend.session_date
window known_returns as (
    partition by returns.symbol, returns.return_1d is null
    order by returns.session_date
)
