{{ config(materialized='incremental_by_symbol', meta={'rebuilt': 'true'}) }}
-- What new bars can change in the comparison of an instrument with its metal, its sector fund and its metal's future: a
-- bar of either side changes it. One row per symbol.
with sides as (
    select
        symbol,
        benchmark_symbol as side
    from {{ ref('int_benchmarks') }}
    union all
    select
        symbol,
        symbol as side
    from {{ ref('int_benchmarks') }}
),

changed as (
    select
        sides.symbol,
        min(changes.changed_from) as changed_from,
        min(changes.long_lookback_from) as long_lookback_from
    from sides
    inner join {{ ref('int_changes') }} as changes
        on sides.side = changes.symbol
    group by sides.symbol
)

select
    changed.symbol,
    changed.changed_from,
    changed.long_lookback_from,
    count(bars.session_date) as bars_read
from changed
left join {{ ref('stg_delivered_bars') }} as bars
    on
        changed.symbol = bars.symbol
        and changed.long_lookback_from <= bars.session_date
group by changed.symbol, changed.changed_from, changed.long_lookback_from
