{{ config(materialized='view') }}
-- Every stored version of every bar of a watched instrument, numbered from the newest back.
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
    bars.batch_id,
    row_number() over (
        partition by bars.symbol, bars.session_date
        order by bars.observed_at desc, bars.batch_id desc
    ) as versions_back
from {{ ref('stg_admitted_bars') }} as bars
inner join {{ source('control', 'instruments') }} as instruments
    on bars.symbol = instruments.symbol
