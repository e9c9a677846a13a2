{{ config(materialized='ephemeral') }}
-- Of which sessions the last build brought bars for each symbol, or what changes the worth of its bars: exchange rates
-- of its currency, bars of the other instrument of a ratio, contracts of a future.
with delivered_bars as (
    select
        symbol,
        min(session_date) as first_new,
        max(session_date) as last_new,
        max(case when is_revision then 1 else 0 end) = 1 as is_revised,
        max(case when is_split_changed then 1 else 0 end) = 1 as is_rebased
    from {{ ref('stg_delivered_bars') }}
    where
        build_number = (select max(numbers.build_number) from {{ ref('stg_delivered_bars') }} as numbers)
        and build_number > 0
    group by symbol
),

instruments as (
    select * from {{ source('control', 'instruments') }}
),

-- The sixth rate before the first new one lies within two weeks, and a rate is used for five days.
new_rates as (
    select
        instruments.symbol,
        min(delivered_bars.first_new) - 14 as first_new,
        max(delivered_bars.last_new) + 7 as last_new
    from delivered_bars
    inner join {{ source('control', 'dollar_prices') }} as dollar_prices
        on delivered_bars.symbol = dollar_prices.symbol
    inner join instruments
        on
            dollar_prices.currency in (instruments.money, instruments.base_currency)
            and {{ is_foreign('instruments') }}
    group by instruments.symbol
),

news as (
    select
        symbol,
        first_new,
        last_new,
        is_revised,
        is_rebased
    from delivered_bars
    union all
    select
        symbol,
        first_new,
        last_new,
        false as is_revised,
        false as is_rebased
    from new_rates
    union all
    -- a contract that comes late may show that the front month changed
    select
        root as symbol,
        min(session_date) as first_new,
        max(session_date) as last_new,
        false as is_revised,
        false as is_rebased
    from {{ ref('stg_contract_bars') }}
    where
        build_number >= (select max(numbers.build_number) from {{ ref('stg_delivered_bars') }} as numbers)
        and build_number > 0
    group by root
),

-- A bar of either instrument moves the price ratio on which a level of the long one is watched.
with_ratios as (
    select * from news
    union all
    select
        levels.symbol,
        news.first_new,
        news.last_new,
        false as is_revised,
        news.is_rebased
    from news
    inner join {{ source('control', 'price_levels') }} as levels
        on news.symbol = levels.short_symbol
)

select
    symbol,
    min(first_new) as first_new,
    max(last_new) as last_new,
    max(case when is_revised then 1 else 0 end) = 1 as is_revised,
    max(case when is_rebased then 1 else 0 end) = 1 as is_rebased
from with_ratios
group by symbol
