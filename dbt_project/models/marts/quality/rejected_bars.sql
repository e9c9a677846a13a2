-- The quarantine: every delivered row that was not taken as it came, once per fault.
with first_seen as (
    select
        rejected_id,
        symbol,
        session_date,
        rule,
        severity,
        detail,
        raw,
        origin,
        row_number,
        source,
        observed_at,
        batch_id
    from {{ source('raw', 'rejected_bars') }}
    qualify row_number() over (
            partition by rejected_id
            order by observed_at, batch_id
        ) = 1
),

delivered as (
    select
        first_seen.*,
        -- a row of good quality that came later settles the matter
        coalesce(
            bars.bar_quality <> 'range_rejected' and bars.observed_at > first_seen.observed_at, false
        ) as is_resolved
    from first_seen
    left join {{ ref('int_kept_bars') }} as bars
        on
            first_seen.symbol = bars.symbol
            and first_seen.session_date = bars.session_date
),

withheld as (
    select
        bars.symbol,
        bars.session_date,
        bars.close,
        bars.observed_at,
        bars.batch_id,
        suspects.rule
    from {{ ref('int_bar_anomalies') }} as suspects
    inner join {{ ref('stg_delivered_bars') }} as bars
        on
            suspects.symbol = bars.symbol
            and suspects.session_date = bars.session_date
    where suspects.is_withheld
)

select
    rejected_id,
    symbol,
    session_date,
    rule,
    severity,
    detail,
    raw,
    origin,
    row_number,
    observed_at,
    batch_id,
    is_resolved,
    source
from delivered
union all
select
    md5(symbol || '|' || cast(session_date as {{ dbt.type_string() }}) || '|' || rule) as rejected_id,
    symbol,
    session_date,
    rule,
    'withheld' as severity,
    'the close is at least 50 times, or at most a fiftieth of, what most bars around it say' as detail,
    '{"close": ' || cast(cast(close as decimal(38, 6)) as {{ dbt.type_string() }}) || '}' as raw,
    cast(null as {{ dbt.type_string() }}) as origin,
    cast(null as bigint) as row_number,
    observed_at,
    batch_id,
    false as is_resolved,
    {{ source_name() }} as source
from withheld
