{{ config(materialized='incremental_by_symbol') }}
-- Each bar beside the one before it, on the split-adjusted basis and as traded.
with known as (
    {{ carried_state({
        'bar_number': 'bigint', 'close': 'double', 'session_number': 'bigint', 'log_index': 'decimal(38, 18)'
    }) }}
),

bars as (
    select * from {{ read(ref('int_kept_bars')) }}
),

neighbours as (
    select
        bars.symbol,
        bars.session_date,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.adj_close,
        bars.volume,
        bars.dividend,
        bars.split_ratio,
        bars.bar_quality,
        bars.source,
        bars.observed_at,
        bars.tick_size,
        bars.price_basis,
        bars.session_number,
        coalesce(known.bar_number, 0) + row_number() over in_order as bar_number,
        coalesce(lag(bars.session_date) over in_order, known.session_date) as previous_date,
        coalesce(lag(bars.close) over in_order, known.close) as previous_close,
        coalesce(lag(bars.session_number) over in_order, known.session_number) as previous_session_number,
        coalesce(known.log_index, 0) as log_index_before,
        coalesce(
            {{ over_later_rows('sum(ln(bars.split_ratio))', ['bars.symbol'], 'bars.session_date') }}, 0
        ) as log_of_splits_to_come
    from bars
    left join known
        on bars.symbol = known.symbol
    window in_order as (
        partition by bars.symbol
        order by bars.session_date
    )
),

with_returns as (
    select
        *,
        -- The product of the splits still to come, exactly 1 where there are none. Rounded where whole numbers lie, in
        -- its inverse if it is below 1: a product of many reverse splits has more zeros than digits behind its point.
        case
            when log_of_splits_to_come < 0 then 1 / round(exp(-log_of_splits_to_come), 12)
            else round(exp(log_of_splits_to_come), 12)
        end as splits_to_come,
        -- total return in CRSP form; dividends are on the same split-adjusted basis as the closes
        (close + dividend) / previous_close - 1 as total_return,
        close / previous_close - 1 as price_return
    from neighbours
),

-- Added up exactly: the level of the index is the same wherever the adding up began.
with_logs as (
    select
        *,
        cast(
            log_index_before
            + coalesce(sum(cast(ln((close + dividend) / previous_close) as decimal(38, 18))) over so_far, 0)
            as decimal(38, 18)
        ) as log_index
    from with_returns
    window so_far as (
        partition by symbol
        order by session_date
        rows between unbounded preceding and current row
    )
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
    -- what was traded before dividends were taken out is unknown
    case when coalesce(price_basis, '') <> 'dividend_adjusted' then close * splits_to_come end as close_as_traded,
    previous_close,
    total_return,
    price_return,
    log_index,
    exp(cast(log_index as double)) as total_return_index,
    -- a bar on a day without an expected one, or right after it, follows its neighbour directly
    case
        when previous_date is not null then greatest(session_number - previous_session_number, 1)
    end as sessions_since_previous,
    session_number,
    tick_size,
    bar_quality,
    source,
    observed_at
from with_logs
