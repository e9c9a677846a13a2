{{ config(materialized='incremental_by_symbol', meta={'changed_ranges': []}, unique_key=['symbol', 'session_date']) }}
-- The newest version of each bar, with its session's place among those on which its exchange expects a bar. An
-- incremental build adds what was observed since the last one, under the next build number.
{% set admitted = ref('stg_admitted_bars') %}
with
{% if is_incremental() %}
    -- Later versions of a symbol are always observed later, whatever the clock says; and the session of a bar may not
    -- have been known to have closed.
    built as (
        select
            symbol,
            max(observed_at) as latest,
            max(session_date) as last_session
        from {{ this }}
        group by symbol
    ),

    admitted as (
        select bars.*
        from {{ admitted }} as bars
        left join built
            on bars.symbol = built.symbol
        where
            built.symbol is null
            or bars.observed_at > built.latest
            or bars.session_date > built.last_session
    ),
{% else %}
    admitted as (
        select * from {{ read(admitted, lookback='everything') }}
    ),
{% endif %}

versions as (
    select
        *,
        row_number() over (
            partition by symbol, session_date
            order by observed_at desc, batch_id desc
        ) as versions_back
    from admitted
),

newest as (
    select
        symbol,
        session_date,
        open,
        high,
        low,
        close,
        adj_close,
        volume,
        dividend,
        split_ratio,
        bar_quality,
        source,
        observed_at,
        batch_id
    from versions
    where versions_back = 1
)

select
    newest.symbol,
    newest.session_date,
    newest.open,
    newest.high,
    newest.low,
    newest.close,
    newest.adj_close,
    newest.volume,
    newest.dividend,
    newest.split_ratio,
    newest.bar_quality,
    newest.source,
    newest.observed_at,
    newest.batch_id,
    instruments.tick_size,
    instruments.asset_class,
    instruments.price_basis,
    sessions.session_number,
    sessions.is_listed,
    {%- if is_incremental() %}
        coalesce((select max(build_number) from {{ this }}), 0) + 1 as build_number,
        stored.symbol is not null or again.symbol is not null as is_revision,
        coalesce(newest.split_ratio, 0) <> coalesce(stored.split_ratio, 1) as is_split_changed
    {%- else %}
        0 as build_number,
        false as is_revision,
        false as is_split_changed
    {%- endif %}
from newest
inner join {{ source('control', 'instruments') }} as instruments
    on newest.symbol = instruments.symbol
inner join {{ ref('stg_sessions') }} as sessions
    on
        instruments.calendar = sessions.calendar
        and newest.session_date = sessions.session_date
{%- if is_incremental() %}
    left join {{ this }} as stored
        on
            newest.symbol = stored.symbol
            and newest.session_date = stored.session_date
    left join versions as again
        on
            newest.symbol = again.symbol
            and newest.session_date = again.session_date
            and again.versions_back = 2
{%- endif %}
