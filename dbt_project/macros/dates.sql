{# Days from one date to another; `date - date` means different things to different engines. #}
{% macro days_between(earlier, later) -%}
    {{ adapter.dispatch('days_between', 'orewatch')(earlier, later) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    datediff('day', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    datediff({{ later }}, {{ earlier }})
{%- endmacro %}
