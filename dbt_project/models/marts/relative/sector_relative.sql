{{ config(
    materialized='incremental_by_symbol',
    meta={'changed_ranges': ['int_relative_changes.changed_from', 'int_ranked_changes.session_date']},
    post_hook="{{ take_over_ranks(ref('int_return_ranks'), incremental_ref('int_ranked_changes')) }}"
) }}
-- Each instrument against its metal and against its sector fund.
{% set measures = [
    'beta_63', 'beta_252', 'alpha_63', 'alpha_252', 'r_squared_63', 'r_squared_252', 'correlation_63',
    'correlation_252', 'beta_up_252', 'beta_down_252', 'beta_252_without_largest', 'tracking_error_252',
    'information_ratio_252'
] %}
with compared as (
    select * from {{ ref('int_relative') }}
),

dimson as (
    select * from {{ ref('int_dimson') }}
),

ranks as (
    select * from {{ read(ref('int_return_ranks'), changes='int_relative_changes') }} as changed_ranks
),

bars as (
    select
        symbol,
        session_date
    from {{ read(ref('int_bars'), changes='int_relative_changes') }} as changed_bars
)

select
    bars.symbol,
    bars.session_date,
    instruments.metal_symbol,
    instruments.sector_symbol,
    metal.excess_return_1d as excess_return_metal_1d,
    sector.excess_return_1d as excess_return_sector_1d,
    metal.relative_strength_252,
    {%- for measure in measures %}
        metal.{{ measure }},
    {%- endfor %}
    sector.relative_strength_252 as sector_relative_strength_252,
    {%- for measure in measures %}
        sector.{{ measure }} as sector_{{ measure }},
    {%- endfor %}
    dimson.futures_symbol,
    dimson.same_day_beta_252 as futures_beta_252,
    dimson.dimson_beta_252 as futures_dimson_beta_252,
    ranks.rank_1d,
    ranks.rank_21d,
    {{ source_name() }} as source
from bars
inner join {{ source('control', 'instruments') }} as instruments
    on
        bars.symbol = instruments.symbol
        and (instruments.metal_symbol is not null or instruments.sector_symbol is not null)
left join compared as metal
    on
        bars.symbol = metal.symbol
        and bars.session_date = metal.session_date
        and metal.basis = 'metal'
left join compared as sector
    on
        bars.symbol = sector.symbol
        and bars.session_date = sector.session_date
        and sector.basis = 'sector'
left join dimson
    on
        bars.symbol = dimson.symbol
        and bars.session_date = dimson.session_date
left join ranks
    on
        bars.symbol = ranks.symbol
        and bars.session_date = ranks.session_date
