-- Which move rules hold for which instrument: per measure and window those of the most specific scope, all of them.
with matches as (
    select
        instruments.symbol,
        rules.rule_id,
        rules.measure,
        rules.sessions,
        rules.threshold,
        case rules.scope
            when 'symbol' then 1
            when 'tier' then 2
            when 'asset_class' then 3
            else 4
        end as specificity
    from {{ source('control', 'instruments') }} as instruments
    inner join {{ source('control', 'move_rules') }} as rules
        on
            rules.scope = 'all'
            or (rules.scope = 'asset_class' and instruments.asset_class = rules.scope_value)
            or (rules.scope = 'tier' and instruments.tier = rules.scope_value)
            or (rules.scope = 'symbol' and instruments.symbol = rules.scope_value)
)

select
    symbol,
    rule_id,
    measure,
    sessions,
    threshold
from matches
qualify rank() over (
        partition by symbol, measure, sessions
        order by specificity
    ) = 1
