{# How many rows of a growing frame, the last one left out, have a value as large as its own; equal ones count. The frame
   ends with the row and the value is never NULL. n log n, where a join of each row with its past costs n squared. #}
{% macro earlier_as_large(value, window) -%}
    {{ adapter.dispatch('earlier_as_large', 'orewatch')(value, window) }}
{%- endmacro %}

{% macro default__earlier_as_large(value, window) -%}
    count(*) over {{ window }} - rank(order by {{ value }}) over {{ window }}
{%- endmacro %}
