{# Where a bar has a range, it contains open and close. #}
{% test ohlc_is_possible(model) %}
select
    symbol,
    session_date,
    open,
    high,
    low,
    close
from {{ model }}
where
    high < greatest(open, close, low)
    or low > least(open, close, high)
    or low <= 0
    or (bar_quality in ('close_only', 'range_rejected') and (open is not null or high is not null or low is not null))
{% endtest %}
