{{ config(materialized='incremental_by_symbol', meta={'rebuilt': 'true'}) }}
-- The latest session of each instrument in one row: what a market note reports.
-- Instruments that something has changed for are all that can differ from what is stored.
{% set changes = [incremental_ref('int_changes'), incremental_ref('int_relative_changes')] %}
{% set instruments = source('control', 'instruments') %}
{% set stale_days = 14 %}
with
{% for name in ['daily_bars', 'returns', 'trend', 'volatility', 'sector_relative', 'large_moves'] %}
    recent_{{ name }} as (
        select * from {{ of_changed_symbols(ref(name), changes) }} as {{ name }}
    ),
{% endfor %}

latest as (
    select
        symbol,
        max(session_date) as session_date
    from recent_daily_bars
    group by symbol
),

summarised as (
    select
        latest.symbol,
        instruments.name,
        latest.session_date,
        coalesce(bars.close_as_traded, bars.close) as close,
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
    inner join {{ instruments }} as instruments
        on latest.symbol = instruments.symbol
    inner join recent_daily_bars as bars
        on
            latest.symbol = bars.symbol
            and latest.session_date = bars.session_date
    inner join recent_returns as returns
        on
            latest.symbol = returns.symbol
            and latest.session_date = returns.session_date
    inner join recent_trend as trend
        on
            latest.symbol = trend.symbol
            and latest.session_date = trend.session_date
    inner join recent_volatility as volatility
        on
            latest.symbol = volatility.symbol
            and latest.session_date = volatility.session_date
    left join recent_sector_relative as relative
        on
            latest.symbol = relative.symbol
            and latest.session_date = relative.session_date
    left join recent_large_moves as moves
        on
            latest.symbol = moves.symbol
            and latest.session_date = moves.session_date
    {%- if is_incremental() %}
        union all
        select
            symbol,
            name,
            session_date,
            close,
            return_1d,
            return_ytd,
            return_1y,
            drawdown,
            close_to_close_21,
            volatility_ratio_21_252,
            beta_252,
            trend_state,
            verdict,
            largest_since,
            source
        from {{ this }}
        where
            symbol not in (select latest.symbol from latest)
            and symbol in (select instruments.symbol from {{ instruments }} as instruments)
    {%- endif %}
),

-- The market's session: the latest that at least half of the instruments have, but for those that have long had none.
-- Long before what half of all have, that is; a stray later bar of one moves neither.
{{ at_least_half_have('common', 'summarised') }},

known_lately as (
    select summarised.session_date
    from summarised
    cross join common
    where {{ days_between('summarised.session_date', 'common.session_date') }} <= {{ stale_days }}
),

{{ at_least_half_have('market', 'known_lately') }}

select
    summarised.symbol,
    summarised.name,
    summarised.session_date,
    market.session_date as market_session,
    summarised.close,
    summarised.return_1d,
    summarised.return_ytd,
    summarised.return_1y,
    summarised.drawdown,
    summarised.close_to_close_21,
    summarised.volatility_ratio_21_252,
    summarised.beta_252,
    summarised.trend_state,
    summarised.verdict,
    summarised.largest_since,
    summarised.source
from summarised
cross join market
