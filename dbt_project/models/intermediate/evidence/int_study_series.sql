{{ config(materialized='view') }}
-- On what it is measured what followed an event: the total return of an instrument; of a pair, how much more the long
-- instrument has returned than the short one. Verdicts about gaps are held against the sum of differences, verdicts
-- about volatility against sessions on which it was as high.
with bars as (
    select * from {{ ref('int_bars') }}
),

volatilities as (
    select * from {{ ref('volatility') }}
),

gaps as (
    select
        pair_id,
        session_date,
        sum(spread_1d) over (
            partition by pair_id
            order by session_date
            rows between unbounded preceding and current row
        ) as gap
    from {{ ref('pair_spreads') }}
),

in_base as (
    select * from {{ in_base_currency('bars') }} as in_base_currency
),

legs as (
    select *
    from in_base
    where
        symbol in (select longs.long_symbol from {{ source('control', 'pairs') }} as longs)
        or symbol in (select shorts.short_symbol from {{ source('control', 'pairs') }} as shorts)
)

select
    in_base.symbol as series,
    'symbol' as scope,
    in_base.session_date,
    in_base.quoted_index as value,
    in_base.total_return_index as value_in_base,
    volatilities.close_to_close_21 as call_value,
    coalesce(volatilities.volatility_percentile_252 >= 0.95, false) as is_call_base
from in_base
left join volatilities
    on
        in_base.symbol = volatilities.symbol
        and in_base.session_date = volatilities.session_date
where in_base.quoted_index is not null
union all
select
    pairs.pair_id as series,
    'pair' as scope,
    longs.session_date,
    longs.total_return_index / shorts.total_return_index as value,
    cast(null as double) as value_in_base,
    gaps.gap as call_value,
    true as is_call_base
from {{ source('control', 'pairs') }} as pairs
inner join legs as longs
    on pairs.long_symbol = longs.symbol
inner join legs as shorts
    on
        pairs.short_symbol = shorts.symbol
        and longs.session_date = shorts.session_date
left join gaps
    on
        pairs.pair_id = gaps.pair_id
        and longs.session_date = gaps.session_date
where longs.total_return_index / shorts.total_return_index is not null
