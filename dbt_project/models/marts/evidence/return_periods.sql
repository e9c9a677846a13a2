-- How rare returns of an instrument are, by the tail of those known before the month: what came once in so many years.
select
    symbol,
    side,
    basis,
    history_end,
    returns,
    threshold,
    clusters,
    clusters_per_year,
    shape,
    scale,
    level_1y,
    level_5y,
    level_10y,
    level_25y,
    {{ source_name() }} as source
from {{ ref('int_return_periods') }}
