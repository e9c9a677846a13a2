{{ config(materialized='incremental_by_symbol', meta={'rebuilt': "signal = 'pair'"}) }}
-- Every event of the product, one row each: what market checks, alerts and the brief tell. What else is known of one
-- stands in the mart that it comes from. A kind of signal is a select here and a file in orchestration/signals/.
with level_signals as (
    select
        *,
        kind in ('extreme', 'round_number') as is_unchosen,
        -- an extreme of all time is one of 52 weeks as well, and says more
        kind = 'extreme'
        and level_id not like '%:all_time_%'
        and coalesce(
            min(case when kind = 'extreme' and level_id like '%:all_time_%' then is_repeat end) over (
                partition by symbol, session_date, direction
            ) <= is_repeat,
            false
        ) as is_said_by_another
    from {{ read(ref('level_events')) }} as events
),

signals as (
    select
        event_id,
        case when is_unchosen then kind else 'level' end as signal,
        case kind
            when 'extreme' then 'new_extremes'
            when 'round_number' then 'round_numbers'
            else level_id
        end as check_name,
        symbol,
        case when series not in ('sma_50', 'sma_200') then series end as pair_id,
        level_id,
        session_date,
        direction,
        abs(close / level - 1) as strength,
        -- nobody chose the level; or the price came to it and went back, or stayed where it had been
        case
            when is_unchosen or event in ('pierce_rejected', 'retest_held', 'confirmed') then 'info'
            else 'warning'
        end as severity,
        is_repeat
    from level_signals
    where not is_said_by_another

    union all

    select
        concat_ws('|', symbol, cast(session_date as {{ dbt.type_string() }}), rule_id) as event_id,
        'move' as signal,
        rule_id as check_name,
        symbol,
        cast(null as {{ dbt.type_string() }}) as pair_id,
        cast(null as {{ dbt.type_string() }}) as level_id,
        session_date,
        direction,
        case when measure = 'percentile' then greatest(score, 1 - score) else abs(score) end as strength,
        'warning' as severity,
        false as is_repeat
    from {{ read(ref('move_rule_hits')) }} as hits

    union all

    -- either of the two moves a gap, and pairs come and go with their seed: all of them, every time; what their metal's
    -- move makes of a gap is not judged, where it is known
    select
        concat_ws('|', spreads.pair_id, cast(spreads.session_date as {{ dbt.type_string() }}), 'widening') as event_id,
        'pair' as signal,
        spreads.pair_id as check_name,
        spreads.long_symbol as symbol,
        spreads.pair_id,
        cast(null as {{ dbt.type_string() }}) as level_id,
        spreads.session_date,
        case
            when case when parts.rest_z_252 is not null then parts.rest_21d else spreads.spread_21d end < 0 then 'down'
            else 'up'
        end as direction,
        abs(coalesce(parts.rest_z_252, spreads.z_252)) as strength,
        'warning' as severity,
        false as is_repeat
    from {{ ref('pair_spreads') }} as spreads
    inner join {{ ref('gap_parts') }} as parts
        on
            spreads.pair_id = parts.pair_id
            and spreads.session_date = parts.session_date
    where case when parts.rest_z_252 is not null then parts.rest_widening_began else spreads.widening_began end

    union all

    select
        concat_ws('|', symbol, cast(session_date as {{ dbt.type_string() }}), 'spike') as event_id,
        'volatility' as signal,
        'volatility_spikes' as check_name,
        symbol,
        cast(null as {{ dbt.type_string() }}) as pair_id,
        cast(null as {{ dbt.type_string() }}) as level_id,
        session_date,
        'up' as direction,
        volatility_ratio_21_252 as strength,
        'warning' as severity,
        false as is_repeat
    from {{ read(ref('volatility')) }} as volatilities
    where spike_began
)

select
    event_id,
    signal,
    check_name,
    symbol,
    pair_id,
    level_id,
    session_date,
    direction,
    strength,
    severity,
    is_repeat,
    {{ source_name() }} as source
from signals
