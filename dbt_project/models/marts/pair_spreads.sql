-- The gap between two instruments: who has been gaining on whom, and how unusually fast.
with paired as (
    select
        pairs.pair_id,
        long_bars.session_date,
        long_bars.close_as_traded / short_bars.close_as_traded as value,
        long_returns.log_return_1d - short_returns.log_return_1d as spread_1d
    from {{ source('control', 'pairs') }} as pairs
    inner join {{ ref('daily_bars') }} as long_bars
        on pairs.long_symbol = long_bars.symbol
    inner join {{ ref('daily_bars') }} as short_bars
        on
            pairs.short_symbol = short_bars.symbol
            and long_bars.session_date = short_bars.session_date
    inner join {{ ref('returns') }} as long_returns
        on
            pairs.long_symbol = long_returns.symbol
            and long_bars.session_date = long_returns.session_date
    inner join {{ ref('returns') }} as short_returns
        on
            pairs.short_symbol = short_returns.symbol
            and long_bars.session_date = short_returns.session_date
),

spreads as (
    select
        *,
        {{ full_window('sum(spread_1d)', 'spread_1d', 21, 'last_21') }} as spread_21d,
        row_number() over in_order as position
    from paired
    window
        in_order as (
            partition by pair_id
            order by session_date
        ),
        last_21 as (
            partition by pair_id
            order by session_date
            rows between 20 preceding and current row
        )
),

scored as (
    select
        *,
        {{ full_window('avg(spread_21d)', 'spread_21d', 252, 'before_today') }} as mean_before,
        {{ full_window('stddev_samp(spread_21d)', 'spread_21d', 252, 'before_today') }} as sd_before,
        lag(spread_21d, 5) over in_order as spread_5_before
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
        )
),

-- Rounded: what differs in the last digits only, by the way a window was summed, is a tie.
percentiles as (
    select
        today.pair_id,
        today.position,
        sum(
            case
                when round(earlier.spread_21d, 12) < round(today.spread_21d, 12) then 1.0
                when round(earlier.spread_21d, 12) = round(today.spread_21d, 12) then 0.5
                else 0.0
            end
        ) / 252 as percentile_252
    from spreads as today
    inner join spreads as earlier
        on
            today.pair_id = earlier.pair_id
            and earlier.position between today.position - 252 and today.position - 1
            and earlier.spread_21d is not null
            and today.spread_21d is not null
    group by today.pair_id, today.position
    having count(*) = 252
)

select
    scored.pair_id,
    scored.session_date,
    scored.value,
    scored.spread_1d,
    scored.spread_21d,
    (scored.spread_21d - scored.mean_before) / nullif(scored.sd_before, 0) as z_252,
    percentiles.percentile_252,
    case
        when
            abs(scored.spread_21d) > abs(scored.spread_5_before)
            and sign(scored.spread_21d) = sign(scored.spread_5_before)
            then 'widening'
        when scored.spread_21d is not null and scored.spread_5_before is not null then 'narrowing'
    end as state,
    {{ source_name() }} as source
from scored
left join percentiles
    on
        scored.pair_id = percentiles.pair_id
        and scored.position = percentiles.position
