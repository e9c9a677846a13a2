-- What a unit of each quote currency is worth in the base currency when closing prices are made: by the last exchange
-- rates whose sessions had ended by then, at most five days old. All rates go by way of the dollar.
with instruments as (
    select * from {{ source('control', 'instruments') }}
),

price_times as (
    select * from {{ source('control', 'price_times') }}
),

bars as (
    select * from {{ ref('int_bars') }}
),

sessions as (
    select * from {{ ref('stg_sessions') }}
),

wanted as (
    select distinct
        currency as quote_currency,
        money,
        base_currency,
        clock
    from instruments
    where {{ is_foreign() }}
),

legs as (
    select
        money as currency,
        clock
    from wanted
    where money not in ('USD', base_currency)
    union
    select
        base_currency as currency,
        clock
    from wanted
    where base_currency not in ('USD', money)
),

dollar_rates as (
    select
        dollar_prices.currency,
        bars.session_date,
        sessions.close_utc,
        case when dollar_prices.is_inverse then 1 / bars.close else bars.close end as rate,
        row_number() over (
            partition by dollar_prices.currency
            order by sessions.close_utc
        ) as rate_number
    from {{ source('control', 'dollar_prices') }} as dollar_prices
    inner join instruments
        on dollar_prices.symbol = instruments.symbol
    inner join bars
        on dollar_prices.symbol = bars.symbol
    inner join sessions
        on
            instruments.calendar = sessions.calendar
            and bars.session_date = sessions.session_date
),

-- Closing prices and ends of rates in the order of time. A rate that ends at the moment of a price is known to it.
moments as (
    select
        legs.currency,
        legs.clock,
        price_times.session_date,
        price_times.price_utc as moment,
        0 as is_rate
    from legs
    inner join price_times
        on legs.clock = price_times.clock
    union all
    select
        legs.currency,
        legs.clock,
        cast(null as date) as session_date,
        dollar_rates.close_utc as moment,
        1 as is_rate
    from legs
    inner join dollar_rates
        on legs.currency = dollar_rates.currency
),

rates_so_far as (
    select
        *,
        sum(is_rate) over (
            partition by currency, clock
            order by moment asc, is_rate desc
            rows between unbounded preceding and current row
        ) as rate_number
    from moments
),

known as (
    select
        rates_so_far.currency,
        rates_so_far.clock,
        rates_so_far.session_date,
        dollar_rates.session_date as rate_date,
        dollar_rates.rate
    from rates_so_far
    inner join dollar_rates
        on
            rates_so_far.currency = dollar_rates.currency
            and rates_so_far.rate_number = dollar_rates.rate_number
    where
        rates_so_far.is_rate = 0
        and dollar_rates.close_utc >= rates_so_far.moment - interval 5 day
),

priced as (
    select
        wanted.quote_currency,
        wanted.clock,
        price_times.session_date,
        case when wanted.quote_currency = wanted.money then 1.0 else 0.01 end
        * case when wanted.money in ('USD', wanted.base_currency) then 1.0 else units.rate end
        / case when wanted.base_currency in ('USD', wanted.money) then 1.0 else bases.rate end as exchange_rate,
        least(coalesce(units.rate_date, bases.rate_date), coalesce(bases.rate_date, units.rate_date)) as fx_session_date
    from wanted
    inner join price_times
        on wanted.clock = price_times.clock
    left join known as units
        on
            wanted.money = units.currency
            and wanted.clock = units.clock
            and price_times.session_date = units.session_date
    left join known as bases
        on
            wanted.base_currency = bases.currency
            and wanted.clock = bases.clock
            and price_times.session_date = bases.session_date
)

select
    quote_currency,
    clock,
    session_date,
    exchange_rate,
    fx_session_date
from priced
where exchange_rate is not null
