{# Between two sessions in a row, our price-and-dividend adjustment and the vendor's adjusted close tell the same
   return, to the vendor's float32 precision; two bars of an instrument may differ. Yahoo's form,
   1 - dividend / previous close, is used on both sides. #}
{% test vendor_adjustment_agrees(model) %}
with neighbours as (
    select
        symbol,
        close,
        dividend,
        adj_close,
        sessions_since_previous,
        lag(close) over in_order as previous_close,
        lag(adj_close) over in_order as previous_adj_close
    from {{ model }}
    window in_order as (
        partition by symbol
        order by session_date
    )
)

select
    symbol,
    count(*) as disagreeing
from neighbours
where
    sessions_since_previous = 1
    and dividend < previous_close
    and abs((adj_close / previous_adj_close) * (1 - dividend / previous_close) / (close / previous_close) - 1) > 2e-5
group by symbol
having count(*) > 2
{% endtest %}
