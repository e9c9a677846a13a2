-- Each large move beside the daily returns known before it: falls beside falls, rises beside rises. A return across a
-- gap is no daily return: it counts among those that are known, and is never one to compare with.
-- No move is joined with its whole history: the rank is a rank over the growing frame, and the latest return as large
-- is looked for in the latest block of bars that holds one.
{% set block_length = 64 %}
with daily_returns as (
    select
        symbol,
        session_date,
        bar_number,
        total_return,
        -- equally large, whatever the last digits say
        round(total_return, 12) as size,
        sessions_since_previous > 1 as spans_gap,
        cast(floor(bar_number / {{ block_length }}.0) as bigint) as block
    from {{ ref('int_bars') }}
    where total_return is not null
),

counted as (
    select
        symbol,
        session_date,
        bar_number,
        block,
        size,
        spans_gap,
        count(*) over so_far as returns_since_inception,
        {{ earlier_as_high('size', 'so_far') }} as as_high,
        {{ earlier_as_low('size', 'so_far') }} as as_low,
        {{ earlier_as_high('size', 'of_its_kind') }} as as_high_of_its_kind,
        {{ earlier_as_low('size', 'of_its_kind') }} as as_low_of_its_kind
    from daily_returns
    window
        so_far as (
            partition by symbol
            order by session_date
            rows between unbounded preceding and current row
        ),
        of_its_kind as (
            partition by symbol, spans_gap
            order by session_date
            rows between unbounded preceding and current row
        )
),

moves as (
    select distinct
        symbol,
        session_date
    from {{ ref('move_rule_hits') }}
),

-- Up is 1 for a rise and for a return of 0, -1 for a fall.
sized as (
    select
        counted.symbol,
        counted.session_date,
        counted.bar_number,
        counted.block,
        abs(counted.size) as size,
        case when counted.size < 0 then -1 else 1 end as up,
        counted.returns_since_inception,
        case
            when counted.size < 0 and counted.spans_gap then counted.as_low - counted.as_low_of_its_kind
            when counted.size < 0 then counted.as_low_of_its_kind
            when counted.spans_gap then counted.as_high - counted.as_high_of_its_kind
            else counted.as_high_of_its_kind
        end as as_large_before
    from counted
    inner join moves
        on
            counted.symbol = moves.symbol
            and counted.session_date = moves.session_date
),

blocks as (
    select
        symbol,
        block,
        max(size) as highest,
        min(size) as lowest
    from daily_returns
    where not spans_gap
    group by symbol, block
),

-- Where to look: in the move's own block, and in the latest earlier one that holds a return as large.
searched as (
    select
        symbol,
        session_date,
        block
    from sized
    union all
    select
        sized.symbol,
        sized.session_date,
        max(blocks.block) as block
    from sized
    inner join blocks
        on
            sized.symbol = blocks.symbol
            and sized.block > blocks.block
            and case when sized.up = 1 then blocks.highest else -blocks.lowest end >= sized.size
    group by sized.symbol, sized.session_date
),

latest_as_large as (
    select
        sized.symbol,
        sized.session_date,
        max(earlier.session_date) as largest_since,
        max(earlier.bar_number) as largest_since_bar_number,
        max_by(earlier.total_return, earlier.session_date) as largest_since_return
    from sized
    inner join searched
        on
            sized.symbol = searched.symbol
            and sized.session_date = searched.session_date
    inner join daily_returns as earlier
        on
            searched.symbol = earlier.symbol
            and searched.block = earlier.block
            and sized.session_date > earlier.session_date
            and sized.size <= earlier.size * sized.up
    where not earlier.spans_gap
    group by sized.symbol, sized.session_date
)

select
    sized.symbol,
    sized.session_date,
    sized.as_large_before + 1 as rank_since_inception,
    sized.returns_since_inception,
    latest_as_large.largest_since,
    latest_as_large.largest_since_return,
    sized.bar_number - latest_as_large.largest_since_bar_number as sessions_since_largest
from sized
left join latest_as_large
    on
        sized.symbol = latest_as_large.symbol
        and sized.session_date = latest_as_large.session_date
