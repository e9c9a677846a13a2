-- The listed companies of each metal and tier as a group; funds are left out, they hold these companies.
with members as (
    select
        symbol,
        calendar,
        metal || '_' || tier as sector
    from {{ source('control', 'instruments') }}
    where asset_class = 'stock' and tier in ('senior', 'junior', 'royalty')
    union all
    select
        symbol,
        calendar,
        metal || '_miners' as sector
    from {{ source('control', 'instruments') }}
    where asset_class = 'stock' and tier in ('senior', 'junior', 'royalty')
),

spans as (
    select
        symbol,
        min(session_date) as first_date,
        max(session_date) as last_date
    from {{ ref('returns') }}
    where return_1d is not null
    group by symbol
),

days as (
    select distinct session_date
    from {{ ref('returns') }}
    where return_1d is not null
),

-- Members that existed on the day, whether they have a bar or not.
listed as (
    select
        members.sector,
        days.session_date,
        count(*) as listed_members
    from members
    inner join spans
        on members.symbol = spans.symbol
    inner join days
        on days.session_date between spans.first_date and spans.last_date
    group by members.sector, days.session_date
),

grouped as (
    select
        members.sector,
        returns.session_date,
        count(returns.return_1d) as members_with_return,
        avg(returns.return_1d) as mean_return,
        avg(case when returns.return_1d > 0 then 1.0 when returns.return_1d <= 0 then 0.0 end) as breadth_advancing,
        avg(case when bars.close > trend.sma_50 then 1.0 when bars.close <= trend.sma_50 then 0.0 end)
            as breadth_above_sma_50,
        avg(case when bars.close > trend.sma_200 then 1.0 when bars.close <= trend.sma_200 then 0.0 end)
            as breadth_above_sma_200,
        count(case when trend.is_52w_high then 1 end) as new_highs_52w,
        count(case when trend.is_52w_low then 1 end) as new_lows_52w
    from members
    inner join {{ ref('returns') }} as returns
        on members.symbol = returns.symbol
    inner join {{ ref('daily_bars') }} as bars
        on
            returns.symbol = bars.symbol
            and returns.session_date = bars.session_date
    inner join {{ ref('trend') }} as trend
        on
            returns.symbol = trend.symbol
            and returns.session_date = trend.session_date
    group by members.sector, returns.session_date
),

known as (
    select
        grouped.*,
        case
            when grouped.members_with_return > 0 and grouped.members_with_return * 2 >= listed.listed_members
                then grouped.mean_return
        end as equal_weight_return
    from grouped
    left join listed
        on
            grouped.sector = listed.sector
            and grouped.session_date = listed.session_date
)

select
    sector,
    session_date,
    equal_weight_return,
    100 * exp(sum(ln(1 + coalesce(equal_weight_return, 0))) over (
        partition by sector
        order by session_date
        rows between unbounded preceding and current row
    )) as index_level,
    breadth_advancing,
    breadth_above_sma_50,
    breadth_above_sma_200,
    new_highs_52w,
    new_lows_52w,
    members_with_return as members,
    {{ source_name() }} as source
from known
