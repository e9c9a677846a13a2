{{ config(materialized='incremental_by_symbol', meta={'changed_ranges': ['int_changes.revised_from']}) }}
-- Each later version of a bar beside the one before it, with the change of basis that was seen at the same time: a
-- split, or dividends taken off, moves all prices before it by one factor. docs/decisions/0014-restatements.md
{% set is_new_action = brings_new_action('split_ratio', 'old_split_ratio', 'dividend', 'old_dividend') %}
with versions as (
    select
        symbol,
        session_date,
        source,
        observed_at,
        {%- for field in ['open', 'high', 'low', 'close', 'adj_close', 'volume', 'dividend', 'split_ratio'] %}
            {{ field }},
            lag({{ field }}) over in_order as old_{{ field }},
        {%- endfor %}
        row_number() over in_order as version,
        min(observed_at) over (partition by symbol, session_date) as first_observed_at
    from {{ of_revised_symbols(read(ref('stg_admitted_bars'), lookback='everything')) }}
    window in_order as (
        partition by symbol, session_date
        order by observed_at, batch_id
    )
),

-- What one delivery brought, new bars included: the bar of the split's own session usually is one.
actions as (
    select
        *,
        -- the splits that this delivery was the first to name, of later sessions; 2 for 1 halves the prices before it
        round(exp(-coalesce({{ over_later_rows(
            'sum(ln(split_ratio / coalesce(old_split_ratio, 1)))', ['symbol', 'observed_at'], 'session_date'
        ) }}, 0)), 12) as split_basis,
        coalesce({{ over_later_rows('max(' ~ is_new_action ~ ')', ['symbol', 'observed_at'], 'session_date') }}, 0) = 1
            as is_before_new_action
    from versions
),

deliveries as (
    select
        symbol,
        observed_at,
        -- of what was known before this delivery
        min(min(session_date)) over (
            partition by symbol
            order by observed_at
            rows between unbounded preceding and 1 preceding
        ) as known_from
    from versions
    group by symbol, observed_at
),

revised as (
    select
        actions.*,
        deliveries.known_from,
        instruments.tick_size,
        actions.close / actions.old_close as close_ratio,
        actions.adj_close / actions.old_adj_close as adj_close_ratio
    from actions
    inner join deliveries
        on
            actions.symbol = deliveries.symbol
            and actions.observed_at = deliveries.observed_at
    inner join {{ source('control', 'instruments') }} as instruments
        on actions.symbol = instruments.symbol
    where actions.version > 1
),

-- The factor that most of the neighbours have in common, of those that were revised at the same time.
neighbourhoods as (
    select
        *,
        {{ median_over('close_ratio', 'nearby') }} as common_ratio,
        {{ median_over('adj_close_ratio', 'nearby') }} as common_adj_close_ratio,
        -- prices on a new basis are rounded again
        greatest(1e-4, least(tick_size / close, 0.005)) as tolerance
    from revised
    window nearby as (
        partition by symbol, observed_at
        order by session_date
        rows between 10 preceding and 10 following
    )
),

agreements as (
    select
        *,
        abs(close_ratio / common_ratio - 1) <= tolerance as agrees,
        abs(adj_close_ratio / common_adj_close_ratio - 1) <= tolerance as adj_close_agrees
    from neighbourhoods
),

evidence as (
    select
        *,
        count(*) over nearby as bars_nearby,
        count(case when agrees then 1 end) over nearby as agreeing_nearby,
        count(case when agrees then 1 end) over up_to_here as agreeing_so_far,
        min(case when close_ratio <> 1 then session_date end) over delivery as moved_from,
        count(case when adj_close_agrees then 1 end) over nearby as adj_close_agreeing_nearby,
        count(case when adj_close_agrees then 1 end) over up_to_here as adj_close_agreeing_so_far,
        min(case when adj_close_ratio <> 1 then session_date end) over delivery as adj_close_moved_from
    from agreements
    window
        delivery as (partition by symbol, observed_at),
        nearby as (
            partition by symbol, observed_at
            order by session_date
            rows between 10 preceding and 10 following
        ),
        up_to_here as (
            partition by symbol, observed_at
            order by session_date
            rows between unbounded preceding and current row
        )
),

-- A new basis is one of everything before a session: it reaches back to the first bar that was known, or very far.
judged as (
    select
        *,
        agreeing_nearby >= 5
        and 2 * agreeing_nearby > bars_nearby
        and (moved_from <= known_from or agreeing_so_far >= 63) as is_common,
        adj_close_agreeing_nearby >= 5
        and 2 * adj_close_agreeing_nearby > bars_nearby
        and (adj_close_moved_from <= known_from or adj_close_agreeing_so_far >= 63) as is_adj_close_common
    from evidence
)

select
    symbol,
    session_date,
    observed_at as changed_at,
    first_observed_at,
    {%- for field in ['open', 'high', 'low', 'close', 'adj_close', 'volume', 'dividend', 'split_ratio'] %}
        old_{{ field }},
        {{ field }},
    {%- endfor %}
    is_before_new_action,
    tolerance,
    -- without enough neighbours the splits decide, if the close followed them
    case
        when is_common then common_ratio
        when split_basis <> 1 and abs(ln(close_ratio / split_basis)) < abs(ln(close_ratio)) then split_basis
        else 1.0
    end as basis_factor,
    case when is_adj_close_common then common_adj_close_ratio end as adj_close_basis_factor,
    source
from judged
