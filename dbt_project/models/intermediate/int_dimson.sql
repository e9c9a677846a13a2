-- Beta against the metal's future over 252 paired sessions. Futures settle hours before the funds close, so part of a
-- day's common move shows on the day before or after: Dimson (1979) regresses the return on the benchmark's of the
-- session before, the same and the next, r(t) = a + b1 x(t-1) + b2 x(t) + b3 x(t+1), and adds the three slopes.
-- Nothing of tomorrow is used: the window of session t ends with the pair (r(t-1); x(t-2), x(t-1), x(t)).
with futures as (
    select
        metal,
        min(symbol) as futures_symbol
    from {{ source('control', 'instruments') }}
    where asset_class = 'metal'
    group by metal
),

paired as (
    select
        ours.symbol,
        ours.session_date,
        futures.futures_symbol,
        ours.total_return as same_day_return,
        lag(ours.total_return) over in_order as r,
        lag(theirs.total_return, 2) over in_order as x1,
        lag(theirs.total_return) over in_order as x2,
        theirs.total_return as x3
    from {{ source('control', 'instruments') }} as instruments
    inner join futures
        on instruments.metal = futures.metal
    inner join {{ ref('int_bars') }} as ours
        on instruments.symbol = ours.symbol
    inner join {{ ref('int_bars') }} as theirs
        on
            futures.futures_symbol = theirs.symbol
            and ours.session_date = theirs.session_date
    where
        instruments.asset_class <> 'metal'
        and ours.total_return is not null
        and theirs.total_return is not null
    window in_order as (
        partition by ours.symbol
        order by ours.session_date
    )
),

-- Covariances of the three regressors with one another (s) and with the return (c).
rolled as (
    select
        symbol,
        session_date,
        futures_symbol,
        {{ full_window('covar_samp(same_day_return, x3)', 'x3', 252, 'last_252') }}
        / nullif(var_samp(x3) over last_252, 0) as same_day_beta_252,
        {{ full_window('var_samp(x1)', 'x1', 252, 'last_252') }} as s11,
        covar_samp(x1, x2) over last_252 as s12,
        covar_samp(x1, x3) over last_252 as s13,
        var_samp(x2) over last_252 as s22,
        covar_samp(x2, x3) over last_252 as s23,
        var_samp(x3) over last_252 as s33,
        covar_samp(r, x1) over last_252 as c1,
        covar_samp(r, x2) over last_252 as c2,
        covar_samp(r, x3) over last_252 as c3
    from paired
    window last_252 as (
        partition by symbol
        order by session_date
        rows between 251 preceding and current row
    )
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
    from rolled
)

select
    symbol,
    session_date,
    futures_symbol,
    same_day_beta_252,
    ((a11 + a12 + a13) * c1 + (a12 + a22 + a23) * c2 + (a13 + a23 + a33) * c3)
    / nullif(s11 * a11 + s12 * a12 + s13 * a13, 0) as dimson_beta_252
from cofactors
