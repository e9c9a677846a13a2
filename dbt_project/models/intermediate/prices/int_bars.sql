{{ config(materialized='incremental_by_symbol') }}
-- Each bar beside the one before it, on the split-adjusted basis and as traded.
{% set delivered = [
    'open', 'high', 'low', 'close', 'adj_close', 'volume', 'dividend', 'split_ratio', 'bar_quality', 'source', 'observed_at',
    'tick_size', 'price_basis', 'session_number'
] %}
{% set known_before = [
    'is_in_points', 'known_number', 'known_date', 'known_close', 'known_session_number', 'known_log_index'] %}
with instruments as (
    select * from {{ source('control', 'instruments') }}
),

known as (
    {{ carried_state({
        'bar_number': 'bigint', 'close': 'double', 'session_number': 'bigint', 'log_index': 'decimal(38, 18)'
    }) }}
),

bars as (
    select
        bars.*,
        {{ is_in_points('instruments') }} as is_in_points,
        known.bar_number as known_number,
        known.session_date as known_date,
        known.close as known_close,
        known.session_number as known_session_number,
        known.log_index as known_log_index
    from {{ read(ref('int_kept_bars')) }} as bars
    inner join instruments
        on bars.symbol = instruments.symbol
    left join known
        on bars.symbol = known.symbol
),

numbered as (
    select * from {{ numbered_rows(
        'bars', (['symbol', 'session_date'] + delivered + known_before) | join(', '), ['symbol'],
        {'log_of_splits_to_come': over_later_rows('sum(ln(split_ratio))', ['symbol'], 'session_date')}
    ) }} as in_order
),

neighbours as (
    select
        symbol,
        session_date,
        {%- for column in delivered %}
            {{ column }},
        {%- endfor %}
        place,
        is_in_points,
        known_log_index,
        coalesce(known_number, 0) + place as bar_number,
        case when place = 1 then known_date else {{ place_ago('session_date', 1, ['symbol']) }} end as previous_date,
        case when place = 1 then known_close else {{ place_ago('close', 1, ['symbol']) }} end as previous_close,
        case when place = 1 then known_session_number else {{ place_ago('session_number', 1, ['symbol']) }} end
            as previous_session_number,
        coalesce(log_of_splits_to_come, 0) as log_of_splits_to_come
    from numbered
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
        case when not is_in_points then (close + dividend) / previous_close - 1 end as total_return,
        case when not is_in_points then close / previous_close - 1 end as price_return,
        case when is_in_points then close - previous_close end as point_change,
        -- from the level that is known, which the first row brings
        coalesce(
            case when not is_in_points then cast(ln((close + dividend) / previous_close) as decimal(38, 18)) end, 0
        )
        + case when place = 1 then coalesce(known_log_index, 0) else 0 end as log_growth
    from neighbours
),

-- Added up exactly: the level of the index is the same wherever the adding up began.
with_logs as (
    select
        *,
        cast(log_growth_so_far as decimal(38, 18)) as log_index
    from {{ with_sum_so_far('with_returns', 'log_growth', ['symbol']) }} as summed
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
    point_change,
    log_index,
    case when not is_in_points then exp(cast(log_index as double)) end as total_return_index,
    is_in_points,
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
