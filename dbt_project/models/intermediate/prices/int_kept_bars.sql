{{ config(materialized='view', meta={'changed_ranges': ['int_changes.changed_from']}) }}
-- The newest version of each bar, without those that are withheld.
select
    bars.symbol,
    bars.session_date,
    bars.open,
    bars.high,
    bars.low,
    bars.close,
    bars.adj_close,
    bars.volume,
    bars.dividend,
    bars.split_ratio,
    bars.bar_quality,
    bars.source,
    bars.observed_at,
    bars.tick_size,
    bars.price_basis,
    bars.session_number
from {{ ref('stg_delivered_bars') }} as bars
left join {{ ref('int_bar_anomalies') }} as suspects
    on
        bars.symbol = suspects.symbol
        and bars.session_date = suspects.session_date
        and suspects.is_withheld
where suspects.symbol is null
