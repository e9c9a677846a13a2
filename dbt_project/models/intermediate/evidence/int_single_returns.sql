{{ config(materialized='view') }}
-- Returns of single sessions, and how many times the volatility known before each is: what a tail is made of. Of
-- instruments with a flagged move, or a study.
select
    returns.symbol,
    returns.session_date,
    returns.return_1d as value,
    returns.return_1d / nullif(volatilities.ewma_094 / sqrt(252), 0) as multiple
from {{ ref('returns') }} as returns
inner join {{ ref('volatility') }} as volatilities
    on
        returns.symbol = volatilities.symbol
        and returns.session_date = volatilities.session_date
where
    returns.return_1d is not null
    and returns.sessions_since_previous = 1
    and (
        returns.symbol in (select moves.symbol from {{ ref('large_moves') }} as moves)
        or returns.symbol in (select studies.scope_value from {{ source('control', 'event_studies') }} as studies)
    )
