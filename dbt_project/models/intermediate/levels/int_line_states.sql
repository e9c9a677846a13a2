-- Where each bar stands against each watched line, and what it did to the line.
{% set retest_sessions = 60 %}
with sides as (
    select
        *,
        -- the side of the last close off the line: a close on the line itself changes nothing
        {{ last_known('nullif(sign(close - level_price), 0)') }} over so_far as side,
        {{ last_known('nullif(sign(close - level_price), 0)') }} over before as previous_side
    from {{ ref('int_level_bars') }}
    where not is_zone
    window
        so_far as (
            partition by level_id
            order by bar_number
            rows between unbounded preceding and current row
        ),
        before as (
            partition by level_id
            order by bar_number
            rows between unbounded preceding and 1 preceding
        )
),

turns as (
    select
        *,
        side <> previous_side as is_cross,
        -- the second close on the side that the bar before crossed to
        side = previous_side
        and previous_side <> lag(previous_side) over (partition by level_id order by bar_number) as is_confirmation,
        -- the price came within 1 % of the line from the side it was on
        case
            -- of a computed series only closes are known, and they make no retest
            when series is not null then null
            when previous_side > 0 then coalesce(low, close) <= round(1.01 * level_price, 6)
            when previous_side < 0 then coalesce(high, close) >= round(0.99 * level_price, 6)
        end as is_reached
    from sides
),

remembered as (
    select
        *,
        {{ last_known('case when side = previous_side then side end') }} over before as confirmed_side_before,
        max(case when is_away then bar_number end) over before as last_away_number,
        max(case when is_reached then bar_number end) over before as last_reached_number,
        max(case when is_cross then session_position end) over before as crossed_position,
        max(case when is_confirmation then session_position end) over before as confirmed_position
    from turns
    window before as (
        partition by level_id
        order by bar_number
        rows between unbounded preceding and 1 preceding
    )
)

select
    level_id,
    symbol,
    series,
    kind,
    session_date,
    bar_number,
    is_active,
    level_price,
    side,
    confirmed_side_before,
    case when side = previous_side then side else confirmed_side_before end as confirmed_side,
    case
        when is_cross and (open - level_price) * side > 0 then 'gap_through'
        when is_cross then 'close_cross'
        when (previous_side < 0 and high > level_price) or (previous_side > 0 and low < level_price)
            then 'pierce_rejected'
    end as meeting,
    -- where the price was heading when it met the line
    case when is_cross then side else -previous_side end as heading,
    coalesce(is_confirmation, false) as is_confirmation,
    coalesce(is_confirmation and confirmed_side_before <> side, false) as is_role_flip,
    -- the last break was confirmed not long ago, and the price has been away since it was last near
    case
        when
            is_reached
            and confirmed_position > crossed_position
            and session_position - confirmed_position <= {{ retest_sessions }}
            and last_away_number >= last_reached_number
            then case when is_cross then 'retest_failed' else 'retest_held' end
    end as retest,
    is_away,
    last_away_number
from remembered
