{{ config(materialized='incremental', incremental_strategy='changed_rows') }}
-- What each bar looks back on: the peak so far, the closes of the past year, the averages. The mart trend alone reads
-- it and holds the rules.
with known as (
    {{ rows_before_changes({'peak': 'double'}) }}
),

bars as (
    select
        symbol,
        session_date,
        bar_number,
        close,
        total_return_index
    from {{ with_look_back(of_batch(ref('int_bars'))) }} as bars
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
    looking_back.symbol,
    looking_back.session_date,
    looking_back.bar_number,
    looking_back.close,
    looking_back.total_return_index,
    looking_back.sma_50,
    looking_back.sma_200,
    greatest(looking_back.peak, known.peak) as peak,
    looking_back.has_a_year,
    looking_back.highest_before,
    looking_back.lowest_before,
    greatest(looking_back.highest_before, looking_back.close) as highest_close,
    least(looking_back.lowest_before, looking_back.close) as lowest_close
from looking_back
left join known
    on looking_back.symbol = known.symbol
where {{ is_changed('looking_back') }}
