{{ config(materialized='ephemeral', meta={'part_of': 'sector_relative'}) }}
-- The return of each instrument beside that of each of its benchmarks, in one currency; and whether both closing prices
-- were made at the same time.
with benchmarks as (
    select * from {{ ref('int_benchmarks') }}
),

read_bars as (
    select * from {{ read(ref('int_bars'), lookback='1 year', changes='int_relative_changes') }} as in_range
),

bars as (
    select *
    from {{ in_base_currency('read_bars') }} as in_base
    where total_return is not null
),

-- Of the few benchmarks, however many instruments are compared with them.
theirs as (
    select *
    from {{ ref('int_bars') }}
    where symbol in (select benchmarks.benchmark_symbol from benchmarks)
),

benchmark_bars as (
    select *
    from {{ in_base_currency('theirs') }} as in_base
    where total_return is not null
)

select
    bars.symbol,
    benchmarks.basis,
    benchmarks.benchmark_symbol,
    bars.session_date,
    bars.total_return as r,
    benchmark_bars.total_return as b,
    bars.total_return_index / benchmark_bars.total_return_index as ratio,
    benchmarks.clock <> benchmarks.benchmark_clock as has_two_clocks,
    apart.session_date is null as is_synchronous
from bars
inner join benchmarks
    on bars.symbol = benchmarks.symbol
inner join benchmark_bars
    on
        benchmarks.benchmark_symbol = benchmark_bars.symbol
        and bars.session_date = benchmark_bars.session_date
left join {{ ref('int_sessions_apart') }} as apart
    on
        benchmarks.clock = apart.clock
        and benchmarks.benchmark_clock = apart.other_clock
        and bars.session_date = apart.session_date
