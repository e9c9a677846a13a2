{{ config(materialized='ephemeral', meta={'part_of': 'move_rule_hits'}) }}
-- Scores that nothing stores until a rule asks for them: returns of other windows, and how far a price is below its
-- peak or its high. Beside each the one of the session before.
{% set stored = [2, 3, 5, 10, 21] %}
{% set depths = ['drawdown', 'distance_from_52w_high'] %}
with windows as (
    select distinct
        symbol,
        sessions
    from {{ ref('int_rule_members') }}
    where measure = 'cumulative_return' and sessions not in ({{ stored | join(', ') }})
),

bars as (
    select
        symbol,
        session_date,
        bar_number,
        total_return_index
    from {{ read(ref('int_bars'), lookback='1 year') }} as stored_bars
    where symbol in (select windows.symbol from windows)
),

trends as (
    select
        symbol,
        session_date,
        drawdown,
        distance_from_52w_high
    from {{ read(ref('trend'), lookback='70 bars') }} as stored_trends
    where
        symbol in (
            select members.symbol
            from {{ ref('int_rule_members') }} as members
            where
                members.measure in ('{{ depths | join("', '") }}')
        )
),

scores as (
    select
        windows.symbol,
        latest.session_date,
        'cumulative_return' as measure,
        windows.sessions,
        round(latest.total_return_index / bases.total_return_index - 1, 10) as score
    from windows
    inner join bars as latest
        on windows.symbol = latest.symbol
    inner join bars as bases
        on
            windows.symbol = bases.symbol
            and latest.bar_number - windows.sessions = bases.bar_number
    {%- for depth in depths %}
        union all
        select
            symbol,
            session_date,
            '{{ depth }}' as measure,
            1 as sessions,
            round({{ depth }}, 10) as score
        from trends
    {%- endfor %}
)

select
    symbol,
    session_date,
    measure,
    sessions,
    score,
    lag(score) over (
        partition by symbol, measure, sessions
        order by session_date
    ) as score_before
from scores
