{{ config(materialized='incremental_by_symbol') }}
-- Where each instrument stands against its own past: drawdown on total return, extremes and averages on closes.
with known as (
    {{ carried_state({'peak_date': 'date', 'sessions_under_water': 'bigint'}) }}
),

looking_back as (
    select * from {{ read(ref('int_trend'), lookback='70 bars') }}
),

-- The peak before the rows that are built, if no row that is read here reaches it again.
known_peaks as (
    select
        known.symbol,
        known.peak_date,
        looking_back.bar_number - known.sessions_under_water as peak_bar_number
    from known
    inner join looking_back
        on
            known.symbol = looking_back.symbol
            and known.session_date = looking_back.session_date
),

peaks as (
    select
        looking_back.*,
        known_peaks.peak_date as known_peak_date,
        known_peaks.peak_bar_number as known_peak_bar_number,
        -- at a peak again means: but for the last digits, which depend on how the index was summed
        looking_back.total_return_index >= looking_back.peak * (1 - 1e-12) as is_peak,
        -- rounded: a close on its average is neither above nor below
        round(looking_back.close / looking_back.sma_200, 12) as close_to_sma_200,
        round(looking_back.sma_50 / looking_back.sma_200, 12) as sma_50_to_200
    from looking_back
    left join known_peaks
        on looking_back.symbol = known_peaks.symbol
),

placed as (
    select
        *,
        case when is_peak then 0 else total_return_index / peak - 1 end as drawdown,
        coalesce(max(case when is_peak then session_date end) over so_far, known_peak_date) as peak_date,
        coalesce(max(case when is_peak then bar_number end) over so_far, known_peak_bar_number) as peak_bar_number,
        case
            when close_to_sma_200 > 1.01 and sma_50_to_200 > 1.01 then 'up'
            when close_to_sma_200 < 0.99 and sma_50_to_200 < 0.99 then 'down'
            when sma_200 is not null then 'mixed'
        end as trend_state,
        close_to_sma_200 < 1 and lag(close_to_sma_200 < 1) over in_order as two_closes_below,
        -- by more than the last digits, which depend on how the window was summed
        sma_50 < lag(sma_50) over in_order * (1 - 1e-12) as sma_50_falls
    from peaks
    window
        so_far as (
            partition by symbol
            order by session_date
            rows between unbounded preceding and current row
        ),
        in_order as (
            partition by symbol
            order by session_date
        )
)

select
    symbol,
    session_date,
    drawdown,
    peak_date,
    bar_number - peak_bar_number as sessions_under_water,
    {{ days_between('peak_date', 'session_date') }} as days_under_water,
    case when has_a_year then highest_close end as high_52w,
    case when has_a_year then lowest_close end as low_52w,
    case when has_a_year then close / highest_close - 1 end as distance_from_52w_high,
    case when has_a_year then close / lowest_close - 1 end as distance_from_52w_low,
    case when has_a_year then close > highest_before end as is_52w_high,
    case when has_a_year then close < lowest_before end as is_52w_low,
    sma_50,
    sma_200,
    trend_state,
    case
        -- rounded: in floats 4 / 5 - 1 is above -0.2
        when trend_state = 'up' and round(drawdown, 12) > -0.2 and close > sma_200 then 'consolidation'
        when two_closes_below and sma_50_falls then 'reversal'
        when trend_state is not null then 'unresolved'
    end as verdict,
    {{ source_name() }} as source
from placed
