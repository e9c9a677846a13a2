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
        {{ full_window(median_absolute_deviation('total_return'), 'total_return', 252, 'last_252') }} as mad_252,
        {{ percentile_among_previous('total_return', 252, 'last_253') }} as percentile_252
    from {{ ref('int_bars') }}
    window
        last_21 as (
            partition by symbol
            order by session_date
            rows between 21 preceding and 1 preceding
        ),
        last_63 as (
            partition by symbol
            order by session_date
            rows between 63 preceding and 1 preceding
        ),
        last_252 as (
            partition by symbol
            order by session_date
            rows between 252 preceding and 1 preceding
        ),
        last_253 as (
            partition by symbol
            order by session_date
            rows between 252 preceding and current row
        )
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
    scores.percentile_252
from returns_before as scores
left join {{ ref('int_ewma') }} as ewma
    on
        scores.symbol = ewma.symbol
        and scores.session_date = ewma.session_date
where scores.total_return is not null
