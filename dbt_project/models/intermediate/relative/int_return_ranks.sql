{{ config(
    materialized='incremental_by_symbol',
    meta={'changed_ranges': ['int_ranked_changes.session_date'], 'changed_keys': ['metal', 'session_date'], 'in_batches': false}
) }}
-- The place of each miner's return, in the base currency, among those of its metal on the session, the best first. All
-- stand in one ranking; in that of the day those whose closing price is made with their sector fund's.
{% set changes = incremental_ref('int_ranked_changes') %}
with instruments as (
    select * from {{ source('control', 'instruments') }}
),

bars as (
    select * from {{ in_base_currency(ref('int_bars')) }} as in_base
),

miners as (
    select
        bars.symbol,
        bars.session_date,
        instruments.metal,
        -- rounded: what differs in the last digits only is a tie
        case when apart.session_date is null then round(bars.total_return, 12) end as return_1d,
        round(bars.total_return_index / bases.total_return_index - 1, 12) as return_21d
    from bars
    inner join instruments
        on bars.symbol = instruments.symbol
    left join bars as bases
        on
            bars.symbol = bases.symbol
            and bars.bar_number - 21 = bases.bar_number
    left join {{ ref('int_apart_from_sector') }} as apart
        on
            bars.symbol = apart.symbol
            and bars.session_date = apart.session_date
    {%- if is_incremental() %}
        inner join {{ changes }} as changes
            on
                instruments.metal = changes.metal
                and bars.session_date = changes.session_date
    {%- endif %}
    where
        {{ is_miner('instruments') }}
        {%- if is_incremental() %}
            and bars.session_date >= {{ earliest(changes, 'session_date') }}
            and bars.session_date <= {{ latest(changes, 'session_date') }}
        {%- endif %}
)

select
    symbol,
    metal,
    session_date,
    case
        when return_1d is not null
            then
                cast(rank() over (
                    partition by metal, session_date
                    order by return_1d desc nulls last
                ) as bigint)
    end as rank_1d,
    case
        when return_21d is not null
            then
                cast(rank() over (
                    partition by metal, session_date
                    order by return_21d desc nulls last
                ) as bigint)
    end as rank_21d
from miners
