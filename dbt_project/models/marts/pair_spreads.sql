-- The gap between two instruments: who has been gaining on whom, and how unusually fast.
select
    pair_id,
    long_symbol,
    short_symbol,
    kind,
    session_date,
    value,
    spread_1d,
    spread_21d,
    (spread_21d - mean_before) / nullif(sd_before, 0) as z_252,
    percentile_252,
    case
        when sign(spread_21d) <> sign(spread_5_before) then 'turned'
        when abs(spread_21d) > abs(spread_5_before) then 'widening'
        when spread_21d is not null and spread_5_before is not null then 'narrowing'
    end as state,
    {{ source_name() }} as source
from {{ ref('int_pair_spreads') }}
