{{ config(materialized='view') }}
-- What followed any session: what is said of events is held against it. Of a tier, the mean of all its members.
{% set horizons = [5, 21, 63] %}
with after as (
    select
        series,
        scope,
        {%- for n in horizons %}
            lead(value, {{ n }}) over in_order / value - 1 as return_{{ n }},
            lead(value_in_base, {{ n }}) over in_order / value_in_base - 1 as in_base_{{ n }},
            case when is_call_base then lead(call_value, {{ n }}) over in_order - call_value end as call_{{ n }},
        {%- endfor %}
        session_date
    from {{ ref('int_study_series') }}
    window in_order as (
        partition by scope, series
        order by session_date
    )
),

members as (
    select
        symbol,
        'tier' as scope,
        tier as scope_value
    from {{ source('control', 'instruments') }}
    union all
    select
        symbol,
        'all' as scope,
        cast(null as {{ dbt.type_string() }}) as scope_value
    from {{ source('control', 'instruments') }}
    where exists (select 1 from {{ source('control', 'event_studies') }} as studies where studies.scope = 'all')
),

sessions as (
    select
        scope,
        {%- for n in horizons %}
            return_{{ n }},
            call_{{ n }},
        {%- endfor %}
        series as scope_value
    from after
    union all
    select
        members.scope,
        {%- for n in horizons %}
            {{ exact_mean('after.in_base_' ~ n) }} as return_{{ n }},
            cast(null as double) as call_{{ n }},
        {%- endfor %}
        members.scope_value
    from after
    inner join members
        on after.series = members.symbol
    where after.scope = 'symbol'
    group by members.scope, members.scope_value, after.session_date
),

counted as (
    {%- for n in horizons %}
        select
            scope,
            scope_value,
            {{ n }} as sessions,
            count(return_{{ n }}) as base_sessions,
            avg(case when return_{{ n }} > 1e-9 then 1e0 when return_{{ n }} is not null then 0e0 end) as base_share_up,
            median(return_{{ n }}) as base_median,
            avg(case when return_{{ n }} < -1e-9 then 1e0 when return_{{ n }} is not null then 0e0 end)
                as base_share_down,
            avg(case when call_{{ n }} > 1e-9 then 1e0 when call_{{ n }} is not null then 0e0 end) as base_calls_up,
            avg(case when call_{{ n }} < -1e-9 then 1e0 when call_{{ n }} is not null then 0e0 end) as base_calls_down
        from sessions
        group by scope, scope_value
        {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    scope,
    scope_value,
    sessions,
    base_sessions,
    base_share_up,
    base_median,
    base_share_down,
    base_calls_up,
    base_calls_down
from counted
