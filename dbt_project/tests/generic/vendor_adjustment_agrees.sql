{# Between two sessions in a row, our adjusted close and the vendor's tell the same return, to the vendor's float32
   precision or to the decimals that it rounds either to; two bars of an instrument may differ: those that differ by more than
   noise are named by the rule adjustment_disagrees of int_bar_anomalies. #}
{% test vendor_adjustment_agrees(model) %}
with growth as (
    select
        symbol,
        sessions_since_previous,
        adj_close / lag(adj_close) over in_order as growth,
        vendor_adj_close / lag(vendor_adj_close) over in_order as vendor_growth,
        least(vendor_adj_close, lag(vendor_adj_close) over in_order) as smaller,
        {{ rounding_unit('vendor_adj_close', '(partition by symbol)') }} as unit,
        {{ rounding_of_closes(
            'close_as_traded', 'lag(close_as_traded) over in_order', 'tick_size', '(partition by symbol)'
        ) }} as rounding
    from {{ model }}
    window in_order as (
        partition by symbol
        order by session_date
    )
)

select
    symbol,
    count(*) as disagreeing
from growth
where
    sessions_since_previous = 1
    and abs(vendor_growth / growth - 1) > 2e-5 + unit / smaller + rounding
group by symbol
having count(*) > 2
{% endtest %}
