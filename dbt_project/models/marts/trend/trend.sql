{{ config(materialized='incremental_by_symbol') }}
-- Where each instrument stands against its own past: drawdown on total return, extremes and averages on closes.
{% set is_below = 'round(close / sma_200, 12) < 1' %}
with known as (
    {{ carried_state({'peak': 'double', 'peak_date': 'date', 'sessions_under_water': 'bigint'}) }}
),

bars as (
    select
        symbol,
        session_date,
        bar_number,
        close,
        total_return_index
    from {{ read(ref('int_bars'), lookback='1 year') }} as bars
),

-- The peak before the rows that are built.
known_peaks as (
    select
        known.symbol,
        known.peak,
        known.peak_date,
        bars.bar_number - known.sessions_under_water as peak_bar_number
    from known
    inner join bars
        on
            known.symbol = bars.symbol
            and known.session_date = bars.session_date
),

beside_known as (
    select
        bars.*,
        known_peaks.peak as known_peak,
        known_peaks.peak_date as known_peak_date,
        known_peaks.peak_bar_number as known_peak_bar_number
    from bars
    left join known_peaks
        on bars.symbol = known_peaks.symbol
),

numbered as (
    select
        *,
        -- at a peak again means: but for the last digits, which depend on how the index was summed; points have no peak
        peak is null or total_return_index >= peak * (1 - 1e-12) as is_peak
    from {{ numbered_rows(
        'beside_known',
        'symbol, session_date, bar_number, close, total_return_index, known_peak_date, known_peak_bar_number',
        ['symbol'], {'peak': 'greatest(' ~ extreme_so_far('max', 'total_return_index', 'so_far') ~ ', known_peak)'}
    ) }} as in_order
),

-- The first row is a peak, or there is a known one.
peaks as (
    select
        symbol,
        session_date,
        bar_number,
        close,
        peak,
        case when is_peak and peak is not null then 0 else total_return_index / peak - 1 end as drawdown,
        case when peak is not null then {{ last_since_first(
            'case when is_peak then session_date when place = 1 then known_peak_date end', ['symbol']
        ) }} end as peak_date,
        case when peak is not null then {{ last_since_first(
            'case when is_peak then bar_number when place = 1 then known_peak_bar_number end', ['symbol']
        ) }} end as peak_bar_number,
        {{ last_since_first('case when place = 1 then session_date end', ['symbol']) }}
        <= session_date - interval 1 year as has_a_year,
        place
    from numbered
),

averages as (
    select
        *,
        close_sum_50 / 50 as sma_50,
        close_sum_200 / 200 as sma_200
    from {{ rolling_sums(
        'peaks', ['close'], [5, 50, 200], ['symbol'],
        also=['bar_number', 'close', 'peak', 'drawdown', 'peak_date', 'peak_bar_number', 'has_a_year'], numbered=true
    ) }} as rolled
),

-- Beside the bar before: what comes next may leave it out.
compared as (
    select
        *,
        -- rounded: a close on its average is neither above nor below
        round(close / sma_200, 12) as close_to_sma_200,
        round(sma_50 / sma_200, 12) as sma_50_to_200,
        {{ is_below }} and {{ rows_ago(is_below, 1, ['symbol']) }} as two_closes_below,
        -- by more than the last digits, which depend on how the window was summed
        sma_50 < {{ rows_ago('sma_50', 1, ['symbol']) }} * (1 - 1e-12) as sma_50_falls
    from averages
),

looking_back as (
    select * from {{ with_statistics('compared', [
        ('highest_before', 'highest', 'close', 366), ('lowest_before', 'lowest', 'close', 366),
    ]) }} as beside_earlier
),

placed as (
    select
        *,
        case when has_a_year then highest_before end as previous_high_52w,
        case when has_a_year then lowest_before end as previous_low_52w,
        case when has_a_year then greatest(highest_before, close) end as high_52w,
        case when has_a_year then least(lowest_before, close) end as low_52w,
        case
            when close_to_sma_200 > 1.01 and sma_50_to_200 > 1.01 then 'up'
            when close_to_sma_200 < 0.99 and sma_50_to_200 < 0.99 then 'down'
            when sma_200 is not null then 'mixed'
        end as trend_state
    from looking_back
)

select
    symbol,
    session_date,
    drawdown,
    peak_date,
    bar_number - peak_bar_number as sessions_under_water,
    {{ days_between('peak_date', 'session_date') }} as days_under_water,
    high_52w,
    low_52w,
    case when peak is not null then close / high_52w - 1 end as distance_from_52w_high,
    case when peak is not null then close / low_52w - 1 end as distance_from_52w_low,
    close > previous_high_52w as is_52w_high,
    close < previous_low_52w as is_52w_low,
    sma_50,
    sma_200,
    trend_state,
    case
        when peak is null then null
        -- rounded: in floats 4 / 5 - 1 is above -0.2
        when trend_state = 'up' and round(drawdown, 12) > -0.2 and close > sma_200 then 'consolidation'
        when two_closes_below and sma_50_falls then 'reversal'
        when trend_state is not null then 'unresolved'
    end as verdict,
    peak,
    previous_high_52w,
    previous_low_52w,
    {{ source_name() }} as source
from placed
