{{ config(materialized='ephemeral') }}
-- What each instrument is compared with: its metal, its sector fund, and the future of its metal; and when the closing
-- prices of both are made.
with instruments as (
    select * from {{ source('control', 'instruments') }}
),

futures as (
    select
        metal,
        min(symbol) as futures_symbol
    from instruments
    where asset_class = 'metal'
    group by metal
),

benchmarks as (
    select
        symbol,
        'metal' as basis,
        metal_symbol as benchmark_symbol,
        clock
    from instruments
    where metal_symbol is not null
    union all
    select
        symbol,
        'sector' as basis,
        sector_symbol as benchmark_symbol,
        clock
    from instruments
    where sector_symbol is not null
    union all
    select
        instruments.symbol,
        'future' as basis,
        futures.futures_symbol as benchmark_symbol,
        instruments.clock
    from instruments
    inner join futures
        on instruments.metal = futures.metal
    where instruments.asset_class <> 'metal'
)

select
    benchmarks.symbol,
    benchmarks.basis,
    benchmarks.benchmark_symbol,
    benchmarks.clock,
    others.clock as benchmark_clock
from benchmarks
inner join instruments as others
    on benchmarks.benchmark_symbol = others.symbol
