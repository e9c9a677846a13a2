{{ config(materialized='incremental_by_symbol') }}
-- The extreme closes that each bar had to beat: those of the 52 weeks and of all time before it, in its own prices.
-- A high that is falling behind is one that a close has stood below by the usual distance.
{% set extremes = [
    ('52w_high', 1, 'has_a_year'), ('52w_low', -1, 'has_a_year'),
    ('all_time_high', 1, 'bar_number > 252'), ('all_time_low', -1, 'bar_number > 252'),
] %}
with known as (
    {{ carried_state({
        'highest_close': 'double', 'lowest_close': 'double', 'last_away_52w_high_number': 'bigint',
        'last_away_52w_low_number': 'bigint', 'last_away_all_time_high_number': 'bigint',
        'last_away_all_time_low_number': 'bigint'
    }) }}
),

bars as (
    select
        traded.symbol,
        traded.session_date,
        traded.bar_number,
        traded.close,
        traded.atr_14,
        traded.splits_to_come,
        traded.tick_size,
        trend.close as split_adjusted_close,
        trend.has_a_year,
        trend.highest_before as before_52w_high,
        trend.lowest_before as before_52w_low,
        -- the known ones have stood since before the bars that are read
        greatest(max(trend.close) over all_time, known.highest_close) as before_all_time_high,
        least(min(trend.close) over all_time, known.lowest_close) as before_all_time_low,
        known.session_date as known_date
    from {{ read(ref('int_traded_bars'), lookback='70 bars') }} as traded
    inner join {{ read(ref('int_trend'), lookback='70 bars') }} as trend
        on
            traded.symbol = trend.symbol
            and traded.session_date = trend.session_date
    left join known
        on traded.symbol = known.symbol
    window all_time as (
        partition by traded.symbol
        order by traded.session_date
        rows between unbounded preceding and 1 preceding
    )
),

levels as (
    select
        symbol,
        session_date,
        bar_number,
        close,
        atr_14,
        greatest(before_all_time_high, split_adjusted_close) as highest_close,
        least(before_all_time_low, split_adjusted_close) as lowest_close
        {%- for name, sign, is_long_enough in extremes -%}
            ,
            case
                when {{ is_long_enough }} then {{ to_tick('before_' ~ name ~ ' * splits_to_come', 'tick_size') }}
            end as price_{{ name }}
        {%- endfor %}
    from bars
    -- a row that is only looked back to has beaten others than these
    where known_date is null or session_date >= known_date
),

placed as (
    select
        symbol,
        session_date,
        bar_number,
        close,
        highest_close,
        lowest_close
        {%- for name, sign, is_long_enough in extremes -%}
            ,
            price_{{ name }},
            coalesce({{ sign }} * (close - price_{{ name }}) > 0, false) as is_new_{{ name }},
            max(
                case
                    when
                        round({{ sign }} * (price_{{ name }} - close), 6)
                        >= {{ stand_off('price_' ~ name, 'atr_14') }}
                        then bar_number
                end
            ) over before as last_away_{{ name }}_number
        {%- endfor %}
    from levels
    window before as (
        partition by symbol
        order by bar_number
        rows between unbounded preceding and 1 preceding
    )
)

select
    placed.symbol,
    placed.session_date,
    placed.bar_number,
    placed.close,
    placed.highest_close,
    placed.lowest_close
    {%- for name, sign, is_long_enough in extremes -%}
        ,
        placed.price_{{ name }},
        placed.is_new_{{ name }},
        greatest(placed.last_away_{{ name }}_number, known.last_away_{{ name }}_number) as last_away_{{ name }}_number
    {%- endfor %}
from placed
left join known
    on placed.symbol = known.symbol
