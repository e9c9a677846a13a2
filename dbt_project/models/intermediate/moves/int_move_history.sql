{{ config(materialized='incremental_by_symbol') }}
-- Each large move beside the daily returns known before it: falls beside falls, rises beside rises. A return across a
-- gap is no daily return: it counts among those that are known, and is never one to compare with.
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
        total_return,
        -- equally large, whatever the last digits say
        round(abs(total_return), 12) as size,
        round(total_return, 12) < 0 as is_fall,
        sessions_since_previous > 1 as spans_gap
    from {{ read(ref('int_bars'), lookback='everything') }} as bars
    where total_return is not null and symbol in (select broken.symbol from broken)
),

moves as (
    select
        daily_returns.symbol,
        daily_returns.session_date,
        daily_returns.bar_number,
        daily_returns.block,
        daily_returns.size,
        daily_returns.is_fall,
        daily_returns.spans_gap
    from daily_returns
    inner join broken
        on
            daily_returns.symbol = broken.symbol
            and daily_returns.session_date = broken.session_date
),

{% if is_incremental() or not ranks_over_frames() %}
-- Few moves: each is held against every return before it.
    counted as (
        select
            moves.symbol,
            moves.session_date,
            count(*) as returns_since_inception,
            count(
                case
                    when moves.bar_number > earlier.bar_number
                        and moves.is_fall = earlier.is_fall
                        and moves.size <= earlier.size
                        then 1
                end
            ) as as_large,
            count(
                case
                    when
                        moves.bar_number > earlier.bar_number
                        and moves.is_fall = earlier.is_fall
                        and moves.size <= earlier.size
                        and moves.spans_gap = earlier.spans_gap
                        then 1
                end
            ) as as_large_of_its_kind
        from moves
        inner join daily_returns as earlier
            on
                moves.symbol = earlier.symbol
                and moves.bar_number >= earlier.bar_number
        group by moves.symbol, moves.session_date
    ),
{% else %}
-- Windows over all bars are dear: used once, two ranks. Those of its kind span a gap too, or none do.
    counted as (
        select
            symbol,
            session_date,
            count(*) over so_far as returns_since_inception,
            {{ earlier_as_large('size', 'of_its_side') }} as as_large,
            {{ earlier_as_large('size', 'of_its_kind') }} as as_large_of_its_kind
        from daily_returns
        window
            so_far as (
                partition by symbol
                order by session_date
                rows between unbounded preceding and current row
            ),
            of_its_side as (
                partition by symbol, is_fall
                order by session_date
                rows between unbounded preceding and current row
            ),
            of_its_kind as (
                partition by symbol, is_fall, spans_gap
                order by session_date
                rows between unbounded preceding and current row
            )
    ),

{% endif %}
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
    1 + case
        when moves.spans_gap then counted.as_large - counted.as_large_of_its_kind
        else counted.as_large_of_its_kind
    end as rank_since_inception,
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
