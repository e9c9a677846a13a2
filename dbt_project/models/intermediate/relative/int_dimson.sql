{{ config(materialized='ephemeral', meta={'part_of': 'sector_relative'}) }}
-- Beta against a benchmark whose closing prices are made at another time: the metal's future, which settles hours
-- before the funds close, or a fund of another exchange. Part of a day's common move shows on the day before or after:
-- Dimson (1979) regresses the return on the benchmark's of the session before, the same and the next,
-- r(t) = a + b1 x(t-1) + b2 x(t) + b3 x(t+1), and adds the three slopes.
-- Nothing of tomorrow is used: the window of session t ends with the pair (r(t-1); x(t-2), x(t-1), x(t)).
{% set windows = [63, 252] %}
{% set series = ['symbol', 'basis'] %}
with pairs as (
    select
        symbol,
        basis,
        session_date,
        benchmark_symbol,
        r,
        b as x,
        ratio
    from {{ ref('int_pairs') }}
    where basis = 'future' or has_two_clocks
),

neighbours as (
    select
        *,
        {{ rows_ago('r', 1, series) }} as r_before,
        {{ rows_ago('x', 1, series) }} as x_before,
        {{ rows_ago('x', 2, series) }} as x_2_before
    from {{ numbered_rows('pairs', 'symbol, basis, session_date, benchmark_symbol, r, x, ratio', series) }} as in_order
),

products as (
    select
        symbol,
        basis,
        session_date,
        place,
        benchmark_symbol,
        ratio,
        r,
        x,
        r_before,
        x_before,
        x_2_before,
        x * x as xx,
        x * x_before as x_by_x_before,
        x * x_2_before as x_by_x_2_before,
        r * x as r_by_x,
        r * x_before as r_by_x_before,
        r_before * x as r_before_by_x
    from neighbours
),

sums as (
    select *
    from {{ rolling_sums(
        'products',
        [
            'r', 'x', 'r_before', 'x_before', 'x_2_before', 'xx', 'x_by_x_before', 'x_by_x_2_before', 'r_by_x',
            'r_by_x_before', 'r_before_by_x'
        ],
        [3, 21] + windows, series, also=['benchmark_symbol', 'ratio'], lags=[('ratio', 252)], numbered=true
    ) }} as rolled
),

-- n - 1 times the covariances of what ends with the row.
latest as (
    select
        symbol,
        basis,
        session_date,
        place,
        benchmark_symbol,
        {%- for n in windows %}
            {{ squares_around_mean('x_sum_' ~ n, 'xx_sum_' ~ n, n) }} as xx_{{ n }},
            {{ products_around_means('x_sum_' ~ n, 'x_before_sum_' ~ n, 'x_by_x_before_sum_' ~ n, n) }}
                as x_by_x_before_{{ n }},
            {{ products_around_means('x_sum_' ~ n, 'x_2_before_sum_' ~ n, 'x_by_x_2_before_sum_' ~ n, n) }}
                as x_by_x_2_before_{{ n }},
            {{ products_around_means('r_sum_' ~ n, 'x_sum_' ~ n, 'r_by_x_sum_' ~ n, n) }} as r_by_x_{{ n }},
            {{ products_around_means('r_sum_' ~ n, 'x_before_sum_' ~ n, 'r_by_x_before_sum_' ~ n, n) }}
                as r_by_x_before_{{ n }},
            {{ products_around_means('r_before_sum_' ~ n, 'x_sum_' ~ n, 'r_before_by_x_sum_' ~ n, n) }}
                as r_before_by_x_{{ n }},
        {%- endfor %}
        ratio / ratio_252_before as relative_strength_252
    from sums
),

-- Of the three regressors with one another (s) and with the return of the day before (c): most are those of a row
-- or two earlier.
covariances as (
    select
        *,
    {%- for n in windows %}
        {{ rows_ago('xx_' ~ n, 2, series) }} as s11_{{ n }},
        {{ rows_ago('x_by_x_before_' ~ n, 1, series) }} as s12_{{ n }},
        x_by_x_2_before_{{ n }} as s13_{{ n }},
        {{ rows_ago('xx_' ~ n, 1, series) }} as s22_{{ n }},
        x_by_x_before_{{ n }} as s23_{{ n }},
        xx_{{ n }} as s33_{{ n }},
        {{ rows_ago('r_by_x_before_' ~ n, 1, series) }} as c1_{{ n }},
        {{ rows_ago('r_by_x_' ~ n, 1, series) }} as c2_{{ n }},
        r_before_by_x_{{ n }} as c3_{{ n }}{{ ',' if not loop.last }}
    {%- endfor %}
    from latest
),

-- Cofactors of the symmetric 3 x 3 matrix: the slopes are its inverse times c.
cofactors as (
    select
        *,
    {%- for n in windows %}
        s22_{{ n }} * s33_{{ n }} - s23_{{ n }} * s23_{{ n }} as a11_{{ n }},
        s13_{{ n }} * s23_{{ n }} - s12_{{ n }} * s33_{{ n }} as a12_{{ n }},
        s12_{{ n }} * s23_{{ n }} - s13_{{ n }} * s22_{{ n }} as a13_{{ n }},
        s11_{{ n }} * s33_{{ n }} - s13_{{ n }} * s13_{{ n }} as a22_{{ n }},
        s12_{{ n }} * s13_{{ n }} - s11_{{ n }} * s23_{{ n }} as a23_{{ n }},
        s11_{{ n }} * s22_{{ n }} - s12_{{ n }} * s12_{{ n }} as a33_{{ n }}{{ ',' if not loop.last }}
    {%- endfor %}
    from covariances
)

select
    symbol,
    basis,
    session_date,
    benchmark_symbol,
    r_by_x_252 / nullif(xx_252, 0) as same_day_beta_252,
    {%- for n in windows %}
        (
            (a11_{{ n }} + a12_{{ n }} + a13_{{ n }}) * c1_{{ n }}
            + (a12_{{ n }} + a22_{{ n }} + a23_{{ n }}) * c2_{{ n }}
            + (a13_{{ n }} + a23_{{ n }} + a33_{{ n }}) * c3_{{ n }}
        ) / nullif(s11_{{ n }} * a11_{{ n }} + s12_{{ n }} * a12_{{ n }} + s13_{{ n }} * a13_{{ n }}, 0)
            as dimson_beta_{{ n }},
    {%- endfor %}
    relative_strength_252
from cofactors
