-- What each instrument is compared with: its metal, and its sector fund.
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
