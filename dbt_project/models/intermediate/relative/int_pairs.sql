{{ config(materialized='ephemeral', meta={'part_of': 'sector_relative'}) }}
-- The return of each instrument beside that of each of its benchmarks.
with benchmarks as (
    select * from {{ ref('int_benchmarks') }}
),

bars as (
    select
        symbol,
        session_date,
        total_return,
        total_return_index
    from {{ read(ref('int_bars'), lookback='1 year', changes='int_relative_changes') }} as read_bars
    where total_return is not null
),

-- Of the few benchmarks, however many instruments are compared with them.
benchmark_bars as (
    select
        symbol,
        session_date,
        total_return,
        total_return_index
    from {{ ref('int_bars') }}
    where
        total_return is not null
        and symbol in (select benchmarks.benchmark_symbol from benchmarks)
)

select
    bars.symbol,
    benchmarks.basis,
    benchmarks.benchmark_symbol,
    bars.session_date,
    bars.total_return as r,
    benchmark_bars.total_return as b,
    bars.total_return_index / benchmark_bars.total_return_index as ratio
from bars
inner join benchmarks
    on bars.symbol = benchmarks.symbol
inner join benchmark_bars
    on
        benchmarks.benchmark_symbol = benchmark_bars.symbol
        and bars.session_date = benchmark_bars.session_date
