{{ config(materialized='incremental_by_symbol') }}
-- Every session that broke a move rule, with all its scores and how unusual its return was at the time.
with moves as (
    select
        symbol,
        session_date,
        {{ joined_texts('rule_id') }} as rules_hit,
        max(case when bridges_gap then 1 else 0 end) = 1 as bridges_gap
    from {{ read(ref('move_rule_hits')) }} as hits
    group by symbol, session_date
),

thresholds as (
    select
        symbol,
        min(case when measure = 'return_1d' then threshold end) as threshold,
        min(case when measure = 'volume_ratio' then threshold end) as volume_threshold
    from {{ ref('int_rule_members') }}
    group by symbol
),

rolls as (
    select
        root,
        session_date,
        is_roll
    from {{ ref('futures_contracts') }}
    where is_front
),

first_bars as (
    select
        symbol,
        min(session_date) as history_start
    from {{ read(ref('int_bars'), lookback='everything') }} as bars
    where symbol in (select moves.symbol from moves)
    group by symbol
)

select
    moves.symbol,
    moves.session_date,
    scores.return_1d,
    scores.point_change_1d,
    moves.rules_hit,
    thresholds.threshold,
    {%- for n in [2, 3, 5, 10, 21] %}
        scores.return_{{ n }}d,
    {%- endfor %}
    scores.overnight_return,
    scores.volume_ratio_20,
    round(scores.volume_ratio_20, 10) >= thresholds.volume_threshold as is_volume_confirmed,
    scores.z_21,
    scores.z_63,
    scores.z_ewma,
    scores.robust_z_252,
    scores.percentile_252,
    history.rank_since_inception,
    history.returns_since_inception,
    history.largest_since,
    history.largest_since_return,
    history.sessions_since_largest,
    history.largest_since is null as is_record,
    first_bars.history_start,
    bars.sessions_since_previous,
    moves.bridges_gap,
    rolls.is_roll,
    {{ source_name() }} as source
from moves
inner join {{ read(ref('int_move_scores')) }} as scores
    on
        moves.symbol = scores.symbol
        and moves.session_date = scores.session_date
inner join {{ ref('int_move_history') }} as history
    on
        moves.symbol = history.symbol
        and moves.session_date = history.session_date
inner join {{ read(ref('int_bars')) }} as bars
    on
        moves.symbol = bars.symbol
        and moves.session_date = bars.session_date
inner join first_bars
    on moves.symbol = first_bars.symbol
left join rolls
    on
        moves.symbol = rolls.root
        and moves.session_date = rolls.session_date
left join thresholds
    on moves.symbol = thresholds.symbol
