{{ config(materialized='incremental', incremental_strategy='all_rows') }}
-- Sessions of which the ranks of all instruments of a metal are built again, because the returns of one have changed: one
-- bar is in the returns of 21 later ones.
with returns_end as (
    select
        changes.symbol,
        max(bars.bar_number) + 22 as bar_number
    from {{ ref('int_changes') }} as changes
    inner join {{ only_changed(ref('int_bars')) }} as bars
        on
            changes.symbol = bars.symbol
            and changes.last_new >= bars.session_date
    group by changes.symbol
)

select distinct
    instruments.metal,
    bars.session_date
from {{ only_changed(ref('int_bars')) }} as bars
inner join returns_end
    on
        bars.symbol = returns_end.symbol
        and bars.bar_number <= returns_end.bar_number
inner join {{ source('control', 'instruments') }} as instruments
    on bars.symbol = instruments.symbol
where instruments.metal is not null
