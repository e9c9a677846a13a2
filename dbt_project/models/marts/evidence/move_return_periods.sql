-- Once in how many years a return as large as that of a flagged move had come, as it was known the session before.
select
    symbol,
    session_date,
    side,
    basis,
    period_years,
    period_lower,
    period_upper,
    period_min,
    period_max,
    {{ source_name() }} as source
from {{ ref('int_move_return_periods') }}
