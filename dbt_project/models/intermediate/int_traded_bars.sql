-- Each bar as it was traded, rounded to the tick, with the average true range as known at its close.
with ranges as (
    select
        symbol,
        session_date,
        bar_number,
        open,
        high,
        low,
        close,
        previous_close,
        splits_to_come,
        tick_size,
        -- Wilder (1978); without a trustworthy range there is none
        case
            when bar_quality = 'ok' and previous_close is not null
                then greatest(high, previous_close) - least(low, previous_close)
        end as true_range,
        sum(coalesce(sessions_since_previous, 1)) over (
            partition by symbol
            order by session_date
            rows between unbounded preceding and current row
        ) as session_position
    from {{ ref('int_bars') }}
)

select
    symbol,
    session_date,
    bar_number,
    cast(session_position as bigint) as session_position,
    {{ to_tick('open * splits_to_come', 'tick_size') }} as open,
    {{ to_tick('high * splits_to_come', 'tick_size') }} as high,
    {{ to_tick('low * splits_to_come', 'tick_size') }} as low,
    {{ to_tick('close * splits_to_come', 'tick_size') }} as close,
    {{ to_tick('previous_close * splits_to_come', 'tick_size') }} as previous_close,
    {{ full_window('avg(true_range)', 'true_range', 14, 'last_14') }} * splits_to_come as atr_14,
    splits_to_come,
    tick_size
from ranges
window last_14 as (
    partition by symbol
    order by session_date
    rows between 13 preceding and current row
)
