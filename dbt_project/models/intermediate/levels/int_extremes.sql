{{ config(materialized='incremental_by_symbol') }}
-- The extreme closes that each bar had to beat: those of the 52 weeks and of all time before it, in its own prices.
-- A high that is falling behind is one that a close has stood below by the usual distance.
{% set extremes = [
    ('52w_high', 1, 'previous_high_52w'), ('52w_low', -1, 'previous_low_52w'),
    ('all_time_high', 1, 'case when bar_number > 252 then previous_high end'),
    ('all_time_low', -1, 'case when bar_number > 252 then previous_low end'),
] %}
with known as (
    {{ carried_state({
        'highest_close': 'double', 'lowest_close': 'double', 'last_away_52w_high_number': 'bigint',
        'last_away_52w_low_number': 'bigint', 'last_away_all_time_high_number': 'bigint',
        'last_away_all_time_low_number': 'bigint'
    }) }}
),

closes as (
    select
        traded.symbol,
        traded.session_date,
        traded.bar_number,
        traded.close,
        traded.atr_14,
        traded.splits_to_come,
        traded.tick_size,
        bars.close as split_adjusted_close,
        trend.previous_high_52w,
        trend.previous_low_52w,
        -- the known ones have stood since before the bars that are read
        greatest({{ extreme_so_far('max', 'bars.close', 'all_time') }}, known.highest_close) as previous_high,
        least({{ extreme_so_far('min', 'bars.close', 'all_time') }}, known.lowest_close) as previous_low,
        known.session_date as known_date
    from {{ read(ref('int_traded_bars'), lookback='70 bars') }} as traded
    inner join {{ read(ref('int_bars'), lookback='70 bars') }} as bars
        on
            traded.symbol = bars.symbol
            and traded.session_date = bars.session_date
    inner join {{ read(ref('trend'), lookback='70 bars') }} as trend
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
        greatest(previous_high, split_adjusted_close) as highest_close,
        least(previous_low, split_adjusted_close) as lowest_close
        {%- for name, sign, previous in extremes -%}
            ,
            {{ to_tick(previous ~ ' * splits_to_come', 'tick_size') }} as price_{{ name }}
        {%- endfor %}
    from closes
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
        {%- for name, sign, previous in extremes -%}
            {%- set bar_away -%}
                case
                    when
                        round({{ sign }} * (price_{{ name }} - close), 6)
                        >= {{ stand_off('price_' ~ name, 'atr_14') }}
                        then bar_number
                end
            {%- endset -%}
            ,
            price_{{ name }},
            coalesce({{ sign }} * (close - price_{{ name }}) > 0, false) as is_new_{{ name }},
            {{ last_known(bar_away) }} over before as last_away_{{ name }}_number
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
    {%- for name, sign, previous in extremes -%}
        ,
        placed.price_{{ name }},
        placed.is_new_{{ name }},
        greatest(placed.last_away_{{ name }}_number, known.last_away_{{ name }}_number) as last_away_{{ name }}_number
    {%- endfor %}
from placed
left join known
    on placed.symbol = known.symbol
