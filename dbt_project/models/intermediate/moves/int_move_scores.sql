{{ config(materialized='incremental_by_symbol') }}
-- What the move rules are held against: one row per symbol and session with a return, or a change in points.
-- A score never knows its own day: standard deviations, medians and ranks are those of the returns before it.
-- (A z that includes its day can never exceed (n - 1) / sqrt(n): Shiffler 1988.)
{% set cumulative = [2, 3, 5, 10, 21] %}
{% set has_range = "bar_quality = 'ok' and is_in_points is not true" %}
{% set gap = 'case when sessions_since_previous > 1 then bar_number end' %}
with known as (
    {{ carried_state({'returns_since_gap': 'bigint'}) }}
),

bars as (
    select
        symbol,
        session_date,
        bar_number,
        total_return,
        total_return * total_return as total_return_square,
        point_change,
        total_return_index,
        -- a bar without a range has no open of its own
        case when {{ has_range }} then (open + dividend) / previous_close - 1 end as overnight_return,
        volume,
        sessions_since_previous
    from {{ read(ref('int_bars'), lookback='1 year') }} as bars
),

known_gaps as (
    select
        known.symbol,
        known.returns_since_gap,
        bars.bar_number
    from known
    inner join bars
        on
            known.symbol = bars.symbol
            and known.session_date = bars.session_date
),

numbered as (
    select * from {{ numbered_rows(
        'bars',
        'symbol, session_date, bar_number, total_return, total_return_square, point_change, total_return_index,'
        ~ ' overnight_return, volume',
        ['symbol'], {'last_gap': last_known(gap) ~ ' over so_far'}
    ) }} as in_order
),

deviations as (
    select
        *,
        sqrt({{ squares_around_mean('total_return_sum_21', 'total_return_square_sum_21', 21) }} / 20)
            as sd_21_with_today,
        sqrt({{ squares_around_mean('total_return_sum_63', 'total_return_square_sum_63', 63) }} / 62)
            as sd_63_with_today
    from {{ rolling_sums(
        'numbered', ['total_return', 'total_return_square'], [3, 21, 63], ['symbol'],
        also=[
            'bar_number', 'total_return', 'point_change', 'total_return_index', 'overnight_return', 'volume', 'last_gap'
        ],
        lags=[
            ('total_return_index', 2), ('total_return_index', 3), ('total_return_index', 5), ('total_return_index', 10),
            ('total_return_index', 21)
        ],
        numbered=true
    ) }} as sums
),

known_before as (
    select
        symbol,
        session_date,
        bar_number,
        total_return,
        point_change,
        {%- for n in cumulative %}
            total_return_index / total_return_index_{{ n }}_before - 1 as return_{{ n }}d,
        {%- endfor %}
        overnight_return,
        volume,
        -- 0 for the return that spans missing sessions
        bar_number - last_gap as returns_since_gap,
        place,
        {{ rows_ago('sd_21_with_today', 1, ['symbol']) }} as sd_21,
        {{ rows_ago('sd_63_with_today', 1, ['symbol']) }} as sd_63
    from deviations
),

returns_before as (
    select * from {{ with_statistics('known_before', [
        ('median_volume_20', 'median', 'volume', 20),
        ('median_252', 'median', 'total_return', 252),
        ('mad_252', 'mad', 'total_return', 252),
        ('percentile_252', 'percentile', 'total_return', 252),
    ]) }} as beside_earlier
)

select
    scores.symbol,
    scores.session_date,
    scores.total_return as return_1d,
    scores.point_change as point_change_1d,
    {%- for n in cumulative %}
        scores.return_{{ n }}d,
    {%- endfor %}
    scores.overnight_return,
    -- The volume of a front-month future says when contracts roll, nothing else.
    case
        when instruments.asset_class <> 'metal' and scores.point_change is null
            then scores.volume / nullif(scores.median_volume_20, 0)
    end as volume_ratio_20,
    scores.total_return / nullif(scores.sd_21, 0) as z_21,
    scores.total_return / nullif(scores.sd_63, 0) as z_63,
    -- Of a price that stood still for 21 returns the variance has faded, not been measured: none until it has moved.
    case
        when scores.sd_21 > 0 then ln(1 + scores.total_return) / nullif(sqrt(ewma.variance), 0)
    end as z_ewma,
    -- Iglewicz and Hoaglin (1993)
    (scores.total_return - scores.median_252) / nullif(1.4826 * scores.mad_252, 0) as robust_z_252,
    scores.percentile_252,
    coalesce(scores.returns_since_gap, known_gaps.returns_since_gap + scores.bar_number - known_gaps.bar_number)
        as returns_since_gap
from returns_before as scores
inner join {{ source('control', 'instruments') }} as instruments
    on scores.symbol = instruments.symbol
left join {{ read(ref('int_ewma')) }} as ewma
    on
        scores.symbol = ewma.symbol
        and scores.session_date = ewma.session_date
left join known_gaps
    on scores.symbol = known_gaps.symbol
where coalesce(scores.total_return, scores.point_change) is not null
