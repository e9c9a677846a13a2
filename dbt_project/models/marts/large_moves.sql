-- Every return that broke a move rule, with how unusual it was at the time.
with scores as (
    select
        symbol,
        session_date,
        return_1d,
        'return_1d' as measure,
        1 as sessions,
        return_1d as score
    from {{ ref('int_move_scores') }}
    union all
    select
        symbol,
        session_date,
        return_1d,
        'z_score' as measure,
        21 as sessions,
        z_21 as score
    from {{ ref('int_move_scores') }}
    union all
    select
        symbol,
        session_date,
        return_1d,
        'z_score' as measure,
        63 as sessions,
        z_63 as score
    from {{ ref('int_move_scores') }}
),

hits as (
    select
        scores.symbol,
        scores.session_date,
        {{ joined_texts('rules.rule_id') }} as rules_hit
    from scores
    inner join {{ ref('int_rule_members') }} as rules
        on
            scores.symbol = rules.symbol
            and scores.measure = rules.measure
            and scores.sessions = rules.sessions
    where abs(scores.score) >= rules.threshold
    group by scores.symbol, scores.session_date
),

daily_thresholds as (
    select
        symbol,
        min(threshold) as threshold
    from {{ ref('int_rule_members') }}
    where measure = 'return_1d'
    group by symbol
),

moves as (
    select
        hits.symbol,
        hits.session_date,
        hits.rules_hit,
        scores.return_1d,
        scores.z_21,
        scores.z_63,
        scores.z_ewma,
        scores.robust_z_252,
        scores.percentile_252,
        bars.bar_number,
        bars.sessions_since_previous,
        daily_thresholds.threshold
    from hits
    inner join {{ ref('int_move_scores') }} as scores
        on
            hits.symbol = scores.symbol
            and hits.session_date = scores.session_date
    inner join {{ ref('int_bars') }} as bars
        on
            hits.symbol = bars.symbol
            and hits.session_date = bars.session_date
    left join daily_thresholds
        on hits.symbol = daily_thresholds.symbol
),

-- Each move beside everything that was known before it: falls are compared with falls, rises with rises. A return
-- across a gap is no daily return: it counts among those that are known, and is never the one to compare with.
earlier_returns as (
    select
        moves.symbol,
        moves.session_date,
        earlier.session_date as earlier_date,
        earlier.bar_number as earlier_bar_number,
        earlier.total_return as earlier_return,
        earlier.sessions_since_previous = 1
        and earlier.total_return * sign(moves.return_1d) >= abs(moves.return_1d) as is_as_large
    from moves
    inner join {{ ref('int_bars') }} as earlier
        on
            moves.symbol = earlier.symbol
            and moves.session_date > earlier.session_date
            and earlier.total_return is not null
),

history as (
    select
        symbol,
        session_date,
        count(*) as returns_before,
        count(case when is_as_large then 1 end) as as_large_before,
        max(earlier_date) filter (where is_as_large) as largest_since,
        max_by(earlier_return, earlier_date) filter (where is_as_large) as largest_since_return,
        max(earlier_bar_number) filter (where is_as_large) as largest_since_bar_number
    from earlier_returns
    group by symbol, session_date
),

first_bars as (
    select
        symbol,
        min(session_date) as history_start
    from {{ ref('int_bars') }}
    group by symbol
)

select
    moves.symbol,
    moves.session_date,
    moves.return_1d,
    moves.rules_hit,
    moves.threshold,
    moves.z_21,
    moves.z_63,
    moves.z_ewma,
    moves.robust_z_252,
    moves.percentile_252,
    coalesce(history.as_large_before, 0) + 1 as rank_since_inception,
    coalesce(history.returns_before, 0) + 1 as returns_since_inception,
    history.largest_since,
    history.largest_since_return,
    moves.bar_number - history.largest_since_bar_number as sessions_since_largest,
    history.largest_since is null as is_record,
    first_bars.history_start,
    moves.sessions_since_previous,
    moves.sessions_since_previous > 1 as bridges_gap,
    {{ source_name() }} as source
from moves
inner join first_bars
    on moves.symbol = first_bars.symbol
left join history
    on
        moves.symbol = history.symbol
        and moves.session_date = history.session_date
