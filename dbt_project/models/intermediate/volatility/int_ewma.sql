{{ config(materialized='incremental_by_symbol') }}
-- RiskMetrics (1996): s2(t) = 0.94 s2(t-1) + 0.06 x(t-1)^2 on log returns, seeded with the mean of the first 21 squared
-- returns, so that the value at t is known before t. The recursion goes in blocks of 64 returns: within a block the
-- weighted sum is made of shorter ones, from block to block the value is carried on. So each value comes of the same
-- operations wherever a build begins.
{% set block = 64 %}
with known as (
    {{ carried_state({'step': 'bigint', 'variance': 'double'}, 'step % ' ~ block ~ ' = 0') }}
),

squares as (
    select
        symbol,
        session_date,
        -- 0 for the 22nd return: those before are the seed
        bar_number - 23 as step,
        power(ln(1 + total_return), 2) as squared_return
    from {{ read(ref('int_bars'), lookback='70 bars') }} as bars
    where bar_number >= 2 and is_in_points is not true
),

starts as (
    select
        symbol,
        0 as step,
        {{ ordered_mean('squared_return', 'session_date') }} as variance
    from squares
    where step < 0
    group by symbol
    having count(*) = 21
    union all
    select
        symbol,
        step,
        variance
    from known
),

since_start as (
    select
        squares.symbol,
        squares.session_date,
        squares.step,
        (squares.step - starts.step) % {{ block }} as position,
        cast(floor((squares.step - starts.step) / {{ block }}) as bigint) as block,
        squares.squared_return as sum_1
    from squares
    inner join starts
        on
            squares.symbol = starts.symbol
            and squares.step >= starts.step
),

-- The weighted sum from the beginning of the block up to the row.
weighted as (
    {%- set doubled = namespace(
        sql=numbered_rows('since_start', 'symbol, session_date, step, position, block, sum_1', ['symbol'])
    ) %}
    {%- for n in [1, 2, 4, 8, 16, 32] %}
        {%- set doubled.sql %}
            (
                select
                    symbol,
                    session_date,
                    step,
                    position,
                    block,
                    place,
                    case
                        when position >= {{ n }}
                            then sum_{{ n }} + power(0.94, {{ n }}) * {{ place_ago('sum_' ~ n, n, ['symbol']) }}
                        else sum_{{ n }}
                    end as sum_{{ 2 * n }}
                from {{ doubled.sql }} as sums_{{ n }}
            )
        {%- endset %}
    {%- endfor %}
    select
        symbol,
        session_date,
        step,
        position,
        block,
        sum_{{ block }} as weighted_sum,
        {{ rows_ago('sum_' ~ block, 1, ['symbol']) }} as weighted_sum_before
    from {{ doubled.sql }} as sums
),

block_starts as (
    select
        symbol,
        0 as block,
        variance
    from starts
    union all
    select
        weighted.symbol,
        weighted.block + 1 as block,
        {{ carried_on('starts.variance', 'weighted.weighted_sum', 'so_far', 'power(0.94, ' ~ block ~ ')', '0.06') }}
            as variance
    from weighted
    inner join starts
        on weighted.symbol = starts.symbol
    where weighted.position = {{ block - 1 }}
    window so_far as (
        partition by weighted.symbol
        order by weighted.block
        rows between unbounded preceding and current row
    )
)

select
    weighted.symbol,
    weighted.session_date,
    weighted.step,
    case
        when weighted.position = 0 then block_starts.variance
        else power(0.94, weighted.position) * block_starts.variance + 0.06 * weighted.weighted_sum_before
    end as variance
from weighted
inner join block_starts
    on
        weighted.symbol = block_starts.symbol
        and weighted.block = block_starts.block
