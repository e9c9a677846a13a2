-- What the move rules are held against: one row per symbol and session with a return.
-- A score never knows its own day: standard deviations, medians and ranks are those of the returns before it.
-- (A z that includes its day can never exceed (n - 1) / sqrt(n): Shiffler 1988.)
with returns_before as (
    select
        symbol,
        session_date,
        bar_number,
        total_return,
        {{ full_window('stddev_samp(total_return)', 'total_return', 21, 'last_21') }} as sd_21,
        {{ full_window('stddev_samp(total_return)', 'total_return', 63, 'last_63') }} as sd_63,
        {{ full_window('median(total_return)', 'total_return', 252, 'last_252') }} as median_252,
        {{ full_window(median_absolute_deviation('total_return'), 'total_return', 252, 'last_252') }} as mad_252
    from {{ ref('int_bars') }}
    window
    {%- for n in [21, 63, 252] %}
            last_{{ n }} as (
                partition by symbol
                order by session_date
                rows between {{ n }} preceding and 1 preceding
            ){{ "," if not loop.last }}
    {%- endfor %}
),

-- Place among the 252 returns before; ties count half.
percentiles as (
    select
        today.symbol,
        today.session_date,
        sum(
            case
                when earlier.total_return < today.total_return then 1.0
                when earlier.total_return = today.total_return then 0.5
                else 0.0
            end
        ) / 252 as percentile_252
    from returns_before as today
    inner join returns_before as earlier
        on
            today.symbol = earlier.symbol
            and earlier.bar_number between today.bar_number - 252 and today.bar_number - 1
            and earlier.total_return is not null
            and today.total_return is not null
    group by today.symbol, today.session_date
    having count(*) = 252
)

select
    scores.symbol,
    scores.session_date,
    scores.total_return as return_1d,
    scores.total_return / nullif(scores.sd_21, 0) as z_21,
    scores.total_return / nullif(scores.sd_63, 0) as z_63,
    ln(1 + scores.total_return) / nullif(sqrt(ewma.variance), 0) as z_ewma,
    -- Iglewicz and Hoaglin (1993)
    (scores.total_return - scores.median_252) / nullif(1.4826 * scores.mad_252, 0) as robust_z_252,
    percentiles.percentile_252
from returns_before as scores
left join {{ ref('int_ewma') }} as ewma
    on
        scores.symbol = ewma.symbol
        and scores.session_date = ewma.session_date
left join percentiles
    on
        scores.symbol = percentiles.symbol
        and scores.session_date = percentiles.session_date
where scores.total_return is not null
