-- Where each level of price_levels.csv stood at each session from its first day on.
with states as (
    select
        level_id,
        symbol,
        series,
        kind,
        session_date,
        level_price as lower,
        level_price as upper,
        side,
        confirmed_side
    from {{ ref('int_line_states') }}
    where is_active
    union all
    select
        level_id,
        symbol,
        series,
        kind,
        session_date,
        lower_price as lower,
        upper_price as upper,
        place as side,
        confirmed_side
    from {{ ref('int_zone_states') }}
    where is_active
)

select
    states.level_id,
    states.symbol,
    states.series,
    states.kind,
    states.session_date,
    states.lower,
    states.upper,
    case
        when states.side > 0 then 'above'
        when states.side < 0 then 'below'
        when states.side = 0 then 'inside'
    end as side,
    {{ role('states.confirmed_side') }} as role,
    {{ distance_from_level('bars.close', 'states.lower', 'states.upper') }} as distance,
    bars.close,
    {{ source_name() }} as source
from states
inner join {{ ref('int_level_prices') }} as bars
    on
        states.symbol = bars.symbol
        and states.series is not distinct from bars.series
        and states.session_date = bars.session_date
