{{ config(materialized='ephemeral') }}
-- What each instrument is compared with: its metal, its sector fund, and the future of its metal.
with futures as (
    select
        metal,
        min(symbol) as futures_symbol
    from {{ source('control', 'instruments') }}
    where asset_class = 'metal'
    group by metal
)

select
    symbol,
    'metal' as basis,
    metal_symbol as benchmark_symbol
from {{ source('control', 'instruments') }}
where metal_symbol is not null
union all
select
    symbol,
    'sector' as basis,
    sector_symbol as benchmark_symbol
from {{ source('control', 'instruments') }}
where sector_symbol is not null
union all
select
    instruments.symbol,
    'future' as basis,
    futures.futures_symbol as benchmark_symbol
from {{ source('control', 'instruments') }} as instruments
inner join futures
    on instruments.metal = futures.metal
where instruments.asset_class <> 'metal'
