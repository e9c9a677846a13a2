-- Every move rule that a session broke, each with its score: docs/decisions/0009-move-rules.md.
-- Thresholds count as reached whatever the last digits of a float say.
{% set scores_of_the_day = [
    ('return_1d', 1, 'return_1d'),
    ('opening_gap', 1, 'overnight_return'),
    ('z_score', 21, 'z_21'),
    ('z_score', 63, 'z_63'),
    ('z_ewma', 1, 'z_ewma'),
    ('robust_z', 252, 'robust_z_252'),
] %}
{% set cumulative = [2, 3, 5, 10, 21] %}
with scores as (
    select
        symbol,
        session_date,
        return_1d,
        {%- for n in cumulative %}
            round(return_{{ n }}d, 10) as return_{{ n }}d,
            lag(round(return_{{ n }}d, 10)) over in_order as return_{{ n }}d_before,
        {%- endfor %}
        overnight_return,
        z_21,
        z_63,
        z_ewma,
        robust_z_252,
        percentile_252,
        volume_ratio_20,
        -- no gap at all: farther away than any window
        coalesce(returns_since_gap, 1000000) as returns_since_gap
    from {{ ref('int_move_scores') }}
    window in_order as (
        partition by symbol
        order by session_date
    )
),

moves as (
    {%- for measure, sessions, column in scores_of_the_day %}
        select
            scores.symbol,
            scores.session_date,
            rules.rule_id,
            rules.measure,
            rules.sessions,
            scores.{{ column }} as score,
            rules.threshold,
            case when scores.{{ column }} < 0 then 'down' else 'up' end as direction,
            scores.returns_since_gap = 0 as bridges_gap
        from scores
        inner join {{ ref('int_rule_members') }} as rules
            on
                scores.symbol = rules.symbol
                and rules.measure = '{{ measure }}'
                and rules.sessions = {{ sessions }}
        where round(abs(scores.{{ column }}), 10) >= rules.threshold
        union all
    {%- endfor %}
    -- A move of several sessions counts on the day that brings it to the threshold, not while it stays there.
    {%- for n in cumulative %}
        select
            scores.symbol,
            scores.session_date,
            rules.rule_id,
            rules.measure,
            rules.sessions,
            scores.return_{{ n }}d as score,
            rules.threshold,
            case when scores.return_{{ n }}d < 0 then 'down' else 'up' end as direction,
            scores.returns_since_gap < {{ n }} as bridges_gap
        from scores
        inner join {{ ref('int_rule_members') }} as rules
            on
                scores.symbol = rules.symbol
                and rules.measure = 'cumulative_return'
                and rules.sessions = {{ n }}
        where
            abs(scores.return_{{ n }}d) >= rules.threshold
            and coalesce(scores.return_{{ n }}d_before * sign(scores.return_{{ n }}d), 0) < rules.threshold
        union all
    {%- endfor %}
    select
        scores.symbol,
        scores.session_date,
        rules.rule_id,
        rules.measure,
        rules.sessions,
        scores.percentile_252 as score,
        rules.threshold,
        case when scores.percentile_252 >= rules.threshold then 'up' else 'down' end as direction,
        scores.returns_since_gap = 0 as bridges_gap
    from scores
    inner join {{ ref('int_rule_members') }} as rules
        on
            scores.symbol = rules.symbol
            and rules.measure = 'percentile'
            and rules.sessions = 252
    where
        scores.percentile_252 >= rules.threshold
        or scores.percentile_252 <= 1 - rules.threshold
),

moved_sessions as (
    select distinct
        symbol,
        session_date
    from moves
),

-- Volume confirms a move; without one it is no move.
hits as (
    select * from moves
    union all
    select
        scores.symbol,
        scores.session_date,
        rules.rule_id,
        rules.measure,
        rules.sessions,
        scores.volume_ratio_20 as score,
        rules.threshold,
        case when scores.return_1d < 0 then 'down' else 'up' end as direction,
        scores.returns_since_gap = 0 as bridges_gap
    from scores
    inner join moved_sessions
        on
            scores.symbol = moved_sessions.symbol
            and scores.session_date = moved_sessions.session_date
    inner join {{ ref('int_rule_members') }} as rules
        on
            scores.symbol = rules.symbol
            and rules.measure = 'volume_ratio'
            and rules.sessions = 20
    where round(scores.volume_ratio_20, 10) >= rules.threshold
)

select
    symbol,
    session_date,
    rule_id,
    measure,
    sessions,
    score,
    threshold,
    direction,
    bridges_gap,
    {{ source_name() }} as source
from hits
