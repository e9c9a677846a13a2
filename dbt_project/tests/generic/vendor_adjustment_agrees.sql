{# Between two sessions in a row, our price-and-dividend adjustment and the vendor's adjusted close tell the same
   return, to the vendor's float32 precision, for at least 99 of 100 bars of each instrument. Yahoo's form,
   1 - dividend / previous close, is used on both sides. #}
{% test vendor_adjustment_agrees(model) %}
with pairs as (
    select
        symbol,
        close,
        dividend,
        adj_close,
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
    count(*) as compared,
    count(case
        when abs((adj_close / previous_adj_close) * (1 - dividend / previous_close) / (close / previous_close) - 1) > 2e-5
            then 1
    end) as disagreeing
from pairs
where
    adj_close is not null
    and previous_adj_close is not null
    and dividend < previous_close
group by symbol
having disagreeing > greatest(2, compared / 100)
{% endtest %}
