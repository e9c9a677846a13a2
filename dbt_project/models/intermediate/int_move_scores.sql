-- What the move rules are held against: one row per symbol, session and score.
-- A score never knows its own day: the standard deviation is that of the returns before it.
with returns_before as (
    select
        symbol,
        session_date,
        total_return,
        stddev_samp(total_return) over last_21 as sd_21,
        count(total_return) over last_21 as known_21,
        stddev_samp(total_return) over last_63 as sd_63,
        count(total_return) over last_63 as known_63
    from {{ ref('int_bars') }}
    window
        last_21 as (
            partition by symbol
            order by session_date
            rows between 21 preceding and 1 preceding
        ),
        last_63 as (
            partition by symbol
            order by session_date
            rows between 63 preceding and 1 preceding
        )
)

select
    symbol,
    session_date,
    total_return as return_1d,
    case when known_21 = 21 and sd_21 > 0 then total_return / sd_21 end as z_21,
    case when known_63 = 63 and sd_63 > 0 then total_return / sd_63 end as z_63
from returns_before
where total_return is not null
