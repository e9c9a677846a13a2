-- The gap of a pair that digs for one metal, taken apart: what the metal's move makes of it, since one of the two moves
-- more with the metal than the other, and the rest. A day's part comes from betas that were known before the day.
with gaps as (
    select * from {{ ref('int_gaps') }}
),

sums as (
    select
        *,
        {{ full_sum('gap', 21, 'last_21') }} as gap_21d,
        {{ full_sum('metal_part', 21, 'last_21') }} as metal_part_21d,
        {{ full_sum('rest', 21, 'last_21') }} as rest_21d
    from gaps
    window last_21 as (
        partition by pair_id
        order by session_date
        rows between 20 preceding and current row
    )
),

beside_past as (
    select
        *,
        lag(rest_21d, 5) over in_order as rest_5_before,
        {{ z_among_previous('rest_21d', 252, 'before_today') }} as rest_z_252
    from sums
    window
        in_order as (
            partition by pair_id
            order by session_date
        ),
        before_today as (
            partition by pair_id
            order by session_date
            rows between 252 preceding and 1 preceding
        )
),

placed as (
    select
        *,
        {{ state_of_gap('rest_21d', 'rest_5_before') }} as state_rest
    from beside_past
),

judged as (
    select
        *,
        state_rest = 'widening' and abs(rest_z_252) >= z_threshold as is_wide
    from placed
)

select
    pair_id,
    session_date,
    metal_symbol,
    case when not is_apart then gap end as gap,
    case when not is_apart then metal_part end as metal_part,
    case when not is_apart then rest end as rest,
    gap_21d,
    metal_part_21d,
    rest_21d,
    rest_z_252,
    state_rest,
    {{ first_of_run('is_wide', 'earlier') }} as rest_widening_began,
    {{ source_name() }} as source
from judged
window earlier as (
    partition by pair_id
    order by session_date
    rows between 5 preceding and 1 preceding
)
