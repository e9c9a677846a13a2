{{ config(materialized='incremental_by_symbol') }}
-- Delivered bars whose close is in another unit than those around it, cents for dollars: they are withheld.
{% set unit_factor, neighbours = 50, 5 %}
with around as (
    select
        symbol,
        session_date,
        close,
    {%- for k in range(1, neighbours + 1) %}
        lag(close, {{ k }}) over in_order as before_{{ k }},
        lead(close, {{ k }}) over in_order as after_{{ k }}{{ ',' if not loop.last }}
    {%- endfor %}
    from {{ read(ref('stg_delivered_bars'), lookback='70 bars') }} as delivered
    window in_order as (
        partition by symbol
        order by session_date
    )
),

company as (
    select
        symbol,
        session_date,
        0
        {%- for k in range(1, neighbours + 1) %}
            + {{ is_far('close', 'before_' ~ k, unit_factor) }}
            + {{ is_far('close', 'after_' ~ k, unit_factor) }}
        {%- endfor %} as far_away,
        0
        {%- for k in range(1, neighbours + 1) %}
            + case when before_{{ k }} is not null then 1 else 0 end
            + case when after_{{ k }} is not null then 1 else 0 end
        {%- endfor %} as known_around
    from around
)

select
    symbol,
    session_date
from company
-- the majority decides: an error of a few sessions is outnumbered by the right bars on both sides
where far_away >= 3 and 2 * far_away > known_around
