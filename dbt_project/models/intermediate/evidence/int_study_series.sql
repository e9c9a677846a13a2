{{ config(materialized='view') }}
-- On what it is measured what followed an event: the total return of an instrument; of a pair, how much more the long
-- instrument has returned than the short one.
with bars as (
    select * from {{ ref('int_bars') }}
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
    symbol as series,
    'symbol' as scope,
    session_date,
    quoted_index as value,
    total_return_index as value_in_base
from in_base
where quoted_index is not null
union all
select
    pairs.pair_id as series,
    'pair' as scope,
    longs.session_date,
    longs.total_return_index / shorts.total_return_index as value,
    cast(null as double) as value_in_base
from {{ source('control', 'pairs') }} as pairs
inner join legs as longs
    on pairs.long_symbol = longs.symbol
inner join legs as shorts
    on
        pairs.short_symbol = shorts.symbol
        and longs.session_date = shorts.session_date
where longs.total_return_index / shorts.total_return_index is not null
