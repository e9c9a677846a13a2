{{ config(materialized='incremental_by_symbol') }}
-- Rolling volatilities of one window each, annualised with 252; formulas as in R's TTR::volatility. And how much the
-- one of 21 sessions itself moves.
{% set windows = [21, 63, 252] %}
{% set terms = [
    'log_return', 'log_return_square', 'parkinson', 'garman_klass', 'rogers_satchell', 'overnight', 'overnight_square',
    'open_to_close', 'open_to_close_square'
] %}
{% set measures = [] %}
{% for n in windows %}
    {% for estimator in [
        'close_to_close', 'parkinson', 'garman_klass', 'rogers_satchell', 'gk_yz', 'yang_zhang'
    ] %}
        {% do measures.append(estimator ~ '_' ~ n) %}
    {% endfor %}
{% endfor %}
with logs as (
    select
        symbol,
        session_date,
        ln(1 + total_return) as log_return,
        case when bar_quality = 'ok' then ln(high / low) end as high_to_low,
        case when bar_quality = 'ok' then ln(high / close) * ln(high / open) + ln(low / close) * ln(low / open) end
            as rogers_satchell,
        -- from close to open, with the dividend of the day; splits are in the prices already
        case when bar_quality = 'ok' then ln((open + dividend) / previous_close) end as overnight,
        case when bar_quality = 'ok' then ln(close / open) end as open_to_close
    from {{ read(ref('int_bars'), lookback='1 year') }} as bars
),

terms as (
    select
        symbol,
        session_date,
        log_return,
        log_return * log_return as log_return_square,
        high_to_low * high_to_low as parkinson,
        0.5 * high_to_low * high_to_low - (2 * ln(2.0) - 1) * open_to_close * open_to_close as garman_klass,
        rogers_satchell,
        overnight,
        overnight * overnight as overnight_square,
        open_to_close,
        open_to_close * open_to_close as open_to_close_square
    from logs
),

rolled as (
    select
        symbol,
        session_date,
        {%- for n in windows %}
            {{ squares_around_mean('log_return_sum_' ~ n, 'log_return_square_sum_' ~ n, n) }} / {{ n - 1 }}
                as variance_{{ n }},
            parkinson_sum_{{ n }} / {{ n }} as parkinson_{{ n }},
            garman_klass_sum_{{ n }} / {{ n }} as garman_klass_{{ n }},
            rogers_satchell_sum_{{ n }} / {{ n }} as rogers_satchell_{{ n }},
            overnight_square_sum_{{ n }} / {{ n }} as overnight_square_{{ n }},
            {{ squares_around_mean('overnight_sum_' ~ n, 'overnight_square_sum_' ~ n, n) }} / {{ n - 1 }}
                as overnight_variance_{{ n }},
            {{ squares_around_mean('open_to_close_sum_' ~ n, 'open_to_close_square_sum_' ~ n, n) }} / {{ n - 1 }}
                as open_to_close_variance_{{ n }},
        {%- endfor %}
        place
    from {{ rolling_sums('terms', terms, [3] + windows, ['symbol']) }} as sums
),

annualised as (
    select
        symbol,
        session_date,
        {%- for n in windows %}
            {#- k of Yang and Zhang (2000) #}
            {%- set k = 0.34 / (1.34 + (n + 1) / (n - 1)) %}
            sqrt(252.0 * variance_{{ n }}) as close_to_close_{{ n }},
            {{ root('252.0 / (4 * ln(2.0)) * parkinson_' ~ n) }} as parkinson_{{ n }},
            {{ root('252.0 * garman_klass_' ~ n) }} as garman_klass_{{ n }},
            {{ root('252.0 * rogers_satchell_' ~ n) }} as rogers_satchell_{{ n }},
            {{ root('252.0 * (overnight_square_' ~ n ~ ' + garman_klass_' ~ n ~ ')') }} as gk_yz_{{ n }},
            {{ root(
                '252.0 * (overnight_variance_' ~ n ~ ' + ' ~ k ~ ' * open_to_close_variance_' ~ n
                ~ ' + ' ~ (1 - k) ~ ' * rogers_satchell_' ~ n ~ ')'
            ) }} as yang_zhang_{{ n }},
        {%- endfor %}
        place
    from rolled
),

changes as (
    select
        *,
        ln(
            nullif(close_to_close_21, 0)
            / nullif({{ rows_ago('close_to_close_21', 1, ['symbol']) }}, 0)
        ) as log_change
    from annualised
),

squares as (
    select
        *,
        log_change * log_change as log_change_square
    from changes
)

select
    symbol,
    session_date,
    {%- for column in measures %}
        {{ column }},
    {%- endfor %}
    sqrt({{ squares_around_mean('log_change_sum_63', 'log_change_square_sum_63', 63) }} / 62)
        as volatility_of_volatility_63
from {{ rolling_sums(
    'squares', ['log_change', 'log_change_square'], [3, 21, 63], ['symbol'], also=measures, numbered=true
) }} as sums
