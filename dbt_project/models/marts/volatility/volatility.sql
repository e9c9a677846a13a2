{{ config(materialized='incremental_by_symbol') }}
-- How much each instrument has been moving, annualised, and how unusual that is.
with ranked as (
    select
        symbol,
        session_date,
        percentile_252,
        volatility_ratio_21_252,
        volatility_ratio_21_252 >= 1.5 and percentile_252 >= 0.95 as is_volatility_spike
    from {{ read(ref('int_volatility_rank'), lookback='70 bars') }} as ranks
),

spikes as (
    select
        *,
        {{ first_of_run('is_volatility_spike', 'earlier') }} as spike_began
    from ranked
    window earlier as (
        partition by symbol
        order by session_date
        rows between 5 preceding and 1 preceding
    )
)

select
    spikes.symbol,
    spikes.session_date,
    {%- for n in [21, 63, 252] %}
        measured.close_to_close_{{ n }},
    {%- endfor %}
    sqrt(252.0 * ewma.variance) as ewma_094,
    {%- for estimator in ['parkinson', 'garman_klass', 'rogers_satchell', 'gk_yz', 'yang_zhang'] %}
        {%- for n in [21, 63, 252] %}
            measured.{{ estimator }}_{{ n }},
        {%- endfor %}
    {%- endfor %}
    spikes.percentile_252 as volatility_percentile_252,
    measured.volatility_of_volatility_63,
    spikes.volatility_ratio_21_252,
    spikes.is_volatility_spike,
    spikes.spike_began,
    {{ source_name() }} as source
from spikes
left join {{ read(ref('int_range_volatility')) }} as measured
    on
        spikes.symbol = measured.symbol
        and spikes.session_date = measured.session_date
left join {{ read(ref('int_ewma')) }} as ewma
    on
        spikes.symbol = ewma.symbol
        and spikes.session_date = ewma.session_date
