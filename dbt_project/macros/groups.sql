{# Whether an instrument is a miner, or a fund or an index of miners: it belongs to a metal, and is neither the metal itself
   nor what markets are measured by. All other tiers of groups.csv are the analyst's. #}
{% macro is_miner(instruments=none) -%}
    {%- set of = instruments ~ '.' if instruments else '' -%}
    ({{ of }}metal is not null and {{ of }}tier not in ('metal', 'benchmark'))
{%- endmacro %}
