-- What is watched, and how much of it is there.
select
    instruments.symbol,
    instruments.source_symbol,
    instruments.name,
    instruments.asset_class,
    instruments.metal,
    instruments.tier,
    instruments.calendar,
    instruments.currency,
    instruments.tick_size,
    instruments.metal_symbol,
    instruments.sector_symbol,
    instruments.active_from,
    instruments.price_basis,
    coverage.first_session,
    coverage.last_session,
    coverage.stored_sessions as bar_count,
    coverage.staleness_sessions,
    {{ source_name() }} as source
from {{ source('control', 'instruments') }} as instruments
inner join {{ ref('data_coverage') }} as coverage
    on instruments.symbol = coverage.symbol
