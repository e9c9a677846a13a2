{{ config(
    materialized='incremental_by_symbol', meta={'changed_ranges': [], 'in_batches': false},
    unique_key=['contract', 'session_date']
) }}
-- The newest version of each bar of a futures contract. An incremental build adds what was observed since the last one,
-- under the number that the bars of instruments have got.
{% set delivered = ref('stg_delivered_bars') %}
with contracts as (
    select * from {{ source('control', 'contracts') }}
),

{% if is_incremental() %}
    built as (
        select
            contract,
            max(observed_at) as latest
        from {{ this }}
        group by contract
    ),
{% endif %}

versions as (
    select
        contracts.contract,
        contracts.root,
        contracts.delivery_month,
        bars.session_date,
        bars.close,
        bars.observed_at,
        row_number() over (
            partition by bars.symbol, bars.session_date
            order by bars.observed_at desc, bars.batch_id desc
        ) as versions_back
    from {{ source('raw', 'bars') }} as bars
    inner join contracts
        on bars.symbol = contracts.contract
    {%- if is_incremental() %}
        left join built
            on contracts.contract = built.contract
        where built.contract is null or bars.observed_at > built.latest
    {%- endif %}
)

select
    contract,
    root,
    delivery_month,
    session_date,
    close,
    observed_at,
    {%- if is_incremental() %}
        greatest((select max(numbers.build_number) from {{ delivered }} as numbers), 1) as build_number
    {%- else %}
        0 as build_number
    {%- endif %}
from versions
where versions_back = 1
