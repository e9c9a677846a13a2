-- The gap between two instruments in one currency, on sessions that both have: who has been gaining on whom, and how
-- unusually fast. Closing prices that are made at different times have no gap of the day.
with instruments as (
    select * from {{ source('control', 'instruments') }}
),

-- Of the few that are paired, however many there are.
legs as (
    select *
    from {{ ref('int_bars') }}
    where
        symbol in (select longs.long_symbol from {{ source('control', 'pairs') }} as longs)
        or symbol in (select shorts.short_symbol from {{ source('control', 'pairs') }} as shorts)
),

bars as (
    select * from {{ in_base_currency('legs') }} as in_base
),

paired as (
    select
        pairs.pair_id,
        pairs.long_symbol,
        pairs.short_symbol,
        pairs.kind,
        pairs.z_threshold,
        long_bars.session_date,
        long_bars.price / short_bars.price as value,
        ln(long_bars.total_return_index / short_bars.total_return_index) as log_strength,
        apart.session_date is not null as is_apart
    from {{ source('control', 'pairs') }} as pairs
    inner join bars as long_bars
        on pairs.long_symbol = long_bars.symbol
    inner join bars as short_bars
        on
            pairs.short_symbol = short_bars.symbol
            and long_bars.session_date = short_bars.session_date
    left join instruments as longs
        on pairs.long_symbol = longs.symbol
    left join instruments as shorts
        on pairs.short_symbol = shorts.symbol
    left join {{ ref('int_sessions_apart') }} as apart
        on
            longs.clock = apart.clock
            and shorts.clock = apart.other_clock
            and long_bars.session_date = apart.session_date
),

-- From one session that both have to the next: a bar that one of them misses shifts no return of the other.
changes as (
    select
        *,
        {{ held_by_decimal('log_strength - lag(log_strength) over in_order') }} as spread_1d
    from paired
    window in_order as (
        partition by pair_id
        order by session_date
    )
),

spreads as (
    select
        *,
        {{ full_sum('spread_1d', 21, 'last_21') }} as spread_21d
    from changes
    window last_21 as (
        partition by pair_id
        order by session_date
        rows between 20 preceding and current row
    )
),

beside_past as (
    select
        *,
        lag(spread_21d, 5) over in_order as spread_5_before,
        {{ z_among_previous('spread_21d', 252, 'before_today') }} as z_252,
        -- rounded: what differs in the last digits only, by the way a window was summed, is a tie
        {{ percentile_among_previous('round(spread_21d, 12)', 252, 'last_253') }} as percentile_252
    from spreads
    window
        in_order as (
            partition by pair_id
            order by session_date
        ),
        before_today as (
            partition by pair_id
            order by session_date
            rows between 252 preceding and 1 preceding
        ),
        last_253 as (
            partition by pair_id
            order by session_date
            rows between 252 preceding and current row
        )
),

placed as (
    select
        *,
        {{ state_of_gap('spread_21d', 'spread_5_before') }} as state
    from beside_past
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
    case when not is_apart then spread_1d end as spread_1d,
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
