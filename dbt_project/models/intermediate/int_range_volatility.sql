-- Rolling volatilities of one window each, annualised with 252; formulas as in R's TTR::volatility.
{% set windows = [21, 63, 252] %}
with terms as (
    select
        symbol,
        session_date,
        ln(1 + total_return) as log_return,
        case when bar_quality = 'ok' then power(ln(high / low), 2) end as parkinson_term,
        case
            when bar_quality = 'ok'
                then 0.5 * power(ln(high / low), 2) - (2 * ln(2.0) - 1) * power(ln(close / open), 2)
        end as garman_klass_term,
        case
            when bar_quality = 'ok'
                then ln(high / close) * ln(high / open) + ln(low / close) * ln(low / open)
        end as rogers_satchell_term,
        -- from close to open, with the dividend of the day; splits are in the prices already
        case when bar_quality = 'ok' then ln((open + dividend) / previous_close) end as overnight,
        case when bar_quality = 'ok' then ln(close / open) end as open_to_close
    from {{ ref('int_bars') }}
),

rolled as (
    select
        symbol,
        {%- for n in windows %}
            {{ full_window('stddev_samp(log_return)', 'log_return', n, 'last_' ~ n) }} as sd_{{ n }},
            {{ full_window('avg(parkinson_term)', 'parkinson_term', n, 'last_' ~ n) }} as parkinson_{{ n }},
            {{ full_window('avg(garman_klass_term)', 'garman_klass_term', n, 'last_' ~ n) }} as garman_klass_{{ n }},
            {{ full_window('avg(rogers_satchell_term)', 'rogers_satchell_term', n, 'last_' ~ n) }}
                as rogers_satchell_{{ n }},
            {{ full_window('avg(power(overnight, 2))', 'overnight', n, 'last_' ~ n) }} as overnight_square_{{ n }},
            {{ full_window('var_samp(overnight)', 'overnight', n, 'last_' ~ n) }} as overnight_variance_{{ n }},
            {{ full_window('var_samp(open_to_close)', 'open_to_close', n, 'last_' ~ n) }}
                as open_to_close_variance_{{ n }},
        {%- endfor %}
        session_date
    from terms
    window
    {%- for n in windows %}
            last_{{ n }} as (
                partition by symbol
                order by session_date
                rows between {{ n - 1 }} preceding and current row
            ){{ "," if not loop.last }}
    {%- endfor %}
)

select
    symbol,
    {%- for n in windows %}
        {#- k of Yang and Zhang (2000) #}
        {%- set k = 0.34 / (1.34 + (n + 1) / (n - 1)) %}
        sd_{{ n }} * sqrt(252.0) as close_to_close_{{ n }},
        {{ root('252.0 / (4 * ln(2.0)) * parkinson_' ~ n) }} as parkinson_{{ n }},
        {{ root('252.0 * garman_klass_' ~ n) }} as garman_klass_{{ n }},
        {{ root('252.0 * rogers_satchell_' ~ n) }} as rogers_satchell_{{ n }},
        {{ root('252.0 * (overnight_square_' ~ n ~ ' + garman_klass_' ~ n ~ ')') }} as gk_yz_{{ n }},
    {{ root(
        '252.0 * (overnight_variance_' ~ n ~ ' + ' ~ k ~ ' * open_to_close_variance_' ~ n
        ~ ' + ' ~ (1 - k) ~ ' * rogers_satchell_' ~ n ~ ')'
    ) }} as yang_zhang_{{ n }},
    {%- endfor %}
    session_date
from rolled
