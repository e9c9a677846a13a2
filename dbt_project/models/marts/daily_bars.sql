-- Clean daily bars: the newest version of each, as delivered, as traded and as a total-return index.
select
    symbol,
    session_date,
    open,
    high,
    low,
    close,
    close_as_traded,
    adj_close,
    volume,
    dividend,
    split_ratio,
    total_return_index,
    bar_quality,
    sessions_since_previous,
    source,
    observed_at
from {{ ref('int_bars') }}
