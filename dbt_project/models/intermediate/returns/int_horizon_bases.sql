{{ config(materialized='incremental_by_symbol', meta={'changed_by': 'base_date'}) }}
-- For each day of the calendar, the bar that a horizon ending there starts from: the last one on or before the day, if
-- it is at most 7 days old. Each bar stands for its own day and those up to the next bar.
with spans as (
    select
        symbol,
        session_date,
        total_return_index,
        lead(session_date) over (
            partition by symbol
            order by session_date
        ) as next_date
    from {{ read(ref('int_bars')) }} as bars
),

offsets as (
    {%- for days in range(8) %}
        select {{ days }} as days
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
)

select
    spans.symbol,
    spans.session_date + offsets.days as day,
    spans.session_date as base_date,
    spans.total_return_index as base_index
from spans
cross join offsets
where
    spans.next_date is null
    or spans.session_date + offsets.days < spans.next_date
