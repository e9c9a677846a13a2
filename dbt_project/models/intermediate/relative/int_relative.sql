{{ config(materialized='ephemeral', meta={'part_of': 'sector_relative'}) }}
-- Rolling comparison of each instrument with each of its benchmarks over sessions on which both have a return, of
-- closing prices that were made at the same time.
{% set windows = [63, 252] %}
{% set sides = ['up', 'down'] %}
{% set terms = ['r', 'b', 'rr', 'bb', 'rb', 'excess', 'excess_square', 'log_growth_r', 'log_growth_b'] %}
{% for side in sides %}
    {% for term in ['is', 'r', 'b', 'bb', 'rb'] %}
        {% do terms.append(term ~ '_' ~ side) %}
    {% endfor %}
{% endfor %}
{% set narrow = 'symbol, basis, benchmark_symbol, session_date, r, b, ratio' %}
{% set largest = {
    'largest_r_252': first_at_largest('r', 'abs(b)', 'session_date', 'last_252'),
    'largest_b_252': first_at_largest('b', 'abs(b)', 'session_date', 'last_252')
} %}
with pairs as (
    select *
    from {{ ref('int_pairs') }}
    where basis in ('metal', 'sector') and is_synchronous
),

-- Sorted once, while the rows are narrow.
numbered as (
    select *
    from {{ numbered_rows('pairs', narrow, ['symbol', 'basis'], largest, 252) }} as in_order
),

terms as (
    select
        *,
        {%- for side, holds in [('up', 'b > 0'), ('down', 'b < 0')] %}
            -- the pairs of days on which the benchmark rose, and of those on which it fell
            case when {{ holds }} then 1 else 0 end as is_{{ side }},
            case when {{ holds }} then r else 0 end as r_{{ side }},
            case when {{ holds }} then b else 0 end as b_{{ side }},
            case when {{ holds }} then b * b else 0 end as bb_{{ side }},
            case when {{ holds }} then r * b else 0 end as rb_{{ side }},
        {%- endfor %}
        r * r as rr,
        b * b as bb,
        r * b as rb,
        r - b as excess,
        (r - b) * (r - b) as excess_square,
        ln(1 + r) as log_growth_r,
        ln(1 + b) as log_growth_b
    from numbered
),

sums as (
    select *
    from {{ rolling_sums(
        'terms', terms, [3, 21] + windows, ['symbol', 'basis'],
        also=['benchmark_symbol', 'r', 'b', 'ratio', 'largest_r_252', 'largest_b_252'], lags=[('ratio', 252)],
        numbered=true
    ) }} as rolled
),

moments as (
    select
        symbol,
        basis,
        benchmark_symbol,
        session_date,
        r,
        b,
        ratio / ratio_252_before as relative_strength_252,
        {%- for n in windows %}
            {{ products_around_means('r_sum_' ~ n, 'b_sum_' ~ n, 'rb_sum_' ~ n, n) }} / {{ n - 1 }}
                as covariance_{{ n }},
            {{ squares_around_mean('b_sum_' ~ n, 'bb_sum_' ~ n, n) }} / {{ n - 1 }} as variance_b_{{ n }},
            {{ squares_around_mean('r_sum_' ~ n, 'rr_sum_' ~ n, n) }} / {{ n - 1 }} as variance_r_{{ n }},
            r_sum_{{ n }} / {{ n }} as mean_r_{{ n }},
            b_sum_{{ n }} / {{ n }} as mean_b_{{ n }},
        {%- endfor %}
        sqrt({{ squares_around_mean('excess_sum_252', 'excess_square_sum_252', 252) }} / 251) as sd_excess_252,
        log_growth_r_sum_252,
        log_growth_b_sum_252,
        {%- for side in sides %}
            {%- set sums_of = '_' ~ side ~ '_sum_252' %}
            case
                when is{{ sums_of }} >= 20
                    then
                        {{ products_around_means('r' ~ sums_of, 'b' ~ sums_of, 'rb' ~ sums_of, 'is' ~ sums_of) }}
                        / nullif({{ squares_around_mean('b' ~ sums_of, 'bb' ~ sums_of, 'is' ~ sums_of) }}, 0)
            end as beta_{{ side }}_252,
        {%- endfor %}
        largest_r_252,
        largest_b_252
    from sums
)

select
    symbol,
    basis,
    benchmark_symbol,
    session_date,
    r - b as excess_return_1d,
    relative_strength_252,
    {%- for n in windows %}
        covariance_{{ n }} / nullif(variance_b_{{ n }}, 0) as beta_{{ n }},
        mean_r_{{ n }} - covariance_{{ n }} / nullif(variance_b_{{ n }}, 0) * mean_b_{{ n }} as alpha_{{ n }},
        power(covariance_{{ n }}, 2) / nullif(variance_b_{{ n }} * variance_r_{{ n }}, 0) as r_squared_{{ n }},
        covariance_{{ n }} / nullif(sqrt(variance_b_{{ n }}) * sqrt(variance_r_{{ n }}), 0) as correlation_{{ n }},
    {%- endfor %}
    beta_up_252,
    beta_down_252,
    -- one pair less: its share leaves covariance and variance (Welford, backwards)
    (covariance_252 * 251 - (largest_r_252 - mean_r_252) * (largest_b_252 - mean_b_252) * 252.0 / 251)
    / nullif(variance_b_252 * 251 - power(largest_b_252 - mean_b_252, 2) * 252.0 / 251, 0) as beta_252_without_largest,
    sd_excess_252 * sqrt(252.0) as tracking_error_252,
    -- active premium over tracking error; a window of 252 is a year, so growth needs no annualising
    (exp(log_growth_r_sum_252) - exp(log_growth_b_sum_252)) / nullif(sd_excess_252 * sqrt(252.0), 0)
        as information_ratio_252
from moments
