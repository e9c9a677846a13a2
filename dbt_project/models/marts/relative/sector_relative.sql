{{ config(
    materialized='incremental_by_symbol',
    meta={'changed_ranges': ['int_relative_changes.changed_from', 'int_ranked_changes.session_date']},
    post_hook="{{ take_over_ranks(ref('int_return_ranks'), incremental_ref('int_ranked_changes')) }}"
) }}
-- Each instrument against its metal and against its sector fund, in one currency. Where the closing prices of both were
-- not made at the same time, nothing that compares single days is known, and beta is Dimson's.
{% set measures = [
    'beta_63', 'beta_252', 'alpha_63', 'alpha_252', 'r_squared_63', 'r_squared_252', 'correlation_63',
    'correlation_252', 'beta_up_252', 'beta_down_252', 'beta_252_without_largest', 'tracking_error_252',
    'information_ratio_252'
] %}
{% set dimson_too = ['beta_63', 'beta_252'] %}
with compared as (
    select * from {{ ref('int_relative') }}
),

dimson as (
    select * from {{ ref('int_dimson') }}
),

future as (
    select * from dimson
    where basis = 'future'
),

metal_apart as (
    select * from dimson
    where basis = 'metal'
),

sector_apart as (
    select * from dimson
    where basis = 'sector'
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
    {%- for basis, prefix in [('metal', ''), ('sector', 'sector_')] %}
        coalesce({{ basis }}_apart.session_date, {{ basis }}.session_date) as {{ basis }}_session_date,
        case
            when {{ basis }}.symbol is not null then 'ols'
            when {{ basis }}_apart.symbol is not null then 'dimson'
        end as {{ prefix }}beta_method,
        coalesce({{ basis }}_apart.relative_strength_252, {{ basis }}.relative_strength_252)
            as {{ prefix }}relative_strength_252,
        {%- for measure in measures %}
            {%- if measure in dimson_too %}
                case
                    when {{ basis }}.symbol is not null then {{ basis }}.{{ measure }}
                    else {{ basis }}_apart.dimson_{{ measure }}
                end as {{ prefix }}{{ measure }},
            {%- else %}
                {{ basis }}.{{ measure }} as {{ prefix }}{{ measure }},
            {%- endif %}
        {%- endfor %}
    {%- endfor %}
    future.benchmark_symbol as futures_symbol,
    future.same_day_beta_252 as futures_beta_252,
    future.dimson_beta_252 as futures_dimson_beta_252,
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
left join metal_apart
    on
        bars.symbol = metal_apart.symbol
        and bars.session_date = metal_apart.session_date
left join sector_apart
    on
        bars.symbol = sector_apart.symbol
        and bars.session_date = sector_apart.session_date
left join future
    on
        bars.symbol = future.symbol
        and bars.session_date = future.session_date
left join ranks
    on
        bars.symbol = ranks.symbol
        and bars.session_date = ranks.session_date
