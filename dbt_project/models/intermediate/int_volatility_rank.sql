{{ config(materialized='view') }}
-- The rolling volatilities beside how unusual they are for the instrument.
with changes as (
    select
        *,
        ln(nullif(close_to_close_21, 0) / nullif(lag(close_to_close_21) over in_order, 0)) as log_change,
        -- what differs in the last digits only, by the way a window was summed, is a tie
        round(close_to_close_21, 12) as comparable_21
    from {{ ref('int_range_volatility') }}
    window in_order as (
        partition by symbol
        order by session_date
    )
)

select
    *,
    {{ percentile_among_previous('comparable_21', 252, 'last_253') }} as percentile_252,
    {{ full_window('stddev_samp(log_change)', 'log_change', 63, 'last_63') }} as volatility_of_volatility_63,
    close_to_close_21 / nullif(close_to_close_252, 0) as volatility_ratio_21_252
from changes
window
    last_63 as (
        partition by symbol
        order by session_date
        rows between 62 preceding and current row
    ),
    last_253 as (
        partition by symbol
        order by session_date
        rows between 252 preceding and current row
    )
