{{ config(materialized='incremental', incremental_strategy='changed_rows') }}
-- How unusual the volatility of 21 sessions is for the instrument.
with comparable as (
    select
        symbol,
        session_date,
        close_to_close_21,
        close_to_close_252,
        -- what differs in the last digits only is a tie
        round(close_to_close_21, 12) as comparable_21
    from {{ with_look_back(of_batch(ref('int_range_volatility'))) }} as volatilities
),

ranked as (
    select
        symbol,
        session_date,
        {{ percentile_among_previous('comparable_21', 252, 'last_253') }} as percentile_252,
        close_to_close_21 / nullif(close_to_close_252, 0) as volatility_ratio_21_252
    from comparable
    window last_253 as (
        partition by symbol
        order by session_date
        rows between 252 preceding and current row
    )
)

select
    symbol,
    session_date,
    percentile_252,
    volatility_ratio_21_252
from ranked
where {{ is_changed('ranked') }}
