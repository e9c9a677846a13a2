-- The gap between two instruments: who has been gaining on whom, and how unusually fast.
with placed as (
    select
        *,
        (spread_21d - mean_before) / nullif(sd_before, 0) as z_252,
        case
            when sign(round(spread_21d, 12)) <> sign(round(spread_5_before, 12)) then 'turned'
            when abs(spread_21d) > abs(spread_5_before) then 'widening'
            when spread_21d is not null and spread_5_before is not null then 'narrowing'
        end as state
    from {{ ref('int_pair_spreads') }}
),

judged as (
    select
        *,
        state = 'widening' and abs(z_252) >= z_threshold as is_wide
    from placed
)

select
    pair_id,
    long_symbol,
    short_symbol,
    kind,
    session_date,
    value,
    spread_1d,
    spread_21d,
    z_252,
    percentile_252,
    state,
    z_threshold,
    {{ first_of_run('is_wide', 'earlier') }} as widening_began,
    {{ source_name() }} as source
from judged
window earlier as (
    partition by pair_id
    order by session_date
    rows between 5 preceding and 1 preceding
)
