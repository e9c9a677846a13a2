{# The name of the source (sample, yahoo, files) as a column: every mart says where its figures come from. #}
{% macro source_name() -%}
    cast('{{ env_var("OREWATCH_SOURCE", "sample") }}' as {{ dbt.type_string() }})
{%- endmacro %}
