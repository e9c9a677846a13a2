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
        claimed_daily_bars.close_as_traded as close,
        claimed_returns.return_1d,
        claimed_returns.return_ytd,
        claimed_returns.base_date_ytd,
        claimed_returns.return_1y,
        claimed_returns.base_date_1y,
        claimed_int_bars.previous_date,
        relative.beta_252,
        other.beta_252 as other_beta_252,
        claimed_volatility.is_volatility_spike,
        claimed_trend.trend_state
    from claims
    {%- for name in ['daily_bars', 'returns', 'int_bars', 'volatility', 'trend'] %}
    inner join claimed_{{ name }}
        on
            claims.symbol = claimed_{{ name }}.symbol
            and claims.session_date = claimed_{{ name }}.session_date
    {%- endfor %}
    left join claimed_sector_relative as relative
        on
            claims.symbol = relative.symbol
            and claims.session_date = relative.session_date
    left join claimed_sector_relative as other
        on
            claims.argument = other.symbol
            and claims.session_date = other.session_date
),

computed as (
    select
        claims.*,
        case claims.measure
            when 'close' then days.close
            when 'return_1d' then days.return_1d
            when 'return_ytd' then days.return_ytd
            when 'return_1y' then days.return_1y
            when 'broke_level_up'
                then case
                        when months.crossed_on is not null then 1.0
                        when months.first_date is not null and months.is_over then 0.0
                    end
            when 'stayed_above_level'
                then case
                        when months.stayed_above and months.is_over then 1.0
                        when not months.stayed_above then 0.0
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
            else history.computed_value
        end as computed_value,
        case claims.measure
            when 'return_1d' then days.previous_date
            when 'return_ytd' then days.base_date_ytd
            when 'return_1y' then days.base_date_1y
            when 'broke_level_up' then coalesce(months.crossed_on, months.first_date)
            when 'stayed_above_level' then months.first_date
            else history.base_date
        end as base_date
    from claims
    left join days
        on claims.claim_id = days.claim_id
    left join {{ ref('int_claimed_history') }} as history
        on claims.claim_id = history.claim_id
    left join {{ ref('int_claimed_months') }} as months
        on claims.claim_id = months.claim_id
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
