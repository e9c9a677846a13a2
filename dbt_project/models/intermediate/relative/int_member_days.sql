{{ config(materialized='incremental_by_symbol') }}
-- Each bar as the sector of its company counts it, in the base currency: of sessions on which its closing price is made
-- with its sector fund's. A return keeps its company listed for 30 days after its session, or until the next one does.
with instruments as (
    select * from {{ source('control', 'instruments') }}
),

days as (
    select
        returns.symbol,
        returns.session_date,
        case when abroad.symbol is null then returns.return_1d else abroad.return_1d_base end as return_1d
    from {{ read(ref('returns')) }} as returns
    left join {{ ref('currencies') }} as abroad
        on
            returns.symbol = abroad.symbol
            and returns.session_date = abroad.session_date
)

select
    days.symbol,
    days.session_date,
    days.return_1d,
    cast({{ is_above('bars.close', 'trend.sma_50') }} as double) as is_above_sma_50,
    cast({{ is_above('bars.close', 'trend.sma_200') }} as double) as is_above_sma_200,
    trend.is_52w_high,
    trend.is_52w_low,
    case
        when days.return_1d is not null
            then
                least(
                    lead(days.session_date) over known_returns,
                    days.session_date + 31
                )
    end as listed_until
from days
inner join {{ read(ref('daily_bars')) }} as bars
    on
        days.symbol = bars.symbol
        and days.session_date = bars.session_date
inner join {{ read(ref('trend')) }} as trend
    on
        days.symbol = trend.symbol
        and days.session_date = trend.session_date
inner join instruments
    on days.symbol = instruments.symbol
left join instruments as sectors
    on coalesce(instruments.sector_symbol, instruments.metal_symbol) = sectors.symbol
left join {{ ref('int_sessions_apart') }} as apart
    on
        instruments.clock = apart.clock
        and sectors.clock = apart.other_clock
        and days.session_date = apart.session_date
where apart.session_date is null
window known_returns as (
    partition by days.symbol, days.return_1d is null
    order by days.session_date
)
