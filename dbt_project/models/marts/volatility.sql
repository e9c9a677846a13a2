-- How much each instrument has been moving, annualised, and how unusual that is.
with changes as (
    select
        *,
        ln(close_to_close_21 / lag(close_to_close_21) over in_order) as log_change,
        row_number() over in_order as position
    from {{ ref('int_range_volatility') }}
    window in_order as (
        partition by symbol
        order by session_date
    )
),

-- Rounded: what differs in the last digits only, by the way a window was summed, is a tie.
known as (
    select
        symbol,
        position,
        round(close_to_close_21, 12) as close_to_close_21
    from changes
    where close_to_close_21 is not null
),

-- Place of today's value among the 252 before it; ties count half.
percentiles as (
    select
        today.symbol,
        today.position,
        sum(
            case
                when earlier.close_to_close_21 < today.close_to_close_21 then 1.0
                when earlier.close_to_close_21 = today.close_to_close_21 then 0.5
                else 0.0
            end
        ) / 252 as percentile_252
    from known as today
    inner join known as earlier
        on
            today.symbol = earlier.symbol
            and earlier.position between today.position - 252 and today.position - 1
    group by today.symbol, today.position
    having count(*) = 252
),

measured as (
    select
        changes.*,
        percentiles.percentile_252,
        {{ full_window('stddev_samp(changes.log_change)', 'changes.log_change', 63, 'last_63') }}
            as volatility_of_volatility_63,
        changes.close_to_close_21 / changes.close_to_close_252 as volatility_ratio_21_252
    from changes
    left join percentiles
        on
            changes.symbol = percentiles.symbol
            and changes.position = percentiles.position
    window last_63 as (
        partition by changes.symbol
        order by changes.session_date
        rows between 62 preceding and current row
    )
)

select
    measured.symbol,
    measured.session_date,
    {%- for n in [21, 63, 252] %}
        measured.close_to_close_{{ n }},
    {%- endfor %}
    sqrt(252.0 * ewma.variance) as ewma_094,
    {%- for estimator in ['parkinson', 'garman_klass', 'rogers_satchell', 'gk_yz', 'yang_zhang'] %}
        {%- for n in [21, 63, 252] %}
            measured.{{ estimator }}_{{ n }},
        {%- endfor %}
    {%- endfor %}
    measured.percentile_252 as volatility_percentile_252,
    measured.volatility_of_volatility_63,
    measured.volatility_ratio_21_252,
    measured.volatility_ratio_21_252 >= 1.5 and measured.percentile_252 >= 0.95 as is_volatility_spike,
    {{ source_name() }} as source
from measured
left join {{ ref('int_ewma') }} as ewma
    on
        measured.symbol = ewma.symbol
        and measured.session_date = ewma.session_date
