{{ config(materialized='view') }}
-- What each bar looks back on: the peak so far, the closes of the past year, the averages. The mart trend alone reads
-- it and holds the rules; a view, because a stored copy would only be written to be read once.
with bars as (
    select
        symbol,
        session_date,
        bar_number,
        close,
        total_return_index
    from {{ ref('int_bars') }}
),

averages as (
    select
        symbol,
        session_date,
        bar_number,
        close,
        total_return_index,
        close_sum_50 / 50 as sma_50,
        close_sum_200 / 200 as sma_200
    from {{ rolling_sums(
        'bars', ['close'], [5, 50, 200], ['symbol'], also=['bar_number', 'close', 'total_return_index']
    ) }} as rolled
),

looking_back as (
    select
        *,
        max(total_return_index) over so_far as peak,
        first_value(session_date) over so_far <= session_date - interval 1 year as has_a_year,
        max(close) over before_today as highest_before,
        min(close) over before_today as lowest_before
    from averages
    window
        so_far as (
            partition by symbol
            order by session_date
            rows between unbounded preceding and current row
        ),
        before_today as (
            partition by symbol
            order by session_date
            {{ past_year_frame('interval 1 day preceding') }}
        )
)

select
    *,
    greatest(highest_before, close) as highest_close,
    least(lowest_before, close) as lowest_close
from looking_back
