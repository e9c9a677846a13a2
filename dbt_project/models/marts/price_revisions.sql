-- What the vendor changed after the first delivery, one row per changed field and change.
with versions as (
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
        source,
        observed_at,
        min(observed_at) over (partition by symbol, session_date) as first_observed_at,
        row_number() over in_order as version
    from {{ ref('stg_bar_versions') }}
    window in_order as (
        partition by symbol, session_date
        order by versions_back desc
    )
),

fields as (
    {%- for field in ['open', 'high', 'low', 'close', 'adj_close', 'volume', 'dividend', 'split_ratio'] %}
        select
            later.symbol,
            later.session_date,
            '{{ field }}' as field,
            earlier.{{ field }} as old_value,
            later.{{ field }} as new_value,
            later.first_observed_at,
            later.observed_at as changed_at,
            later.source
        from versions as later
        inner join versions as earlier
            on
                later.symbol = earlier.symbol
                and later.session_date = earlier.session_date
                and later.version = earlier.version + 1
        where later.{{ field }} is distinct from earlier.{{ field }}
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
)

select
    symbol,
    session_date,
    field,
    old_value,
    new_value,
    case when old_value <> 0 then new_value / old_value - 1 end as relative_change,
    first_observed_at,
    changed_at,
    source
from fields
