{{ config(materialized='incremental_by_symbol') }}
-- What instruments that are not quoted in the base currency are worth and return in it.
with instruments as (
    select *
    from {{ source('control', 'instruments') }}
    where {{ is_foreign() }}
),

bars as (
    select * from {{ read(ref('int_bars')) }} as read_bars
),

rates as (
    select * from {{ ref('int_exchange_rates') }}
),

valued as (
    select
        bars.symbol,
        bars.session_date,
        bars.total_return,
        bars.total_return_index,
        instruments.currency as quote_currency,
        instruments.base_currency,
        now.fx_session_date,
        now.exchange_rate,
        now.exchange_rate / before.exchange_rate as fx_growth
    from bars
    inner join instruments
        on bars.symbol = instruments.symbol
    left join rates as now
        on
            instruments.currency = now.quote_currency
            and instruments.clock = now.clock
            and bars.session_date = now.session_date
    left join rates as before
        on
            instruments.currency = before.quote_currency
            and instruments.clock = before.clock
            and bars.previous_date = before.session_date
)

select
    symbol,
    session_date,
    quote_currency,
    base_currency,
    fx_session_date,
    exchange_rate,
    fx_growth - 1 as fx_return_1d,
    (1 + total_return) * fx_growth - 1 as return_1d_base,
    total_return_index * exchange_rate as total_return_index_base,
    {{ source_name() }} as source
from valued
