-- Each bar beside the one before it, on the split-adjusted basis and as traded.
with neighbours as (
    select
        symbol,
        session_date,
        open,
        high,
        low,
        close,
        adj_close,
        volume,
        dividend,
        split_ratio,
        bar_quality,
        source,
        observed_at,
        tick_size,
        session_number,
        row_number() over in_order as bar_number,
        lag(session_date) over in_order as previous_date,
        lag(close) over in_order as previous_close,
        lag(session_number) over in_order as previous_session_number,
        -- the product of the splits still to come; exp(0) = 1 exactly where there are none
        round(exp(coalesce(sum(ln(split_ratio)) over still_to_come, 0)), 12) as splits_to_come
    from {{ ref('stg_bars') }}
    window
        in_order as (
            partition by symbol
            order by session_date
        ),
        still_to_come as (
            partition by symbol
            order by session_date
            rows between 1 following and unbounded following
        )
),

with_returns as (
    select
        *,
        -- total return in CRSP form; dividends are on the same split-adjusted basis as the closes
        (close + dividend) / previous_close - 1 as total_return,
        close / previous_close - 1 as price_return
    from neighbours
)

select
    symbol,
    session_date,
    bar_number,
    previous_date,
    open,
    high,
    low,
    close,
    adj_close,
    volume,
    dividend,
    split_ratio,
    splits_to_come,
    close * splits_to_come as close_as_traded,
    previous_close,
    total_return,
    price_return,
    exp(coalesce(sum(ln(1 + total_return)) over so_far, 0)) as total_return_index,
    -- a bar on a day without an expected one, or right after it, follows its neighbour directly
    case
        when previous_date is not null then greatest(session_number - previous_session_number, 1)
    end as sessions_since_previous,
    tick_size,
    bar_quality,
    source,
    observed_at
from with_returns
window so_far as (
    partition by symbol
    order by session_date
    rows between unbounded preceding and current row
)
