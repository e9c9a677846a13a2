{{ config(materialized='ephemeral', meta={'part_of': 'sector_relative'}) }}
-- Beta against the metal's future over 252 paired sessions. Futures settle hours before the funds close, so part of a
-- day's common move shows on the day before or after: Dimson (1979) regresses the return on the benchmark's of the
-- session before, the same and the next, r(t) = a + b1 x(t-1) + b2 x(t) + b3 x(t+1), and adds the three slopes.
-- Nothing of tomorrow is used: the window of session t ends with the pair (r(t-1); x(t-2), x(t-1), x(t)).
with pairs as (
    select
        symbol,
        session_date,
        benchmark_symbol as futures_symbol,
        r,
        b as x
    from {{ ref('int_pairs') }}
    where basis = 'future'
),

neighbours as (
    select
        *,
        {{ rows_ago('r', 1, ['symbol']) }} as r_before,
        {{ rows_ago('x', 1, ['symbol']) }} as x_before,
        {{ rows_ago('x', 2, ['symbol']) }} as x_2_before
    from {{ numbered_rows('pairs', 'symbol, session_date, futures_symbol, r, x', ['symbol']) }} as in_order
),

products as (
    select
        symbol,
        session_date,
        place,
        futures_symbol,
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
        [3, 21, 63, 252], ['symbol'], also=['futures_symbol'], numbered=true
    ) }} as rolled
),

-- 251 times the covariances of what ends with the row.
latest as (
    select
        symbol,
        session_date,
        place,
        futures_symbol,
        {{ squares_around_mean('x_sum_252', 'xx_sum_252', 252) }} as xx,
        {{ products_around_means('x_sum_252', 'x_before_sum_252', 'x_by_x_before_sum_252', 252) }} as x_by_x_before,
        {{ products_around_means('x_sum_252', 'x_2_before_sum_252', 'x_by_x_2_before_sum_252', 252) }}
            as x_by_x_2_before,
        {{ products_around_means('r_sum_252', 'x_sum_252', 'r_by_x_sum_252', 252) }} as r_by_x,
        {{ products_around_means('r_sum_252', 'x_before_sum_252', 'r_by_x_before_sum_252', 252) }} as r_by_x_before,
        {{ products_around_means('r_before_sum_252', 'x_sum_252', 'r_before_by_x_sum_252', 252) }} as r_before_by_x
    from sums
),

-- Of the three regressors with one another (s) and with the return of the day before (c): most are those of a row
-- or two earlier.
covariances as (
    select
        symbol,
        session_date,
        futures_symbol,
        r_by_x / nullif(xx, 0) as same_day_beta_252,
        {{ rows_ago('xx', 2, ['symbol']) }} as s11,
        {{ rows_ago('x_by_x_before', 1, ['symbol']) }} as s12,
        x_by_x_2_before as s13,
        {{ rows_ago('xx', 1, ['symbol']) }} as s22,
        x_by_x_before as s23,
        xx as s33,
        {{ rows_ago('r_by_x_before', 1, ['symbol']) }} as c1,
        {{ rows_ago('r_by_x', 1, ['symbol']) }} as c2,
        r_before_by_x as c3
    from latest
),

-- Cofactors of the symmetric 3 x 3 matrix: the slopes are its inverse times c.
cofactors as (
    select
        *,
        s22 * s33 - s23 * s23 as a11,
        s13 * s23 - s12 * s33 as a12,
        s12 * s23 - s13 * s22 as a13,
        s11 * s33 - s13 * s13 as a22,
        s12 * s13 - s11 * s23 as a23,
        s11 * s22 - s12 * s12 as a33
    from covariances
)

select
    symbol,
    session_date,
    futures_symbol,
    same_day_beta_252,
    ((a11 + a12 + a13) * c1 + (a12 + a22 + a23) * c2 + (a13 + a23 + a33) * c3)
    / nullif(s11 * a11 + s12 * a12 + s13 * a13, 0) as dimson_beta_252
from cofactors
