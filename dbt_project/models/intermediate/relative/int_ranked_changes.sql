{{ config(materialized='incremental_by_symbol', meta={'rebuilt': 'true'}) }}
-- Sessions of which the ranks of all instruments of a metal are built again, because the returns of one have changed:
-- one bar is in the returns of 21 later ones.
with changed as (
    select
        bars.symbol,
        bars.session_date,
        bars.bar_number,
        changes.last_new
    from {{ read(ref('int_bars')) }} as bars
    inner join {{ ref('int_changes') }} as changes
        on bars.symbol = changes.symbol
),

last_returns as (
    select
        symbol,
        max(bar_number) + 22 as bar_number
    from changed
    where session_date <= last_new
    group by symbol
),

last_sessions as (
    select
        changed.symbol,
        max(greatest(changed.session_date, changed.last_new)) as session_date
    from changed
    inner join last_returns
        on
            changed.symbol = last_returns.symbol
            and changed.bar_number <= last_returns.bar_number
    group by changed.symbol
)

-- Delivered ones: a bar that is withheld from now on leaves its ranking too.
select distinct
    instruments.metal,
    delivered.session_date
from {{ read(ref('stg_delivered_bars')) }} as delivered
inner join last_sessions
    on
        delivered.symbol = last_sessions.symbol
        and delivered.session_date <= last_sessions.session_date
inner join {{ source('control', 'instruments') }} as instruments
    on delivered.symbol = instruments.symbol
where instruments.metal is not null
