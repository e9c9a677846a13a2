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
)

select
    first_seen.rejected_id,
    first_seen.symbol,
    first_seen.session_date,
    first_seen.rule,
    first_seen.severity,
    first_seen.detail,
    first_seen.raw,
    first_seen.origin,
    first_seen.row_number,
    first_seen.observed_at,
    first_seen.batch_id,
    -- a row of good quality that came later settles the matter
    coalesce(bars.bar_quality <> 'range_rejected' and bars.observed_at > first_seen.observed_at, false) as is_resolved,
    first_seen.source
from first_seen
left join {{ ref('stg_bars') }} as bars
    on
        first_seen.symbol = bars.symbol
        and first_seen.session_date = bars.session_date
