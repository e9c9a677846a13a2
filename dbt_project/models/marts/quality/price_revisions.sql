{{ config(materialized='incremental_by_symbol', meta={'changed_ranges': ['int_changes.revised_from']}) }}
-- What the vendor changed after the first delivery, one row per changed field and change, and why.
with fields as (
    {%- for field in ['open', 'high', 'low', 'close', 'adj_close', 'volume', 'dividend', 'split_ratio'] %}
        select
            symbol,
            session_date,
            '{{ field }}' as field,
            old_{{ field }} as old_value,
            {{ field }} as new_value,
            close,
            first_observed_at,
            changed_at,
            is_before_new_action,
            -- what the old value would be on the new basis is the old value times this
            {% if field == 'adj_close' -%}
                coalesce(
                    adj_close_basis_factor,
                    case when is_before_new_action then adj_close / old_adj_close end,
                    1.0
                )
            {%- elif field == 'volume' -%}
                1 / basis_factor
            {%- elif field == 'split_ratio' -%}
                1.0
            {%- else -%}
                1.0 * basis_factor
            {%- endif %} as basis_factor,
            {{ 0.01 if field in ['volume', 'dividend'] else 'tolerance' }} as tolerance,
            source
        from {{ read(ref('int_revised_bars')) }} as revised
        where {{ field }} is distinct from old_{{ field }}
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
),

explained as (
    select
        *,
        case
            when field = 'dividend' then (new_value - old_value * basis_factor) / close
            when field <> 'split_ratio' and old_value <> 0 then new_value / (old_value * basis_factor) - 1
        end as corrected_by,
        basis_factor <> 1
        and old_value <> 0
        and abs(new_value / (old_value * basis_factor) - 1) <= tolerance as is_rebased
    from fields
),

with_reasons as (
    select
        *,
        case
            when old_value is null then 'filled'
            when new_value is null then 'withdrawn'
            when is_rebased then 'rebased'
            when field in ('dividend', 'split_ratio') then 'action'
            else 'correction'
        end as reason
    from explained
),

thresholds as (
    select
        symbol,
        min(threshold) as threshold
    from {{ ref('int_rule_members') }}
    where measure = 'price_correction'
    group by symbol
)

select
    with_reasons.symbol,
    with_reasons.session_date,
    with_reasons.field,
    with_reasons.reason,
    with_reasons.old_value,
    with_reasons.new_value,
    case when with_reasons.old_value <> 0 then with_reasons.new_value / with_reasons.old_value - 1 end
        as relative_change,
    with_reasons.basis_factor,
    with_reasons.corrected_by,
    coalesce(
        with_reasons.reason in ('correction', 'action')
        and with_reasons.field not in ('adj_close', 'volume')
        and round(abs(with_reasons.corrected_by), 10) >= thresholds.threshold,
        false
    ) as is_large,
    with_reasons.first_observed_at,
    with_reasons.changed_at,
    with_reasons.source
from with_reasons
left join thresholds
    on with_reasons.symbol = thresholds.symbol
