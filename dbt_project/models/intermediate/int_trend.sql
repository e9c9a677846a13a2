{{ config(materialized='view') }}
-- What each bar looks back on: the peak so far, the closes of the past year, the averages. The mart trend alone reads
-- it and holds the rules; a view, because a stored copy would only be written to be read once.
select
    symbol,
    session_date,
    bar_number,
    close,
    total_return_index,
    max(total_return_index) over so_far as peak,
    min(session_date) over so_far <= session_date - interval 1 year as has_a_year,
    max(close) over past_year as highest_close,
    min(close) over past_year as lowest_close,
    max(close) over before_today as highest_before,
    min(close) over before_today as lowest_before,
    {{ full_window('avg(close)', 'close', 50, 'last_50') }} as sma_50,
    {{ full_window('avg(close)', 'close', 200, 'last_200') }} as sma_200
from {{ ref('int_bars') }}
window
    so_far as (
        partition by symbol
        order by session_date
        rows between unbounded preceding and current row
    ),
    past_year as (
        partition by symbol
        order by session_date
        {{ past_year_frame() }}
    ),
    before_today as (
        partition by symbol
        order by session_date
        {{ past_year_frame('interval 1 day preceding') }}
    ),
    last_50 as (
        partition by symbol
        order by session_date
        rows between 49 preceding and current row
    ),
    last_200 as (
        partition by symbol
        order by session_date
        rows between 199 preceding and current row
    )
