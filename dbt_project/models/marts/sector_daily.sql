{{ config(materialized='incremental', incremental_strategy='all_rows') }}
-- The listed companies of each metal and tier as a group; funds are left out, they hold these companies.
{% set changes, sessions = incremental_ref('int_changes'), incremental_ref('stg_sessions') %}
{% set changed_bars = only_changed(incremental_ref('int_bars')) %}
{% set is_near = (
    'session_date >= ' ~ earliest(changes, 'changed_from') ~ ' - interval 40 day'
    if is_incremental() else 'true'
) %}
with
{% for name, relation in [('returns', ref('returns')), ('bars', ref('daily_bars')), ('trend', ref('trend'))] %}
    recent_{{ name }} as (
        select *
        from {{ relation }}
        where {{ is_near }}
    ),
{% endfor %}

companies as (
    select
        symbol,
        metal,
        tier
    from {{ source('control', 'instruments') }}
    where asset_class = 'stock' and tier in ('senior', 'junior', 'royalty') and metal is not null
),

members as (
    select
        symbol,
        metal || '_' || tier as sector
    from companies
    union all
    select
        symbol,
        metal || '_miners' as sector
    from companies
),

{% if is_incremental() %}
    changed as (
        select
            bars.symbol,
            bars.session_date,
            bars.bar_number,
            changes.last_new
        from {{ changed_bars }} as bars
        inner join {{ changes }} as changes
            on bars.symbol = changes.symbol
    ),

    last_numbers as (
        select
            symbol,
            max(bar_number) as bar_number
        from changed
        where session_date <= last_new
        group by symbol
    ),

    -- A bar is in the returns, averages and extremes of a year; a company that falls silent leaves after 30 days.
    affected as (
        select distinct changed.session_date
        from changed
        inner join last_numbers
            on changed.symbol = last_numbers.symbol
        where
            changed.bar_number <= last_numbers.bar_number + 260
            or changed.session_date <= {{ dbt.dateadd('day', 400, 'changed.last_new') }}
    ),

    near_affected as (
        select distinct sessions.session_date
        from {{ sessions }} as sessions
        inner join affected
            on
                sessions.session_date <= affected.session_date
                and {{ dbt.dateadd('day', 35, 'sessions.session_date') }} >= affected.session_date
    ),
{% endif %}

known_returns as (
    select
        companies.symbol,
        returns.session_date
    from companies
    inner join recent_returns as returns
        on companies.symbol = returns.symbol
    {%- if is_incremental() %}
        inner join near_affected
            on returns.session_date = near_affected.session_date
    {%- endif %}
    where returns.return_1d is not null
),

days as (
    select distinct session_date
    from known_returns
),

-- The latest return of each company as known on each day: whether it will have another is not known on the day.
latest_returns as (
    select
        companies.symbol,
        days.session_date,
        max(known_returns.session_date) over (
            partition by companies.symbol
            order by days.session_date
            rows between unbounded preceding and current row
        ) as latest_date
    from companies
    cross join days
    left join known_returns
        on
            companies.symbol = known_returns.symbol
            and days.session_date = known_returns.session_date
),

-- Members that existed on the day, whether they have a bar or not; after 30 days of silence a company has left.
listed as (
    select
        members.sector,
        latest_returns.session_date,
        count(*) as listed_members
    from members
    inner join latest_returns
        on members.symbol = latest_returns.symbol
    where {{ days_between('latest_returns.latest_date', 'latest_returns.session_date') }} <= 30
    group by members.sector, latest_returns.session_date
),

grouped as (
    select
        members.sector,
        returns.session_date,
        count(returns.return_1d) as members_with_return,
        {{ ordered_mean('returns.return_1d', 'members.symbol') }} as mean_return,
        avg(case when returns.return_1d > 0 then 1.0 when returns.return_1d <= 0 then 0.0 end) as breadth_advancing,
        avg({{ is_above('bars.close', 'trend.sma_50') }})
            as breadth_above_sma_50,
        avg({{ is_above('bars.close', 'trend.sma_200') }})
            as breadth_above_sma_200,
        case when count(trend.is_52w_high) > 0 then count(case when trend.is_52w_high then 1 end) end as new_highs_52w,
        case when count(trend.is_52w_low) > 0 then count(case when trend.is_52w_low then 1 end) end as new_lows_52w
    from members
    inner join recent_returns as returns
        on members.symbol = returns.symbol
    inner join recent_bars as bars
        on
            returns.symbol = bars.symbol
            and returns.session_date = bars.session_date
    inner join recent_trend as trend
        on
            returns.symbol = trend.symbol
            and returns.session_date = trend.session_date
    {%- if is_incremental() %}
        inner join affected
            on returns.session_date = affected.session_date
    {%- endif %}
    group by members.sector, returns.session_date
),

known as (
    select
        grouped.sector,
        grouped.session_date,
        grouped.breadth_advancing,
        grouped.breadth_above_sma_50,
        grouped.breadth_above_sma_200,
        grouped.new_highs_52w,
        grouped.new_lows_52w,
        grouped.members_with_return,
        case
            when grouped.members_with_return > 0 and grouped.members_with_return * 2 >= listed.listed_members
                then grouped.mean_return
        end as equal_weight_return
    from grouped
    left join listed
        on
            grouped.sector = listed.sector
            and grouped.session_date = listed.session_date
    {%- if is_incremental() %}
        union all
        select
            sector,
            session_date,
            breadth_advancing,
            breadth_above_sma_50,
            breadth_above_sma_200,
            new_highs_52w,
            new_lows_52w,
            members as members_with_return,
            equal_weight_return
        from {{ this }}
        where session_date not in (select affected.session_date from affected)
    {%- endif %}
)

select
    sector,
    session_date,
    equal_weight_return,
    case
        when equal_weight_return is not null
            then 100 * exp(sum(ln(1 + equal_weight_return)) over (
                    partition by sector
                    order by session_date
                    rows between unbounded preceding and current row
                ))
    end as index_level,
    breadth_advancing,
    breadth_above_sma_50,
    breadth_above_sma_200,
    new_highs_52w,
    new_lows_52w,
    members_with_return as members,
    {{ source_name() }} as source
from known
