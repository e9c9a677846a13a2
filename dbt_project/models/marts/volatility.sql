-- How much each instrument has been moving, annualised, and how unusual that is.
with measured as (
    select
        *,
        volatility_ratio_21_252 >= 1.5 and percentile_252 >= 0.95 as is_volatility_spike
    from {{ ref('int_volatility_rank') }}
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
    measured.is_volatility_spike,
    {{ first_of_run('measured.is_volatility_spike', 'earlier') }} as spike_began,
    {{ source_name() }} as source
from measured
left join {{ ref('int_ewma') }} as ewma
    on
        measured.symbol = ewma.symbol
        and measured.session_date = ewma.session_date
window earlier as (
    partition by measured.symbol
    order by measured.session_date
    rows between 5 preceding and 1 preceding
)
