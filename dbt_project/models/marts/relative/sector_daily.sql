{{ config(materialized='incremental_by_symbol', meta={'rebuilt': 'true'}) }}
-- The listed companies of each metal and tier as a group; funds are left out, they hold these companies.
-- An incremental build counts the sessions since the first that has changed; a return of 31 days before lists nobody
-- then.
{% set changes = incremental_ref('int_changes') %}
{% set changed_from = earliest(changes, 'changed_from') if is_incremental() else none %}
with companies as (
    select
        symbol,
        metal,
        tier
    from {{ source('control', 'instruments') }}
    where asset_class = 'stock' and {{ is_miner() }}
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

counted as (
    select
        members.sector,
        days.*
    from members
    inner join {{ ref('int_member_days') }} as days
        on members.symbol = days.symbol
    {%- if is_incremental() %}
        where days.session_date >= {{ changed_from }} - interval 35 day
    {%- endif %}
),

grouped as (
    select
        sector,
        session_date,
        count(return_1d) as members_with_return,
        {{ exact_mean('return_1d') }} as mean_return,
        avg(cast(case when return_1d > 0 then 1 when return_1d <= 0 then 0 end as double)) as breadth_advancing,
        avg(is_above_sma_50) as breadth_above_sma_50,
        avg(is_above_sma_200) as breadth_above_sma_200,
        case when count(is_52w_high) > 0 then count(case when is_52w_high then 1 end) end as new_highs_52w,
        case when count(is_52w_low) > 0 then count(case when is_52w_low then 1 end) end as new_lows_52w
    from counted
    group by sector, session_date
),

-- Members come with a return and go where it no longer lists them.
comings as (
    select
        sector,
        session_date as day,
        members_with_return as members
    from grouped
    union all
    select
        sector,
        listed_until as day,
        -count(*) as members
    from counted
    where listed_until is not null
    group by sector, listed_until
),

-- Members that existed on the day, whether they have a bar or not; after 30 days of silence a company has left.
listed as (
    select
        sector,
        day,
        sum(sum(members)) over (
            partition by sector
            order by day
            rows between unbounded preceding and current row
        ) as listed_members
    from comings
    group by sector, day
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
            and grouped.session_date = listed.day
    {%- if is_incremental() %}
        where grouped.session_date >= {{ changed_from }}
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
        where session_date < {{ changed_from }}
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
