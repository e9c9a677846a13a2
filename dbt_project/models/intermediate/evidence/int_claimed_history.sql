{{ config(materialized='view') }}
-- What the history up to its session says of a claim: the rank of a fall, how rare a move was, what had followed.
with claims as (
    select * from {{ source('control', 'published_claims') }}
),

claimed_returns as (
    select *
    from {{ ref('returns') }}
    where symbol in (select claims.symbol from claims)
),

-- How many returns up to the session were as low.
falls as (
    select
        claims.claim_id,
        cast(count(case when earlier.return_1d <= today.return_1d then 1 end) as double) as computed_value,
        min(earlier.session_date) as base_date
    from claims
    inner join claimed_returns as today
        on
            claims.symbol = today.symbol
            and claims.session_date = today.session_date
            and today.return_1d is not null
    inner join claimed_returns as earlier
        on
            claims.symbol = earlier.symbol
            and claims.session_date >= earlier.session_date
            and earlier.return_1d is not null
    where claims.measure = 'largest_fall_rank'
    group by claims.claim_id
),

-- Whether a move is rarer than once in so many years: unknown while the interval holds both; what comes more than once
-- a year is not.
rare as (
    select
        claims.claim_id,
        case
            when periods.period_lower >= cast(claims.argument as double) then 1.0
            when periods.period_upper < cast(claims.argument as double) then 0.0
            when periods.symbol is null and abs(today.return_1d) < abs(tails.level_1y) then 0.0
        end as computed_value,
        cast(null as date) as base_date
    from claims
    inner join claimed_returns as today
        on
            claims.symbol = today.symbol
            and claims.session_date = today.session_date
    left join {{ ref('return_periods') }} as tails
        on
            claims.symbol = tails.symbol
            and tails.basis = 'plain'
            and tails.side = case when today.return_1d < 0 then 'down' else 'up' end
    left join {{ ref('move_return_periods') }} as periods
        on
            claims.symbol = periods.symbol
            and claims.session_date = periods.session_date
            and periods.basis = 'plain'
    where claims.measure = 'return_period'
),

-- How many episodes that had matured were followed by a rise.
followed as (
    select
        claims.claim_id,
        avg(case when outcomes.outcome > 1e-9 then 1e0 else 0e0 end) as computed_value,
        min(outcomes.session_date) as base_date
    from claims
    inner join {{ ref('signal_outcomes') }} as outcomes
        on
            claims.symbol = outcomes.series
            and claims.argument = concat_ws(' ', outcomes.study_id, cast(outcomes.sessions as {{ dbt.type_string() }}))
            and claims.session_date >= outcomes.matured_date
    where claims.measure = 'share_up_after' and outcomes.is_episode
    group by claims.claim_id
)

select * from falls
union all
select * from rare
union all
select * from followed
