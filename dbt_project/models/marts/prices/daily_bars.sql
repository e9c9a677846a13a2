{{ config(materialized='incremental_by_symbol') }}
-- Clean daily bars: the newest version of each, as delivered, as traded and as a total-return index.
select
    bars.symbol,
    bars.session_date,
    bars.open,
    bars.high,
    bars.low,
    bars.close,
    bars.close_as_traded,
    bars.adj_close,
    bars.volume,
    bars.dividend,
    bars.split_ratio,
    bars.total_return_index,
    bars.bar_quality,
    suspects.rule as suspicion,
    bars.sessions_since_previous,
    bars.source,
    bars.observed_at
from {{ read(ref('int_bars')) }} as bars
left join {{ ref('int_bar_anomalies') }} as suspects
    on
        bars.symbol = suspects.symbol
        and bars.session_date = suspects.session_date
