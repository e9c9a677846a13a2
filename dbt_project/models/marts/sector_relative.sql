{{ config(
    materialized='incremental', incremental_strategy='changed_rows', meta={'changes': 'int_relative_changes'},
    unique_key=['symbol', 'session_date']
) }}
-- Each instrument against its metal and against its sector fund.
{% set changes, ranked_changes = incremental_ref('int_relative_changes'), incremental_ref('int_ranked_changes') %}
{% set measures = [
    'beta_63', 'beta_252', 'alpha_63', 'alpha_252', 'r_squared_63', 'r_squared_252', 'correlation_63',
    'correlation_252', 'beta_up_252', 'beta_down_252', 'beta_252_without_largest', 'tracking_error_252',
    'information_ratio_252'
] %}
-- No row before these is wanted; see the macro `earliest`.
{% set is_recent = (
    'session_date >= least(' ~ earliest(changes, 'changed_from') ~ ', ' ~ earliest(ranked_changes, 'session_date') ~ ')'
    if is_incremental() else 'true'
) %}
with
{% for name, relation in [
    ('returns', ref('returns')), ('relative', ref('int_relative')), ('dimson', ref('int_dimson'))
] %}
    recent_{{ name }} as (
        select *
        from {{ relation }}
        where {{ is_recent }}
    ),
{% endfor %}

{% if is_incremental() %}
    stored as (
        select
            symbol,
            session_date,
            rank_1d,
            rank_21d
        from {{ this }}
        where {{ is_recent }}
    ),
{% endif %}

miners as (
    select
        returns.symbol,
        returns.session_date,
        instruments.metal,
        returns.return_1d,
        returns.return_21d
    from recent_returns as returns
    inner join {{ source('control', 'instruments') }} as instruments
        on returns.symbol = instruments.symbol
    {%- if is_incremental() %}
        inner join {{ ranked_changes }} as ranked
            on
                instruments.metal = ranked.metal
                and returns.session_date = ranked.session_date
    {%- endif %}
    where instruments.tier in ('senior', 'junior', 'royalty')
),

-- Rows of instruments with news, and of all whose rank has moved.
wanted as (
    {%- if is_incremental() %}
        select
            returns.symbol,
            returns.session_date
        from {{ only_changed(ref('returns'), changes) }} as returns
        union
        select
            symbol,
            session_date
        from miners
    {%- else %}
        select
            symbol,
            session_date
        from {{ ref('returns') }}
    {%- endif %}
),

-- Rounded: what differs in the last digits only is a tie.
ranks as (
    select
        symbol,
        session_date,
        case when return_1d is not null then rank() over (
                    partition by metal, session_date
                    order by round(return_1d, 12) desc nulls last
                )
        end as rank_1d,
        case when return_21d is not null then rank() over (
                    partition by metal, session_date
                    order by round(return_21d, 12) desc nulls last
                )
        end as rank_21d
    from miners
)

select
    returns.symbol,
    returns.session_date,
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
    {%- if is_incremental() %}
        -- of sessions on which nobody's returns have changed, the rank is what it was
        case when ranks.symbol is null then stored.rank_1d else ranks.rank_1d end as rank_1d,
        case when ranks.symbol is null then stored.rank_21d else ranks.rank_21d end as rank_21d,
    {%- else %}
        ranks.rank_1d,
        ranks.rank_21d,
    {%- endif %}
    {{ source_name() }} as source
from wanted as returns
inner join {{ source('control', 'instruments') }} as instruments
    on
        returns.symbol = instruments.symbol
        and (instruments.metal_symbol is not null or instruments.sector_symbol is not null)
left join recent_relative as metal
    on
        returns.symbol = metal.symbol
        and returns.session_date = metal.session_date
        and metal.basis = 'metal'
left join recent_relative as sector
    on
        returns.symbol = sector.symbol
        and returns.session_date = sector.session_date
        and sector.basis = 'sector'
left join recent_dimson as dimson
    on
        returns.symbol = dimson.symbol
        and returns.session_date = dimson.session_date
left join ranks
    on
        returns.symbol = ranks.symbol
        and returns.session_date = ranks.session_date
{%- if is_incremental() %}
    left join stored
        on
            returns.symbol = stored.symbol
            and returns.session_date = stored.session_date
{%- endif %}
