{{ config(materialized='incremental_by_symbol') }}
-- The round numbers that each bar's close left behind: the multiples of the step of its magnitude.
-- A close on a multiple has not crossed it yet; the one that leaves it on the other side has. Who leaves thousands
-- behind at once is quoted in another unit.
{% set most_crossed = 10000 %}
with known as (
    {{ carried_state({'known_heading': 'double', 'latest_level': 'double', 'last_away_number': 'bigint'}) }}
),

-- From the last bar on that is known: whether its close was away from the number crossed last is asked again, what it
-- crossed is known.
bars as (
    select
        bars.*,
        known.known_heading,
        known.latest_level as known_level,
        known.last_away_number as known_away_number,
        coalesce(bars.session_date = known.session_date, false) as is_known
    from {{ read(ref('int_traded_bars'), lookback='70 bars') }} as bars
    left join known
        on bars.symbol = known.symbol
    where known.symbol is null or bars.session_date >= known.session_date
),

headings as (
    select
        *,
        sign(close - previous_close) as heading,
        -- from where the previous close came: on which side of it the closes before it were
        coalesce({{ last_known('nullif(sign(close - previous_close), 0)') }} over before, known_heading)
            as heading_before,
        {{ round_number_step('least(close, coalesce(nullif(previous_close, 0), close))') }} as step
    from bars
    window before as (
        partition by symbol
        order by bar_number
        rows between unbounded preceding and 1 preceding
    )
),

steps as (
    select
        *,
        {{ steps_from_zero('previous_close', 'step') }} as steps_before,
        {{ steps_from_zero('close', 'step') }} as steps_now
    from headings
),

multiples as (
    select
        *,
        case
            -- the previous close stood on a multiple and the price goes on the way that it came
            when steps_before = floor(steps_before) and heading = heading_before then steps_before
            when heading > 0 then floor(steps_before) + 1
            when heading < 0 then ceil(steps_before) - 1
        end as first_multiple,
        case
            when heading > 0 then ceil(steps_now) - 1
            when heading < 0 then floor(steps_now) + 1
        end as last_multiple
    from steps
),

crossings as (
    select
        *,
        coalesce((last_multiple - first_multiple) * heading between 0 and {{ most_crossed }}, false) and not is_known
            as is_crossed,
        round(last_multiple * step, 6) as level_price
    from multiples
),

-- The number crossed last is the one to get away from; splits re-base it like any price.
remembered as (
    select
        *,
        coalesce(
            {{ last_known('case when is_crossed then level_price / splits_to_come end') }} over so_far, known_level
        ) as latest_level,
        coalesce(
            {{ last_known('case when is_crossed then level_price / splits_to_come end') }} over before, known_level
        ) * splits_to_come as previous_level_price,
        coalesce({{ last_known('nullif(heading, 0)') }} over so_far, known_heading) as latest_known_heading
    from crossings
    window
        so_far as (
            partition by symbol
            order by bar_number
            rows between unbounded preceding and current row
        ),
        before as (
            partition by symbol
            order by bar_number
            rows between unbounded preceding and 1 preceding
        )
),

placed as (
    select
        *,
        round(abs(close - latest_level * splits_to_come), 6)
        >= {{ stand_off('latest_level * splits_to_come', 'atr_14') }} as is_away
    from remembered
),

with_away as (
    select
        *,
        coalesce({{ last_known('case when is_away then bar_number end') }} over before, known_away_number)
            as last_away_number
    from placed
    window before as (
        partition by symbol
        order by bar_number
        rows between unbounded preceding and 1 preceding
    )
)

select
    symbol,
    session_date,
    bar_number,
    close,
    heading,
    is_crossed,
    case when is_crossed then level_price end as level_price,
    case
        when is_crossed then {{ multiples_as_text('first_multiple', 'last_multiple', 'heading', 'step') }}
    end as levels_crossed,
    case when is_crossed then cast(abs(last_multiple - first_multiple) + 1 as integer) end as levels_crossed_count,
    round(previous_level_price, 6) = level_price as is_same_level,
    last_away_number,
    latest_level,
    latest_known_heading as known_heading,
    -- what a close on a multiple has not crossed yet lies ahead of it
    coalesce(latest_known_heading, 1) as latest_heading
from with_away
