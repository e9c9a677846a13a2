-- What followed each event, over each horizon; one that is too near to the last one kept is no episode.
select
    event_id,
    study_id,
    signal,
    scope_value as series,
    symbol,
    level_id,
    session_date,
    direction,
    sessions,
    is_episode,
    outcome,
    worst,
    best,
    matured_date,
    recovery_date,
    is_hit,
    base_hit_rate,
    {{ source_name() }} as source
from {{ ref('int_study_outcomes') }}
where scope in ('symbol', 'pair')
