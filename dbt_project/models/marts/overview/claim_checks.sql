-- What publications claimed, held against our figures of the same session.
-- A statement without a number counts as claimed 1 (true) and is computed as 1 or 0.
with claims as (
    select * from {{ source('control', 'published_claims') }}
),

claimed_symbols as (
    select symbol from claims
    union
    select argument as symbol from claims
),

-- Of few instruments: without this, whole tables may be joined with each other before the claims are.
{% for name in ['daily_bars', 'returns', 'int_bars', 'volatility', 'trend', 'sector_relative'] %}
    claimed_{{ name }} as (
        select *
        from {{ ref(name) }}
        where symbol in (select claimed_symbols.symbol from claimed_symbols)
    ),
{% endfor %}

days as (
    select
        claims.claim_id,
        claims.measure,
        claims.argument,
        bars.close_as_traded as close,
        returns.return_1d,
        returns.return_ytd,
        returns.base_date_ytd,
        returns.return_1y,
        returns.base_date_1y,
        previous.previous_date,
        relative.beta_252,
        other.beta_252 as other_beta_252,
        volatility.is_volatility_spike,
        trend.trend_state
    from claims
    inner join claimed_daily_bars as bars
        on
            claims.symbol = bars.symbol
            and claims.session_date = bars.session_date
    inner join claimed_returns as returns
        on
            claims.symbol = returns.symbol
            and claims.session_date = returns.session_date
    inner join claimed_int_bars as previous
        on
            claims.symbol = previous.symbol
            and claims.session_date = previous.session_date
    inner join claimed_volatility as volatility
        on
            claims.symbol = volatility.symbol
            and claims.session_date = volatility.session_date
    inner join claimed_trend as trend
        on
            claims.symbol = trend.symbol
            and claims.session_date = trend.session_date
    left join claimed_sector_relative as relative
        on
            claims.symbol = relative.symbol
            and claims.session_date = relative.session_date
    left join claimed_sector_relative as other
        on
            claims.argument = other.symbol
            and claims.session_date = other.session_date
),

-- How many returns up to the session were as low.
falls as (
    select
        claims.claim_id,
        cast(count(case when earlier.return_1d <= today.return_1d then 1 end) as double) as rank_of_fall,
        min(earlier.session_date) as first_date
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

-- What the price did with the level in the month of the claim, up to its session, from the level's first day on.
-- Above both edges of a zone is above its upper one; a split moves the level with the price, so each bar has its own.
months as (
    select
        claims.claim_id,
        min(case when coalesce(levels.low, levels.close) > levels.level_price then 1.0 else 0.0 end) as stayed_above,
        min(levels.session_date) as first_date
    from claims
    inner join {{ ref('int_level_bars') }} as levels
        on
            claims.argument = levels.level_id
            and levels.is_active
            and claims.session_date >= levels.session_date
            and levels.session_date >= cast(date_trunc('month', claims.session_date) as date)
    group by claims.claim_id
),

-- The month up to the session is over once the level has a bar on the session or after it; before that a level that has
-- held so far may yet be reached.
complete as (
    select claims.claim_id
    from claims
    inner join {{ ref('int_level_bars') }} as levels
        on claims.argument = levels.level_id
    group by claims.claim_id, claims.session_date
    having max(levels.session_date) >= claims.session_date
),

crossings as (
    select
        claims.claim_id,
        min(events.session_date) as crossed_on
    from claims
    inner join {{ ref('level_events') }} as events
        on
            claims.argument = events.level_id
            and events.direction = 'up'
            and events.event in ('close_cross', 'gap_through', 'zone_exited', 'zone_crossed_through')
            and claims.session_date >= events.session_date
            and events.session_date >= cast(date_trunc('month', claims.session_date) as date)
    group by claims.claim_id
),

computed as (
    select
        claims.*,
        case claims.measure
            when 'close' then days.close
            when 'return_1d' then days.return_1d
            when 'return_ytd' then days.return_ytd
            when 'return_1y' then days.return_1y
            when 'largest_fall_rank' then falls.rank_of_fall
            when 'broke_level_up'
                then case
                        when crossings.crossed_on is not null then 1.0
                        when months.claim_id is not null and complete.claim_id is not null then 0.0
                    end
            when 'stayed_above_level'
                then case
                        when months.stayed_above = 0 or complete.claim_id is not null then months.stayed_above
                    end
            when 'beta_252_above'
                then case
                        when days.beta_252 > days.other_beta_252 then 1.0
                        when days.beta_252 is not null and days.other_beta_252 is not null then 0.0
                    end
            when 'volatility_spike_in_uptrend'
                then case
                        when days.is_volatility_spike and days.trend_state = 'up' then 1.0
                        when days.is_volatility_spike is not null and days.trend_state is not null then 0.0
                    end
        end as computed_value,
        case claims.measure
            when 'return_1d' then days.previous_date
            when 'return_ytd' then days.base_date_ytd
            when 'return_1y' then days.base_date_1y
            when 'largest_fall_rank' then falls.first_date
            when 'broke_level_up' then coalesce(crossings.crossed_on, months.first_date)
            when 'stayed_above_level' then months.first_date
        end as base_date
    from claims
    left join days
        on claims.claim_id = days.claim_id
    left join falls
        on claims.claim_id = falls.claim_id
    left join months
        on claims.claim_id = months.claim_id
    left join crossings
        on claims.claim_id = crossings.claim_id
    left join complete
        on claims.claim_id = complete.claim_id
)

select
    claim_id,
    published_on,
    publisher,
    symbol,
    measure,
    argument,
    session_date,
    coalesce(claimed, 1.0) as claimed,
    computed_value as computed,
    computed_value - coalesce(claimed, 1.0) as difference,
    coalesce(tolerance, 0.0) as tolerance,
    case
        when computed_value is null then 'not computable'
        -- within the tolerance but for the last digits: 40.595 - 40.6 is -0.005000000000002558 in floats
        when
            abs(computed_value - coalesce(claimed, 1.0))
            <= coalesce(tolerance, 0.0) + 1e-12 * abs(coalesce(claimed, 1.0))
            then 'confirmed'
        else 'refuted'
    end as verdict,
    base_date,
    note,
    {{ source_name() }} as source
from computed
