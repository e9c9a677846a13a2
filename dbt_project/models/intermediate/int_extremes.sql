-- The extreme closes that each bar had to beat: those of the 52 weeks and of all time before it, in its own prices.
-- A high that is falling behind is one that a close has stood below by the usual distance.
{% set extremes = [
    ('52w_high', 'max', 1, 'past_year', 'has_a_year'),
    ('52w_low', 'min', -1, 'past_year', 'has_a_year'),
    ('all_time_high', 'max', 1, 'all_time', 'bar_number > 252'),
    ('all_time_low', 'min', -1, 'all_time', 'bar_number > 252'),
] %}
with bars as (
    select
        traded.symbol,
        traded.session_date,
        traded.bar_number,
        traded.close,
        traded.atr_14,
        traded.splits_to_come,
        traded.tick_size,
        min(bars.session_date) over all_time <= traded.session_date - interval 1 year as has_a_year
        {%- for name, extreme, sign, frame, is_long_enough in extremes -%}
            ,
            {{ extreme }}(bars.close) over {{ frame }} as before_{{ name }}
        {%- endfor %}
    from {{ ref('int_traded_bars') }} as traded
    inner join {{ ref('int_bars') }} as bars
        on
            traded.symbol = bars.symbol
            and traded.session_date = bars.session_date
    window
        past_year as (
            partition by traded.symbol
            order by traded.session_date
            {{ past_year_frame('interval 1 day preceding') }}
        ),
        all_time as (
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
        atr_14
        {%- for name, extreme, sign, frame, is_long_enough in extremes -%}
            ,
            case
                when {{ is_long_enough }} then {{ to_tick('before_' ~ name ~ ' * splits_to_come', 'tick_size') }}
            end as price_{{ name }}
        {%- endfor %}
    from bars
)

select
    symbol,
    session_date,
    bar_number,
    close
    {%- for name, extreme, sign, frame, is_long_enough in extremes -%}
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
