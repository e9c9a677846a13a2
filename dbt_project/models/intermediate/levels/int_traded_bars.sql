{{ config(materialized='incremental_by_symbol') }}
-- Each bar as it was traded, if that is known and not nothing, rounded to the tick, with the average true range as
-- known at its close: that of the last 14 bars with a range, if they lie within 28 bars. Front-month futures have bars
-- without a range every few weeks.
with known as (
    {{ carried_state({'session_position': 'bigint'}) }}
),

traded as (
    select
        symbol,
        session_date,
        bar_number,
        {%- for price in ['open', 'high', 'low', 'close', 'previous_close'] %}
            {{ to_tick(price ~ ' * splits_to_come', 'tick_size') }} as {{ price }},
        {%- endfor %}
        sessions_since_previous,
        bar_quality,
        splits_to_come,
        tick_size
    from {{ read(ref('int_bars'), lookback='70 bars') }} as bars
    where close_as_traded >= tick_size / 2
),

ranges as (
    select
        *,
        -- Wilder (1978), in the shares of the latest bar; without a trustworthy range there is none
        case
            when bar_quality = 'ok' and previous_close is not null
                then (greatest(high, previous_close) - least(low, previous_close)) / splits_to_come
        end as true_range
    from traded
),

averages as (
    select
        *,
        case
            when true_range is not null
                then {{ full_window('avg(true_range)', 'true_range', 14, 'last_14_ranges') }}
        end as average_range,
        case when true_range is not null then min(bar_number) over last_14_ranges end as averaged_from
    from ranges
    window last_14_ranges as (
        partition by symbol, true_range is null
        order by bar_number
        rows between 13 preceding and current row
    )
),

carried as (
    select
        averages.*,
        coalesce(known.session_position, 0)
        + sum(
            case
                -- counted already
                when known.session_date >= averages.session_date then 0
                else coalesce(averages.sessions_since_previous, 1)
            end
        ) over so_far as session_position,
        {{ last_known('average_range') }} over so_far as latest_average_range,
        {{ last_known('averaged_from') }} over so_far as latest_averaged_from
    from averages
    left join known
        on averages.symbol = known.symbol
    window so_far as (
        partition by averages.symbol
        order by averages.bar_number
        rows between unbounded preceding and current row
    )
)

select
    symbol,
    session_date,
    bar_number,
    cast(session_position as bigint) as session_position,
    open,
    high,
    low,
    close,
    previous_close,
    case when bar_number - latest_averaged_from < 28 then latest_average_range * splits_to_come end as atr_14,
    splits_to_come,
    tick_size
from carried
