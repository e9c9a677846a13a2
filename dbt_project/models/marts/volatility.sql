-- How much each instrument has been moving, annualised, and how unusual that is.
with changes as (
    select
        *,
        ln(close_to_close_21 / lag(close_to_close_21) over in_order) as log_change,
        -- what differs in the last digits only, by the way a window was summed, is a tie
        round(close_to_close_21, 12) as comparable_21
    from {{ ref('int_range_volatility') }}
    window in_order as (
        partition by symbol
        order by session_date
    )
),

measured as (
    select
        *,
        {{ percentile_among_previous('comparable_21', 252, 'last_253') }} as percentile_252,
        {{ full_window('stddev_samp(log_change)', 'log_change', 63, 'last_63') }} as volatility_of_volatility_63,
        close_to_close_21 / close_to_close_252 as volatility_ratio_21_252
    from changes
    window
        last_63 as (
            partition by symbol
            order by session_date
            rows between 62 preceding and current row
        ),
        last_253 as (
            partition by symbol
            order by session_date
            rows between 252 preceding and current row
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
