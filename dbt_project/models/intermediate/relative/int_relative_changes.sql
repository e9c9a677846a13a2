{{ config(materialized='incremental_by_symbol', meta={'rebuilt': 'true'}) }}
-- What new bars can change in the comparison of an instrument with its metal, its sector fund and its metal's future: a
-- bar of either side changes it. One row per symbol.
with benchmarks as (
    select * from {{ ref('int_benchmarks') }}
),

changes as (
    select * from {{ ref('int_changes') }}
),

bars as (
    select
        symbol,
        session_date,
        bar_number
    from {{ ref('int_bars') }}
    where
        total_return is not null
        {%- if is_incremental() %}
            and session_date >= {{ earliest(ref('int_changes'), 'long_lookback_from') }}
        {%- endif %}
),

sides as (
    select
        symbol,
        benchmark_symbol as side
    from benchmarks
    union all
    select
        symbol,
        symbol as side
    from benchmarks
),

changed as (
    select
        sides.symbol,
        min(changes.changed_from) as changed_from,
        min(changes.long_lookback_from) as long_lookback_from
    from sides
    inner join changes
        on sides.side = changes.symbol
    group by sides.symbol
),

-- Sessions of the year before the change on which both sides have a return, and those of them whose closing prices were
-- made at the same time; of the latter there may be none but since the change.
paired as (
    select
        changed.symbol,
        benchmarks.basis,
        count(case when bars.session_date < changed.changed_from then theirs.session_date end) as pairs,
        count(
            case
                when bars.session_date < changed.changed_from and apart.session_date is null then theirs.session_date
            end
        ) as synchronous_pairs,
        -- beta against the future is Dimson's on every session
        count(case when apart.session_date is null and benchmarks.basis <> 'future' then theirs.session_date end)
            as synchronous_with_changed,
        min(bars.bar_number) as first_bar
    from changed
    inner join benchmarks
        on
            changed.symbol = benchmarks.symbol
            and benchmarks.benchmark_symbol in (select known.symbol from bars as known)
    inner join bars
        on
            changed.symbol = bars.symbol
            and changed.long_lookback_from <= bars.session_date
            and (changed.changed_from > bars.session_date or benchmarks.clock <> benchmarks.benchmark_clock)
    left join bars as theirs
        on
            benchmarks.benchmark_symbol = theirs.symbol
            and bars.session_date = theirs.session_date
    left join {{ ref('int_sessions_apart') }} as apart
        on
            benchmarks.clock = apart.clock
            and benchmarks.benchmark_clock = apart.other_clock
            and bars.session_date = apart.session_date
    group by changed.symbol, benchmarks.basis
),

-- Of these there are too few for 252 and what Dimson's lags need, and there are earlier bars: all are read.
with_holes as (
    select distinct symbol
    from paired
    where
        (pairs < 256 or (synchronous_pairs < 256 and synchronous_with_changed > 0))
        and first_bar > 2
),

ranges as (
    select
        changed.symbol,
        changed.changed_from,
        case when with_holes.symbol is null then changed.long_lookback_from else cast('0001-01-01' as date) end
            as long_lookback_from
    from changed
    left join with_holes
        on changed.symbol = with_holes.symbol
)

select
    ranges.symbol,
    ranges.changed_from,
    ranges.long_lookback_from,
    count(delivered.session_date) as bars_read
from ranges
left join {{ ref('stg_delivered_bars') }} as delivered
    on
        ranges.symbol = delivered.symbol
        and ranges.long_lookback_from <= delivered.session_date
group by ranges.symbol, ranges.changed_from, ranges.long_lookback_from
