{{ config(materialized='view') }}
-- The rolling volatilities beside how unusual they are for the instrument.
with comparable as (
    select
        *,
        -- what differs in the last digits only is a tie
        round(close_to_close_21, 12) as comparable_21
    from {{ ref('int_range_volatility') }}
)

select
    *,
    {{ percentile_among_previous('comparable_21', 252, 'last_253') }} as percentile_252,
    close_to_close_21 / nullif(close_to_close_252, 0) as volatility_ratio_21_252
from comparable
window last_253 as (
    partition by symbol
    order by session_date
    rows between 252 preceding and current row
)
