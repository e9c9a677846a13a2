{{ config(materialized='view') }}
-- Every stored version of every bar, but for those that a data test has held back.
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
    bars.batch_id
from {{ source('raw', 'bars') }} as bars
left join {{ source('control', 'held') }} as held
    on bars.symbol = held.symbol
where held.symbol is null or bars.observed_at <= held.observed_until
