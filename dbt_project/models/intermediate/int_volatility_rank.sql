{{ config(materialized='incremental', incremental_strategy='changed_rows') }}
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
    from {{ lookback(of_batch(ref('int_range_volatility'))) }} as volatilities
)

select
    symbol,
    session_date,
    percentile_252,
    close_to_close_21 / nullif(close_to_close_252, 0) as volatility_ratio_21_252
from {{ with_statistics('comparable', [('percentile_252', 'percentile', 'comparable_21', 252)]) }} as ranked
where {{ in_changed_range('ranked') }}
