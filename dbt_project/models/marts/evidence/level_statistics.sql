-- How often levels and round numbers held when prices came to them, beside the same lines where nobody named one.
select
    concat_ws('|', scope, level_id, kind, symbol, side, case when in_hindsight then 'hindsight' end) as level_key,
    scope,
    level_id,
    kind,
    symbol,
    side,
    in_hindsight,
    tests,
    held,
    hold_rate,
    hold_lower,
    hold_upper,
    placebo_tests,
    placebo_held,
    placebo_rate,
    finding,
    {{ source_name() }} as source
from {{ ref('int_level_statistics') }}
