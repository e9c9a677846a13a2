{{ config(materialized='incremental', incremental_strategy='changed_rows') }}
-- RiskMetrics (1996): s2(t) = 0.94 s2(t-1) + 0.06 x(t-1)^2 on log returns, seeded with the mean of the first 21 squared
-- returns, so that the value at t is known before t. The recursion is unrolled in blocks of 1,000 returns: a weight of
-- 0.94^1000 is nothing, and the powers stay far from overflow.
with known as (
    {{ rows_before_changes({'variance': 'double'}) }}
),

bars as (
    select * from {{ with_look_back(ref('int_bars'), 'near_from') }}
),

squares as (
    select
        symbol,
        session_date,
        power(ln(1 + total_return), 2) as squared_return,
        -- 0 for the first return
        bar_number - 2 as position
    from bars
    where bar_number >= 2
),

seeds as (
    select
        symbol,
        {{ ordered_mean('squared_return', 'session_date') }} as seed
    from squares
    where position < 21
    group by symbol
    having count(*) = 21
),

-- The recursion starts after the seed: its first step is at the 22nd return. Or it goes on from where it was.
starts as (
    select
        symbol,
        seed,
        21 as position
    from seeds
    where symbol not in (select known.symbol from known)
    union all
    select
        known.symbol,
        known.variance as seed,
        bars.bar_number - 2 as position
    from known
    inner join bars
        on
            known.symbol = bars.symbol
            and known.session_date = bars.session_date
),

weighted as (
    select
        squares.symbol,
        squares.session_date,
        squares.position - starts.position as step,
        cast(floor((squares.position - starts.position) / 1000.0) as bigint) as block,
        0.06 * squares.squared_return * power(0.94, -cast((squares.position - starts.position) % 1000 as double))
            as weighted_square,
        starts.seed
    from squares
    inner join starts
        on
            squares.symbol = starts.symbol
            and squares.position >= starts.position
),

within_blocks as (
    select
        symbol,
        session_date,
        step,
        block,
        seed,
        weighted_square,
        coalesce(sum(weighted_square) over (
            partition by symbol, block
            order by session_date
            rows between unbounded preceding and 1 preceding
        ), 0) as sum_before
    from weighted
),

-- The window's sum up to the last row: a sum over the group would be added up in any order.
blocks as (
    select
        symbol,
        block,
        sum_before + weighted_square as block_sum
    from within_blocks
    qualify row_number() over (partition by symbol, block order by session_date desc) = 1
)

select
    within_blocks.symbol,
    within_blocks.session_date,
    power(0.94, cast(within_blocks.step % 1000 as double) - 1) * (
        within_blocks.sum_before
        + 0.94 * case
            when within_blocks.block = 0 then within_blocks.seed
            else power(0.94, 999) * blocks.block_sum
        end
    ) as variance
from within_blocks
left join blocks
    on
        within_blocks.symbol = blocks.symbol
        and within_blocks.block = blocks.block + 1
where {{ is_changed('within_blocks') }}
