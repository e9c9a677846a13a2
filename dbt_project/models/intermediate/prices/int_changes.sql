{{ config(materialized='incremental_by_symbol', meta={'rebuilt': 'true'}) }}
-- What the bars of the last build can change, one row per symbol: every row since the sixth bar before the first new
-- or revised one. A later bar decides whether the five before it are withheld, and they how long the one before them
-- stands as a base of horizons. A split changes all prices as traded, and a symbol without enough bars to look back to
-- is built from its first one. Empty after a full refresh.
{% set always = "cast('0001-01-01' as date)" %}
with new_bars as (
    select * from {{ ref('int_news') }}
),

before as (
    select
        new_bars.symbol,
        delivered.session_date,
        row_number() over (
            partition by new_bars.symbol
            order by delivered.session_date desc
        ) as bars_back
    from new_bars
    inner join {{ ref('stg_delivered_bars') }} as delivered
        on
            new_bars.symbol = delivered.symbol
            and new_bars.first_new > delivered.session_date
            and delivered.session_date >= new_bars.first_new - 480
),

looking_back as (
    select
        symbol,
        max(bars_back) as bars_before,
        min(session_date) as a_year_back,
        max(case when bars_back = 70 then session_date end) as some_weeks_back,
        max(case when bars_back = 6 then session_date end) as six_bars_back
    from before
    group by symbol
),

since as (
    select
        new_bars.symbol,
        case
            when looking_back.some_weeks_back is not null and not new_bars.is_rebased then looking_back.six_bars_back
            else {{ always }}
        end as changed_from,
        case
            when looking_back.some_weeks_back is not null and not new_bars.is_rebased then looking_back.some_weeks_back
            else {{ always }}
        end as short_lookback_from,
        -- a volatility of 21 returns and the 252 before it; some of these bars may be withheld
        case
            when looking_back.bars_before >= 310 and not new_bars.is_rebased then looking_back.a_year_back
            else {{ always }}
        end as long_lookback_from,
        case when new_bars.is_revised then {{ always }} end as revised_from,
        new_bars.last_new
    from new_bars
    left join looking_back
        on new_bars.symbol = looking_back.symbol
),

counted as (
    select
        since.symbol,
        count(*) as bars_read,
        count(case when since.changed_from <= delivered.session_date then 1 end) as bars_changed
    from since
    inner join {{ ref('stg_delivered_bars') }} as delivered
        on
            since.symbol = delivered.symbol
            and since.long_lookback_from <= delivered.session_date
    group by since.symbol
)

select
    since.symbol,
    since.changed_from,
    since.short_lookback_from,
    since.long_lookback_from,
    since.revised_from,
    since.last_new,
    counted.bars_changed,
    counted.bars_read
from since
inner join counted
    on since.symbol = counted.symbol
