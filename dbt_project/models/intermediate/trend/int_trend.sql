{{ config(materialized='incremental_by_symbol') }}
-- What each bar looks back on: the peak so far, the closes of the past year, the averages. The mart trend alone reads
-- it and holds the rules.
{% set narrow = 'symbol, session_date, bar_number, close, total_return_index' %}
{% set since_first_bar = {
    'peak': 'max(total_return_index) over so_far', 'first_date': 'first_value(session_date) over so_far'
} %}
with known as (
    {{ carried_state({'peak': 'double'}) }}
),

bars as (
    select
        symbol,
        session_date,
        bar_number,
        close,
        total_return_index
    from {{ read(ref('int_bars'), lookback='1 year') }} as bars
),

numbered as (
    select
        symbol,
        session_date,
        bar_number,
        place,
        close,
        total_return_index,
        peak,
        first_date <= session_date - interval 1 year as has_a_year
    from {{ numbered_rows('bars', narrow, ['symbol'], since_first_bar) }} as in_order
),

averages as (
    select
        symbol,
        session_date,
        bar_number,
        place,
        close,
        total_return_index,
        peak,
        has_a_year,
        close_sum_50 / 50 as sma_50,
        close_sum_200 / 200 as sma_200
    from {{ rolling_sums(
        'numbered', ['close'], [5, 50, 200], ['symbol'],
        also=['bar_number', 'close', 'total_return_index', 'peak', 'has_a_year'], numbered=true
    ) }} as rolled
),

looking_back as (
    select * from {{ with_statistics('averages', [
        ('highest_before', 'highest', 'close', 366), ('lowest_before', 'lowest', 'close', 366),
    ]) }} as beside_earlier
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
