-- Closes of the contracts behind each front-month series as they were collected, which of them the series shows, and
-- the sessions on which that changes.
with compared as (
    select
        contracts.root,
        contracts.contract,
        contracts.delivery_month,
        contracts.session_date,
        contracts.close,
        bars.bar_number,
        abs(contracts.close - bars.close) < bars.tick_size / 2 as is_equal
    from {{ ref('stg_contract_bars') }} as contracts
    inner join {{ ref('int_bars') }} as bars
        on
            contracts.root = bars.symbol
            and contracts.session_date = bars.session_date
),

-- Of several that the series equals, the one that is delivered first.
fronts as (
    select
        root,
        session_date,
        bar_number,
        min(case when is_equal then delivery_month end) as front_month
    from compared
    group by root, session_date, bar_number
),

rolls as (
    select
        fronts.root,
        fronts.session_date,
        fronts.front_month,
        fronts.front_month <> earlier.front_month as is_roll
    from fronts
    left join fronts as earlier
        on
            fronts.root = earlier.root
            and fronts.bar_number - 1 = earlier.bar_number
)

select
    compared.root,
    compared.contract,
    compared.delivery_month,
    compared.session_date,
    compared.close,
    compared.delivery_month = rolls.front_month as is_front,
    rolls.is_roll,
    {{ source_name() }} as source
from compared
inner join rolls
    on
        compared.root = rolls.root
        and compared.session_date = rolls.session_date
