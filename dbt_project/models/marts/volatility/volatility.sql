{{ config(materialized='incremental_by_symbol') }}
-- How much each instrument has been moving, annualised with 252, and how unusual that is: rolling volatilities of one
-- window each, formulas as in R's TTR::volatility; and how much the one of 21 sessions itself moves.
{% set windows = [21, 63, 252] %}
{% set has_range = "bar_quality = 'ok' and is_in_points is not true" %}
{% set around_mean = ['log_return', 'overnight', 'open_to_close'] %}
{% set around_zero = ['overnight_square', 'parkinson', 'garman_klass', 'rogers_satchell'] %}
{% set terms = around_mean + around_zero + ['log_return_square', 'open_to_close_square'] %}
{% set columns = {} %}
{% for estimator in ['close_to_close', 'parkinson', 'garman_klass', 'rogers_satchell', 'gk_yz', 'yang_zhang'] %}
    {% for n in windows %}
        {% do columns.update({estimator ~ '_' ~ n: 'double'}) %}
    {% endfor %}
{% endfor %}
{% set volatilities = columns | list %}
{% do columns.update({
    'volatility_percentile_252': 'double', 'volatility_of_volatility_63': 'double', 'volatility_ratio_21_252': 'double',
    'is_volatility_spike': 'boolean'
}) %}
with known as (
    {{ carried_rows(columns) }}
),

logs as (
    select
        symbol,
        session_date,
        ln(1 + total_return) as log_return,
        case when {{ has_range }} then ln(high / low) end as high_to_low,
        case when {{ has_range }} then ln(high / close) * ln(high / open) + ln(low / close) * ln(low / open) end
            as rogers_satchell,
        -- from close to open, with the dividend of the day; splits are in the prices already
        case when {{ has_range }} then ln((open + dividend) / previous_close) end as overnight,
        case when {{ has_range }} then ln(close / open) end as open_to_close
    from {{ read(ref('int_bars'), lookback='1 year') }} as bars
),

terms as (
    select
        symbol,
        session_date,
        {%- for value in around_mean %}
            {{ value }},
            {{ value }} * {{ value }} as {{ value }}_square,
        {%- endfor %}
        high_to_low * high_to_low as parkinson,
        0.5 * high_to_low * high_to_low - (2 * ln(2.0) - 1) * open_to_close * open_to_close as garman_klass,
        rogers_satchell
    from logs
),

rolled as (
    select
        symbol,
        session_date,
        {%- for n in windows %}
            {%- for value in around_mean %}
                {{ squares_around_mean(value ~ '_sum_' ~ n, value ~ '_square_sum_' ~ n, n) }} / {{ n - 1 }}
                    as {{ value }}_variance_{{ n }},
            {%- endfor %}
            {%- for value in around_zero %}
                {{ value }}_sum_{{ n }} / {{ n }} as {{ value }}_{{ n }},
            {%- endfor %}
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
            {%- set yang_zhang = 'overnight_variance_%s + %s * open_to_close_variance_%s + %s * rogers_satchell_%s' %}
            sqrt(252.0 * log_return_variance_{{ n }}) as close_to_close_{{ n }},
            {{ root('252.0 / (4 * ln(2.0)) * parkinson_' ~ n) }} as parkinson_{{ n }},
            {{ root('252.0 * garman_klass_' ~ n) }} as garman_klass_{{ n }},
            {{ root('252.0 * rogers_satchell_' ~ n) }} as rogers_satchell_{{ n }},
            {{ root('252.0 * (overnight_square_' ~ n ~ ' + garman_klass_' ~ n ~ ')') }} as gk_yz_{{ n }},
            {{ root('252.0 * (' ~ yang_zhang % (n, k, n, 1 - k, n) ~ ')') }} as yang_zhang_{{ n }},
        {%- endfor %}
        place
    from rolled
),

changes as (
    select
        *,
        ln(nullif(close_to_close_21, 0) / nullif({{ rows_ago('close_to_close_21', 1, ['symbol']) }}, 0)) as log_change
    from annualised
),

squares as (
    select
        *,
        log_change * log_change as log_change_square
    from changes
),

measured as (
    select
        *,
        sqrt({{ squares_around_mean('log_change_sum_63', 'log_change_square_sum_63', 63) }} / 62)
            as volatility_of_volatility_63,
        close_to_close_21 / nullif(close_to_close_252, 0) as volatility_ratio_21_252,
        -- what differs in the last digits only is a tie
        round(close_to_close_21, 12) as comparable_21
    from {{ rolling_sums(
        'squares', ['log_change', 'log_change_square'], [3, 21, 63], ['symbol'], also=volatilities, numbered=true
    ) }} as sums
),

ranked as (
    select
        *,
        volatility_ratio_21_252 >= 1.5 and volatility_percentile_252 >= 0.95 as is_volatility_spike
    from {{ with_statistics('measured', [('volatility_percentile_252', 'percentile', 'comparable_21', 252)]) }} as ranks
),

-- An incremental build ranks only the rows that it replaces; whether those before them are spikes is stored.
flagged as (
    select symbol, session_date, {{ columns | join(', ') }} from {{ changed_rows('ranked') }} as replaced
    union all
    select * from known
)

select
    flagged.symbol,
    flagged.session_date,
    {%- for column in columns %}
        flagged.{{ column }},
        {%- if column == 'close_to_close_252' %}
            sqrt(252.0 * ewma.variance) as ewma_094,
        {%- endif %}
    {%- endfor %}
    {{ first_of_run('flagged.is_volatility_spike', 'earlier') }} as spike_began,
    {{ source_name() }} as source
from flagged
left join {{ read(ref('int_ewma')) }} as ewma
    on
        flagged.symbol = ewma.symbol
        and flagged.session_date = ewma.session_date
window earlier as (
    partition by flagged.symbol
    order by flagged.session_date
    rows between 5 preceding and 1 preceding
)
