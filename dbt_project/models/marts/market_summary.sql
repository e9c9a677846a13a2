-- The latest session of each instrument in one row: what a market note reports.
with latest as (
    select
        symbol,
        max(session_date) as session_date
    from {{ ref('daily_bars') }}
    group by symbol
)

select
    latest.symbol,
    instruments.name,
    latest.session_date,
    bars.close_as_traded as close,
    returns.return_1d,
    returns.return_ytd,
    returns.return_1y,
    trend.drawdown,
    volatility.close_to_close_21,
    volatility.volatility_ratio_21_252,
    relative.beta_252,
    trend.trend_state,
    trend.verdict,
    moves.largest_since,
    {{ source_name() }} as source
from latest
inner join {{ source('control', 'instruments') }} as instruments
    on latest.symbol = instruments.symbol
inner join {{ ref('daily_bars') }} as bars
    on
        latest.symbol = bars.symbol
        and latest.session_date = bars.session_date
inner join {{ ref('returns') }} as returns
    on
        latest.symbol = returns.symbol
        and latest.session_date = returns.session_date
inner join {{ ref('trend') }} as trend
    on
        latest.symbol = trend.symbol
        and latest.session_date = trend.session_date
inner join {{ ref('volatility') }} as volatility
    on
        latest.symbol = volatility.symbol
        and latest.session_date = volatility.session_date
left join {{ ref('sector_relative') }} as relative
    on
        latest.symbol = relative.symbol
        and latest.session_date = relative.session_date
left join {{ ref('large_moves') }} as moves
    on
        latest.symbol = moves.symbol
        and latest.session_date = moves.session_date
