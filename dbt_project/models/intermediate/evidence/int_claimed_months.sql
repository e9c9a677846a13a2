{{ config(materialized='view') }}
-- What the price did with the level that a claim names: in the month of the claim, up to its session, from the level's
-- first day on.
with claims as (
    select
        claim_id,
        argument as level_id,
        session_date,
        cast(date_trunc('month', session_date) as date) as month_begins
    from {{ source('control', 'published_claims') }}
    where argument is not null
),

-- Above both edges of a zone is above its upper one; a split moves the level with the price, so each bar has its own.
beside_bars as (
    select
        claims.claim_id,
        claims.session_date as claimed_date,
        bars.session_date,
        bars.is_active and bars.session_date between claims.month_begins and claims.session_date as is_in_month,
        coalesce(bars.low, bars.close) > bars.level_price as is_above
    from claims
    inner join {{ ref('int_level_bars') }} as bars
        on claims.level_id = bars.level_id
),

months as (
    select
        claim_id,
        min(case when is_in_month then session_date end) as first_date,
        min(case when is_in_month then is_above end) as stayed_above,
        -- before that a level that has held so far may yet be reached
        max(session_date) >= claimed_date as is_over
    from beside_bars
    group by claim_id, claimed_date
),

crossings as (
    select
        claims.claim_id,
        min(events.session_date) as crossed_on
    from claims
    inner join {{ ref('level_events') }} as events
        on claims.level_id = events.level_id
    where
        events.direction = 'up'
        and events.event in ('close_cross', 'gap_through', 'zone_exited', 'zone_crossed_through')
        and events.session_date between claims.month_begins and claims.session_date
    group by claims.claim_id
)

select
    claims.claim_id,
    months.first_date,
    months.stayed_above,
    months.is_over,
    crossings.crossed_on
from claims
left join months
    on claims.claim_id = months.claim_id
left join crossings
    on claims.claim_id = crossings.claim_id
