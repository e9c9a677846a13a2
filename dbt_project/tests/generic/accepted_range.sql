{# The column, or each of several, where known, lies between two bounds; either bound may be left out. One test of a model
   for all columns with the same bounds: each test costs dbt a tenth of a second. #}
{% test accepted_range(model, column_name=none, columns=none, min_value=none, max_value=none) %}
select *
from {{ model }}
where
    false
    {%- for column in columns or [column_name] %}
        {%- if min_value is not none %}
    or {{ column }} < {{ min_value }}
        {%- endif %}
        {%- if max_value is not none %}
    or {{ column }} > {{ max_value }}
        {%- endif %}
    {%- endfor %}
{% endtest %}
