-- Each fall from a peak of 5 % or more: how deep it went, how long it fell, and how long it took to come back.
with falls as (
    select
        symbol,
        peak_date,
        min(round(drawdown, 12)) as depth,
        max(sessions_under_water) as sessions_known,
        lead(peak_date) over (
            partition by symbol
            order by peak_date
        ) as recovery_date
    from {{ ref('trend') }}
    where peak_date is not null
    group by symbol, peak_date
),

-- Of two sessions at the same depth the first.
troughs as (
    select
        falls.symbol,
        falls.peak_date,
        min(trends.session_date) as trough_date,
        min(trends.sessions_under_water) as sessions_down
    from falls
    inner join {{ ref('trend') }} as trends
        on
            falls.symbol = trends.symbol
            and falls.peak_date = trends.peak_date
            and falls.depth = round(trends.drawdown, 12)
    where falls.depth <= -0.05
    group by falls.symbol, falls.peak_date
)

select
    falls.symbol,
    falls.peak_date,
    troughs.trough_date,
    falls.recovery_date,
    falls.depth,
    troughs.sessions_down,
    case
        when falls.recovery_date is not null then falls.sessions_known + 1 - troughs.sessions_down
    end as sessions_up,
    {{ source_name() }} as source
from falls
inner join troughs
    on
        falls.symbol = troughs.symbol
        and falls.peak_date = troughs.peak_date
