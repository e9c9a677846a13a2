{{ config(materialized='incremental_by_symbol') }}
-- Returns per session. The first return of an instrument is unknown, never 0.
{% set horizons = [('1w', 'day', 7), ('1m', 'month', 1), ('3m', 'month', 3), ('6m', 'month', 6), ('1y', 'month', 12)] %}
with bars as (
    select
        symbol,
        session_date,
        total_return,
        price_return,
        point_change,
        total_return_index,
        case when is_in_points is not true then open end as open,
        case when is_in_points is not true then close end as close,
        previous_close,
        dividend,
        sessions_since_previous,
        source,
        lag(total_return_index, 5) over in_order as index_5,
        lag(total_return_index, 21) over in_order as index_21,
        first_value(session_date) over in_order as first_date,
        {%- for name, part, count in horizons %}
            cast(session_date - interval {{ count }} {{ part }} as date) as day_{{ name }},
        {%- endfor %}
        cast(date_trunc('month', session_date) as date) as month_start,
        cast(date_trunc('year', session_date) as date) as year_start
    from {{ read(ref('int_bars'), lookback='1 year') }} as stored_bars
    window in_order as (
        partition by symbol
        order by session_date
    )
),

recent_bases as (
    select * from {{ read(ref('int_horizon_bases'), lookback='1 year', by='base_date') }}
),

-- Sessions on which a front-month series shows another contract than before, where that is known.
rolls as (
    select
        root,
        session_date,
        is_roll
    from {{ ref('futures_contracts') }}
    where is_front
),

month_ends as (
    select
        symbol,
        cast(month_start + interval 1 month as date) as next_period,
        max(session_date) as base_date,
        max_by(total_return_index, session_date) as base_index,
        max_by(close, session_date) as base_close
    from bars
    group by symbol, month_start
),

-- A month counts as a base only where the instrument traded in its last week: no base across a hole.
usable_bases as (
    select
        symbol,
        next_period,
        base_date,
        base_index,
        base_close
    from month_ends
    where {{ days_between('base_date', 'next_period') }} <= 8
)

select
    bars.symbol,
    bars.session_date,
    bars.total_return as return_1d,
    bars.price_return as price_return_1d,
    bars.point_change as point_change_1d,
    ln(1 + bars.total_return) as log_return_1d,
    (bars.open + bars.dividend) / bars.previous_close - 1 as overnight_return,
    bars.close / bars.open - 1 as intraday_return,
    bars.total_return_index / bars.index_5 - 1 as return_5d,
    bars.total_return_index / bars.index_21 - 1 as return_21d,
    {%- for name, part, count in horizons %}
        bars.total_return_index / base_{{ name }}.base_index - 1 as return_{{ name }},
        base_{{ name }}.base_date as base_date_{{ name }},
    {%- endfor %}
    bars.total_return_index / month_bases.base_index - 1 as return_mtd,
    month_bases.base_date as base_date_mtd,
    bars.total_return_index / year_bases.base_index - 1 as return_ytd,
    bars.close / year_bases.base_close - 1 as price_return_ytd,
    year_bases.base_date as base_date_ytd,
    case when bars.session_date > bars.first_date then bars.total_return_index - 1 end as return_since_inception,
    bars.sessions_since_previous,
    rolls.is_roll,
    bars.source
from bars
left join rolls
    on
        bars.symbol = rolls.root
        and bars.session_date = rolls.session_date
left join usable_bases as month_bases
    on
        bars.symbol = month_bases.symbol
        and bars.month_start = month_bases.next_period
left join usable_bases as year_bases
    on
        bars.symbol = year_bases.symbol
        and bars.year_start = year_bases.next_period
{%- for name, part, count in horizons %}
    left join recent_bases as base_{{ name }}
        on
            bars.symbol = base_{{ name }}.symbol
            and bars.day_{{ name }} = base_{{ name }}.day
{%- endfor %}
