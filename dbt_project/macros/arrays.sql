{# Texts of a group as one comma-separated text, in alphabetical order. #}
{% macro joined_texts(column) -%}
    {{ adapter.dispatch('joined_texts', 'orewatch')(column) }}
{%- endmacro %}

{% macro default__joined_texts(column) -%}
    string_agg({{ column }}, ', ' order by {{ column }})
{%- endmacro %}

{% macro spark__joined_texts(column) -%}
    array_join(sort_array(collect_list({{ column }})), ', ')
{%- endmacro %}
