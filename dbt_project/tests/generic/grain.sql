{# The named columns identify a row: none of them is NULL and no combination stands twice. #}
{% test grain(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as rows_of_grain
from {{ model }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in columns %}
    or {{ column }} is null
    {%- endfor %}
{% endtest %}
