-- Sessions of a clock on which another makes its closing prices more than 30 minutes apart, or none: what moved in
-- between is in the return of one of them only. Of clocks whose instruments are compared.
with instruments as (
    select * from {{ source('control', 'instruments') }}
),

price_times as (
    select * from {{ source('control', 'price_times') }}
),

compared as (
    select
        clock,
        benchmark_clock as other_clock
    from {{ ref('int_benchmarks') }}
    union
    select
        longs.clock,
        shorts.clock as other_clock
    from {{ source('control', 'pairs') }} as pairs
    inner join instruments as longs
        on pairs.long_symbol = longs.symbol
    inner join instruments as shorts
        on pairs.short_symbol = shorts.symbol
)

select
    compared.clock,
    compared.other_clock,
    ours.session_date
from compared
inner join price_times as ours
    on compared.clock = ours.clock
left join price_times as theirs
    on
        compared.other_clock = theirs.clock
        and ours.session_date = theirs.session_date
where
    compared.clock <> compared.other_clock
    and (
        theirs.price_utc is null
        or ours.price_utc > theirs.price_utc + interval 30 minute
        or ours.price_utc < theirs.price_utc - interval 30 minute
    )
