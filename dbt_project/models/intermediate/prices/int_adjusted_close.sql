{{ config(materialized='view') }}
-- The adjusted close in Yahoo's form beside the vendor's own, for reconciliation only: each close times
-- (1 - dividend / previous close) of every dividend still to come. It changes with every further dividend, so nothing
-- is measured on it.
select
    symbol,
    session_date,
    close * exp(coalesce({{ over_later_rows(
        'sum(ln(case when dividend < previous_close then 1 - dividend / previous_close end))', ['symbol'], 'session_date'
    ) }}, 0)) as adj_close,
    adj_close as vendor_adj_close,
    close_as_traded,
    tick_size,
    sessions_since_previous
from {{ ref('int_bars') }}
