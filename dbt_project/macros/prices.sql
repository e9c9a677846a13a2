{# A price rounded to the instrument's tick: feeds carry float noise (94.30000305) that must not cross a level. #}
{% macro to_tick(price, tick_size) -%}
    round(round({{ price }} / {{ tick_size }}) * {{ tick_size }}, 6)
{%- endmacro %}
