{# How many rows of a growing frame, the last one left out, have a value as high as it, or as low as it; equal ones count.
   The frame ends with the row; the value is never NULL. Both cost n log n, where a join of each row with its past costs
   n squared. #}
{% macro earlier_as_high(value, window) -%}
    {{ adapter.dispatch('earlier_as_high', 'orewatch')(value, window) }}
{%- endmacro %}

{% macro default__earlier_as_high(value, window) -%}
    count(*) over {{ window }} - rank(order by {{ value }}) over {{ window }}
{%- endmacro %}

{% macro earlier_as_low(value, window) -%}
    {{ adapter.dispatch('earlier_as_low', 'orewatch')(value, window) }}
{%- endmacro %}

{% macro default__earlier_as_low(value, window) -%}
    count(*) over {{ window }} - rank(order by {{ value }} desc) over {{ window }}
{%- endmacro %}
