{{ config(materialized='incremental_by_symbol') }}
-- How unusual the volatility of 21 sessions is for the instrument.
with comparable as (
    select
        symbol,
        session_date,
        close_to_close_21,
        close_to_close_252,
        -- what differs in the last digits only is a tie
        round(close_to_close_21, 12) as comparable_21,
        row_number() over (
            partition by symbol
            order by session_date
        ) as place
    from {{ read(ref('int_range_volatility'), lookback='1 year') }} as volatilities
)

select
    symbol,
    session_date,
    percentile_252,
    close_to_close_21 / nullif(close_to_close_252, 0) as volatility_ratio_21_252
from {{ with_statistics('comparable', [('percentile_252', 'percentile', 'comparable_21', 252)]) }} as ranked
