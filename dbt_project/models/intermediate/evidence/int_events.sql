{{ config(materialized='view') }}
-- Every event whose aftermath is studied, one row each: those of market_signals, with kinds of level events apart and
-- one large move a session, and the session on which a verdict begins. A return across a hole is no event.
{% set no_text = 'cast(null as ' ~ dbt.type_string() ~ ')' %}
with signals as (
    select * from {{ ref('market_signals') }}
),

verdicts as (
    select
        symbol,
        session_date,
        verdict,
        lag(verdict) over (
            partition by symbol
            order by session_date
        ) as verdict_before
    from {{ ref('trend') }}
)

select
    signals.event_id,
    case
        when signals.signal = 'pair' then 'pair_widening'
        when signals.signal = 'volatility' then 'volatility_spike'
        when signals.signal <> 'level' then signals.signal
        when levels.event in ('close_cross', 'gap_through') then 'level_cross'
        when levels.event = 'confirmed' then 'level_confirmed'
        when levels.event in ('retest_held', 'retest_failed') then 'level_retest'
        when levels.event = 'role_flip' then 'role_flip'
        when levels.event like 'zone%' then 'zone'
        else 'level_pierce'
    end as signal,
    signals.pair_id,
    signals.symbol,
    case when signals.signal = 'level' then signals.level_id end as level_id,
    signals.direction,
    signals.session_date
from signals
left join {{ ref('level_events') }} as levels
    on signals.event_id = levels.event_id
where signals.signal <> 'move' and levels.series is null
union all
select
    concat_ws('|', symbol, cast(session_date as {{ dbt.type_string() }}), 'move') as event_id,
    'large_move' as signal,
    {{ no_text }} as pair_id,
    symbol,
    {{ no_text }} as level_id,
    case when return_1d < 0 then 'down' else 'up' end as direction,
    session_date
from {{ ref('large_moves') }}
where sessions_since_previous = 1 and return_1d <> 0
union all
select
    concat_ws('|', symbol, cast(session_date as {{ dbt.type_string() }}), verdict) as event_id,
    'verdict' as signal,
    {{ no_text }} as pair_id,
    symbol,
    {{ no_text }} as level_id,
    case when verdict = 'reversal' then 'down' else 'up' end as direction,
    session_date
from verdicts
where verdict in ('consolidation', 'reversal') and coalesce(verdict_before, '') <> verdict
