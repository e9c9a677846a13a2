{{ config(materialized='ephemeral') }}
-- Sessions on which an instrument's closing price is not made with that of its sector fund, or else of its metal.
with instruments as (
    select * from {{ source('control', 'instruments') }}
)

select
    instruments.symbol,
    apart.session_date
from instruments
inner join instruments as sectors
    on coalesce(instruments.sector_symbol, instruments.metal_symbol) = sectors.symbol
inner join {{ ref('int_sessions_apart') }} as apart
    on
        instruments.clock = apart.clock
        and sectors.clock = apart.other_clock
