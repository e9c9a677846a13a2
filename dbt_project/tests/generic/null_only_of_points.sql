{# The column is known of everything that has a price; what is quoted in points has none. #}
{% test null_only_of_points(model, column_name) %}
select
    symbol,
    session_date
from {{ model }}
where
    {{ column_name }} is null
    and symbol not in (
        select instruments.symbol
        from {{ source('control', 'instruments') }} as instruments
        where {{ is_in_points('instruments') }}
    )
{% endtest %}
