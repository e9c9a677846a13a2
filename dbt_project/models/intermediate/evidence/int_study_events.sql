{{ config(materialized='view') }}
-- The events that each study counts: of each kind of signal those of an instrument, a pair or a watched level, and
-- those of a tier; and what event_studies.csv asks for.
{% set no_text = 'cast(null as ' ~ dbt.type_string() ~ ')' %}
with studies as (
    select * from {{ source('control', 'event_studies') }}
),

events as (
    select * from {{ ref('int_events') }}
),

returns as (
    select *
    from {{ ref('returns') }}
    where return_1d is not null and sessions_since_previous = 1
),

members as (
    select
        studies.study_id,
        studies.signal,
        studies.scope,
        studies.scope_value,
        studies.direction,
        studies.threshold,
        instruments.symbol
    from studies
    inner join {{ source('control', 'instruments') }} as instruments
        on
            studies.scope = 'all'
            or (studies.scope = 'tier' and studies.scope_value = instruments.tier)
            or (studies.scope = 'symbol' and studies.scope_value = instruments.symbol)
),

counted as (
    select
        events.signal as study_id,
        case when events.pair_id is null then 'symbol' else 'pair' end as scope,
        coalesce(events.pair_id, events.symbol) as scope_value,
        cast(null as double) as threshold,
        events.*
    from events
    union all
    select
        events.signal as study_id,
        'tier' as scope,
        instruments.tier as scope_value,
        cast(null as double) as threshold,
        events.*
    from events
    inner join {{ source('control', 'instruments') }} as instruments
        on events.symbol = instruments.symbol
    where events.pair_id is null
    union all
    select
        members.study_id,
        members.scope,
        members.scope_value,
        cast(null as double) as threshold,
        events.*
    from events
    inner join members
        on
            events.symbol = members.symbol
            and events.signal = members.signal
            and events.direction = members.direction
    where events.pair_id is null
    union all
    select
        members.study_id,
        members.scope,
        members.scope_value,
        members.threshold,
        concat_ws('|', members.symbol, cast(returns.session_date as {{ dbt.type_string() }}), members.study_id)
            as event_id,
        members.signal,
        {{ no_text }} as pair_id,
        members.symbol,
        {{ no_text }} as level_id,
        members.direction,
        returns.session_date
    from members
    inner join returns
        on members.symbol = returns.symbol
    where
        members.signal = 'return_1d'
        and round(case members.direction when 'down' then -returns.return_1d else returns.return_1d end, 10)
        >= members.threshold
)

select
    concat_ws(
        '|',
        study_id,
        scope,
        scope_value,
        case when scope = 'symbol' then level_id end,
        direction
    ) as study_key,
    study_id,
    signal,
    scope,
    scope_value,
    case when scope = 'symbol' then level_id end as level_id,
    direction,
    threshold,
    event_id,
    coalesce(pair_id, symbol) as series,
    symbol,
    session_date
from counted
