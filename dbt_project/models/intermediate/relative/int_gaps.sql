{{ config(materialized='ephemeral', meta={'part_of': 'gap_parts'}) }}
-- The gap of each pair from one session that both have to the next, beside what their metal's move makes of it.
with instruments as (
    select * from {{ source('control', 'instruments') }}
),

pairs as (
    select
        declared.pair_id,
        declared.long_symbol,
        declared.short_symbol,
        declared.z_threshold,
        longs.clock as long_clock,
        shorts.clock as short_clock,
        metals.clock as metal_clock,
        metals.symbol as metal_symbol
    from {{ source('control', 'pairs') }} as declared
    inner join instruments as longs
        on declared.long_symbol = longs.symbol
    inner join instruments as shorts
        on declared.short_symbol = shorts.symbol
    left join instruments as metals
        on
            longs.metal_symbol = metals.symbol
            and shorts.metal_symbol = metals.symbol
),

-- Of the few that are paired, however many there are, and of their metals.
legs as (
    select *
    from {{ ref('int_bars') }}
    where
        symbol in (select longs.long_symbol from pairs as longs)
        or symbol in (select shorts.short_symbol from pairs as shorts)
        or symbol in (select metals.metal_symbol from pairs as metals)
),

bars as (
    select * from {{ in_base_currency('legs') }} as in_base
),

betas as (
    select
        symbol,
        session_date,
        beta_252
    from {{ ref('sector_relative') }}
    where symbol in (select legs.symbol from legs)
),

-- Sessions on which closing prices of the three are made at different times.
apart as (
    select distinct
        pairs.pair_id,
        sessions.session_date
    from pairs
    inner join {{ ref('int_sessions_apart') }} as sessions
        on
            (pairs.long_clock = sessions.clock and sessions.other_clock in (pairs.short_clock, pairs.metal_clock))
            or (pairs.short_clock = sessions.clock and pairs.metal_clock = sessions.other_clock)
),

paired as (
    select
        pairs.pair_id,
        pairs.metal_symbol,
        pairs.z_threshold,
        long_bars.session_date,
        long_bars.total_return_index as long_index,
        short_bars.total_return_index as short_index,
        metal_bars.total_return_index as metal_index,
        long_betas.beta_252 - short_betas.beta_252 as beta_gap,
        apart.session_date is not null as is_apart
    from pairs
    inner join bars as long_bars
        on pairs.long_symbol = long_bars.symbol
    inner join bars as short_bars
        on
            pairs.short_symbol = short_bars.symbol
            and long_bars.session_date = short_bars.session_date
    left join bars as metal_bars
        on
            pairs.metal_symbol = metal_bars.symbol
            and long_bars.session_date = metal_bars.session_date
    left join betas as long_betas
        on
            pairs.long_symbol = long_betas.symbol
            and long_bars.session_date = long_betas.session_date
    left join betas as short_betas
        on
            pairs.short_symbol = short_betas.symbol
            and long_bars.session_date = short_betas.session_date
    left join apart
        on
            pairs.pair_id = apart.pair_id
            and long_bars.session_date = apart.session_date
),

-- From one session that both have to the next.
beside_earlier as (
    select
        *,
        lag(long_index) over in_order as earlier_long_index,
        lag(short_index) over in_order as earlier_short_index,
        lag(metal_index) over in_order as earlier_metal_index,
        lag(beta_gap) over in_order as earlier_beta_gap
    from paired
    window in_order as (
        partition by pair_id
        order by session_date
    )
),

changes as (
    select
        *,
        {{ held_by_decimal('(long_index / earlier_long_index - short_index / earlier_short_index)') }} as gap,
        {{ held_by_decimal('(earlier_beta_gap * (metal_index / earlier_metal_index - 1))') }} as metal_part
    from beside_earlier
)

select
    pair_id,
    metal_symbol,
    z_threshold,
    session_date,
    is_apart,
    gap,
    metal_part,
    gap - metal_part as rest
from changes
