{{ config(materialized='incremental_by_symbol') }}
-- Every move rule that a session broke, each with its score: docs/decisions/0009-move-rules.md.
-- Thresholds count as reached whatever the last digits of a float say.
{% set scores_of_the_day = [
    ('return_1d', 1, 'return_1d', 'return_1d'),
    ('opening_gap', 1, 'overnight_return', 'overnight_return'),
    ('z_score', 21, 'z_21', 'z_21'),
    ('z_score', 63, 'z_63', 'z_63'),
    ('z_ewma', 1, 'z_ewma', 'z_ewma'),
    ('robust_z', 252, 'robust_z_252', 'robust_z_252'),
    ('percentile', 252, 'percentile_252', 'percentile_252 - 0.5'),
    ('volume_ratio', 20, 'volume_ratio_20', 'return_1d'),
    ('point_change', 1, 'point_change_1d', 'point_change_1d'),
] %}
{% set cumulative = [2, 3, 5, 10, 21] %}
with scores as (
    select
        symbol,
        session_date,
        return_1d,
        point_change_1d,
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
    from {{ read(ref('int_move_scores'), lookback='70 bars') }} as stored_scores
    window in_order as (
        partition by symbol
        order by session_date
    )
),

-- What rules can be held against, one below the other; the sign of `heading` is the way that the price went.
candidates as (
    {%- for measure, sessions, score, heading in scores_of_the_day %}
        select
            symbol,
            session_date,
            '{{ measure }}' as measure,
            {{ sessions }} as sessions,
            {{ score }} as score,
            cast(null as double) as score_before,
            {{ heading }} as heading,
            returns_since_gap < 1 as bridges_gap
        from scores
        union all
    {%- endfor %}
    {%- for n in cumulative %}
        select
            symbol,
            session_date,
            'cumulative_return' as measure,
            {{ n }} as sessions,
            return_{{ n }}d as score,
            return_{{ n }}d_before as score_before,
            return_{{ n }}d as heading,
            returns_since_gap < {{ n }} as bridges_gap
        from scores
        union all
    {%- endfor %}
    select
        asked_for.symbol,
        asked_for.session_date,
        asked_for.measure,
        asked_for.sessions,
        asked_for.score,
        asked_for.score_before,
        asked_for.score as heading,
        scores.returns_since_gap < asked_for.sessions as bridges_gap
    from {{ ref('int_scores_asked_for') }} as asked_for
    inner join scores
        on
            asked_for.symbol = scores.symbol
            and asked_for.session_date = scores.session_date
)

select
    candidates.symbol,
    candidates.session_date,
    rules.rule_id,
    rules.measure,
    rules.sessions,
    candidates.score,
    rules.threshold,
    case when candidates.heading < 0 then 'down' else 'up' end as direction,
    candidates.bridges_gap,
    {{ source_name() }} as source
from candidates
inner join {{ ref('int_rule_members') }} as rules
    on
        candidates.symbol = rules.symbol
        and candidates.measure = rules.measure
        and candidates.sessions = rules.sessions
where
    case
        when candidates.measure = 'percentile'
            then candidates.score >= rules.threshold or candidates.score <= 1 - rules.threshold
        -- a move of several sessions counts on the day that brings it to the threshold, not while it stays there
        else
            round(abs(candidates.score), 10) >= rules.threshold
            and coalesce(candidates.score_before * sign(candidates.score), 0) < rules.threshold
    end
-- volume confirms a move; without one it is no move
qualify count(case when candidates.measure <> 'volume_ratio' then 1 end) over (
        partition by candidates.symbol, candidates.session_date
    ) > 0
