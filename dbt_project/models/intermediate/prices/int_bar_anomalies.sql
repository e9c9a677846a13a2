{{ config(materialized='incremental_by_symbol') }}
-- Delivered bars that something speaks against, each with the first rule that it breaks; a withheld one is in no table
-- of prices. What every rule means and why its bound stands where it does: docs/data-quality.md.
{% set jump_factor, jump_sessions = 2, 5 %}
{% set reversal_factor, reversal_left_over = 1.35, 0.2 %}
{% set split_factor, split_leeway, split_sessions = 1.5, 1.18, 5 %}
{% set adjustment_tolerance = 0.0005 %}
{% set large_dividend, repeated_within = 0.2, 4 %}
{% set stale_closes, stale_tick_share = 7, 0.01 %}
{% set range_factor = 2 %}
{% set volume_sessions, volume_factor, volume_range_factor = 20, 7, 2 %}

with delivered as (
    select * from {{ read(ref('stg_delivered_bars'), lookback='70 bars') }}
),

unit_errors as (
    select * from {{ read(ref('int_unit_errors'), lookback='70 bars') }}
),

paces as (
    select
        bars.*,
        lag(bars.close) over in_order as previous_close,
        bars.close / lag(bars.close) over in_order as growth,
        bars.adj_close / lag(bars.adj_close) over in_order as vendor_growth,
        least(bars.adj_close, lag(bars.adj_close) over in_order) as smaller_adj_close,
        greatest(bars.session_number - lag(bars.session_number) over in_order, 1) as sessions_since,
        {%- for k in range(1, repeated_within + 1) %}
            lag(bars.dividend, {{ k }}) over in_order as dividend_{{ k }},
        {%- endfor %}
        {%- for k in range(2, stale_closes) %}
            lag(bars.close, {{ k }}) over in_order as close_{{ k }},
        {%- endfor %}
        {{ range_share('bars.high', 'bars.low', 'bars.close', 'lag(bars.close) over in_order') }} as range_share
    from delivered as bars
    left join unit_errors
        on
            bars.symbol = unit_errors.symbol
            and bars.session_date = unit_errors.session_date
    where unit_errors.symbol is null
    window in_order as (
        partition by bars.symbol
        order by bars.session_date
    )
),

compared as (
    select
        *,
        {%- for k in range(split_sessions) %}
            lag(growth, {{ k }}) over in_order as growth_{{ k }},
            lag(split_ratio, {{ k }}) over in_order as split_{{ k }},
        {%- endfor %}
        lag(sessions_since) over in_order as sessions_before_that,
        {{ full_window('avg(volume)', 'volume', volume_sessions, 'last_sessions') }} as usual_volume,
        avg(range_share) over last_sessions as usual_range,
        {{ rounding_unit('adj_close', 'up_to_now') }} as adj_close_unit,
        {{ rounding_of_closes('close', 'previous_close', 'tick_size', 'up_to_now') }} as rounding
    from paces
    window
        in_order as (
            partition by symbol
            order by session_date
        ),
        last_sessions as (
            partition by symbol
            order by session_date
            rows between {{ volume_sessions }} preceding and 1 preceding
        ),
        up_to_now as (
            partition by symbol
            order by session_date
            rows between {{ volume_sessions }} preceding and current row
        )
),

judged as (
    select
        symbol,
        session_date,
        case
            -- one of the last prices has moved by what a split of the last sessions says, and should not have
            when {{ is_near_its_split('growth', 'split', split_sessions, split_factor, split_leeway) }}
                then 'split_not_applied'
            when
                sessions_since <= {{ jump_sessions }}
                and (growth >= {{ jump_factor }} or growth * {{ jump_factor }} <= 1)
                then 'jump'
            when
                sessions_since = 1
                and sessions_before_that = 1
                and {{ is_the_way_back('growth', 'growth_1', reversal_factor, reversal_left_over) }}
                then 'reversal'
            when
                sessions_since = 1
                and dividend < previous_close
                -- Yahoo's adjusted close: the day before is worth what it was less the dividend
                and abs(vendor_growth / growth * (1 - dividend / previous_close) - 1)
                > {{ adjustment_tolerance }} + adj_close_unit / smaller_adj_close + rounding
                then 'adjustment_disagrees'
            when dividend >= {{ large_dividend }} * previous_close then 'large_dividend'
            when
                dividend > 0
                and dividend in (
                    {%- for k in range(1, repeated_within + 1) %}
                        dividend_{{ k }}{{ ',' if not loop.last }}
                    {%- endfor %}
                )
                then 'repeated_dividend'
            when high >= {{ range_factor }} * low then 'wide_range'
            when
                -- where a tick is more than that, a quiet fortnight at one price is nothing unusual
                tick_size <= {{ stale_tick_share }} * close
                and close = previous_close
                {%- for k in range(2, stale_closes) %}
                    and close = close_{{ k }}
                {%- endfor %}
                then 'stale_close'
            -- news moves both; the volume of a front-month future says when contracts roll
            when
                asset_class <> 'metal'
                and usual_volume > 0
                and volume >= {{ volume_factor }} * usual_volume
                and range_share < {{ volume_range_factor }} * usual_range
                then 'volume_without_move'
            -- of a day that its exchange's calendar does not have, or is not recorded so far
            when not is_listed then 'unlisted_session'
        end as rule
    from compared
)

select
    symbol,
    session_date,
    rule,
    false as is_withheld
from judged
where rule is not null
union all
select
    symbol,
    session_date,
    'unit_error' as rule,
    true as is_withheld
from unit_errors
