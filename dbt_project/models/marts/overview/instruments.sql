-- What is watched, and how much of it is there.
with groups as (
    select
        kind,
        name,
        label
    from {{ source('control', 'groups') }}
)

select
    instruments.symbol,
    instruments.source_symbol,
    instruments.name,
    instruments.asset_class,
    instruments.metal,
    instruments.tier,
    asset_classes.label as asset_class_label,
    metals.label as metal_label,
    tiers.label as tier_label,
    instruments.calendar,
    instruments.currency,
    instruments.tick_size,
    instruments.metal_symbol,
    instruments.sector_symbol,
    instruments.active_from,
    instruments.watchlists,
    instruments.price_basis,
    coverage.first_session,
    coverage.last_session,
    coverage.stored_sessions as bar_count,
    coverage.staleness_sessions,
    {{ source_name() }} as source
from {{ source('control', 'instruments') }} as instruments
inner join {{ ref('data_coverage') }} as coverage
    on instruments.symbol = coverage.symbol
left join groups as asset_classes
    on
        asset_classes.kind = 'asset_class'
        and instruments.asset_class = asset_classes.name
left join groups as metals
    on
        metals.kind = 'metal'
        and instruments.metal = metals.name
left join groups as tiers
    on
        tiers.kind = 'tier'
        and instruments.tier = tiers.name
