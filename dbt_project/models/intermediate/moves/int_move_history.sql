{{ config(materialized='incremental_by_symbol') }}
-- Each large move beside the daily returns known before it, or changes of what is quoted in points: falls beside falls,
-- rises beside rises. A return across a gap is no daily return: it counts among those that are known, and is never one
-- to compare with.
-- No move is joined with its whole history: the rank is a rank over the growing frame, and the latest return as large
-- is looked for in the latest block of bars that holds one.
{% set block_length = 64 %}
with broken as (
    select distinct
        symbol,
        session_date
    from {{ read(ref('move_rule_hits')) }} as hits
),

daily_returns as (
    select
        symbol,
        session_date,
        bar_number,
        cast(floor(bar_number / {{ block_length }}) as bigint) as block,
        coalesce(total_return, point_change) as total_return,
        -- equally large, whatever the last digits say
        round(abs(coalesce(total_return, point_change)), 12) as size,
        round(coalesce(total_return, point_change), 12) < 0 as is_fall,
        sessions_since_previous > 1 as spans_gap
    from {{ read(ref('int_bars'), lookback='everything') }} as bars
    where coalesce(total_return, point_change) is not null and symbol in (select broken.symbol from broken)
),

moves as (
    select daily_returns.*
    from daily_returns
    inner join broken
        on
            daily_returns.symbol = broken.symbol
            and daily_returns.session_date = broken.session_date
),

counted as (
    {{ returns_before('moves', 'daily_returns') }}
),

blocks as (
    select
        symbol,
        is_fall,
        block,
        max(size) as largest
    from daily_returns
    where not spans_gap
    group by symbol, is_fall, block
),

-- Where to look: in the move's own block, and in the latest earlier one that holds a return as large.
searched as (
    select
        symbol,
        session_date,
        bar_number,
        size,
        is_fall,
        block
    from moves
    union all
    select
        moves.symbol,
        moves.session_date,
        moves.bar_number,
        moves.size,
        moves.is_fall,
        max(blocks.block) as block
    from moves
    inner join blocks
        on
            moves.symbol = blocks.symbol
            and moves.is_fall = blocks.is_fall
            and moves.block > blocks.block
            and moves.size <= blocks.largest
    group by moves.symbol, moves.session_date, moves.bar_number, moves.size, moves.is_fall
),

latest_as_large as (
    select
        searched.symbol,
        searched.session_date,
        max(earlier.session_date) as largest_since,
        max(earlier.bar_number) as largest_since_bar_number,
        max_by(earlier.total_return, earlier.session_date) as largest_since_return
    from searched
    inner join daily_returns as earlier
        on
            searched.symbol = earlier.symbol
            and searched.is_fall = earlier.is_fall
            and searched.block = earlier.block
            and searched.bar_number > earlier.bar_number
            and searched.size <= earlier.size
    where not earlier.spans_gap
    group by searched.symbol, searched.session_date
)

select
    moves.symbol,
    moves.session_date,
    1 + counted.as_large as rank_since_inception,
    counted.returns_since_inception,
    latest_as_large.largest_since,
    latest_as_large.largest_since_return,
    moves.bar_number - latest_as_large.largest_since_bar_number as sessions_since_largest
from moves
inner join counted
    on
        moves.symbol = counted.symbol
        and moves.session_date = counted.session_date
left join latest_as_large
    on
        moves.symbol = latest_as_large.symbol
        and moves.session_date = latest_as_large.session_date
