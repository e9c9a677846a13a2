{# Between two sessions in a row, our adjusted close and the vendor's tell the same return, to the vendor's float32
   precision or to the decimals that it rounds either to; two bars of an instrument may differ: those that differ by more than
   noise are named by the rule adjustment_disagrees of int_bar_anomalies. Ours is Yahoo's: each close times (1 - dividend /
   previous close) of every dividend still to come. The bar before a tested one may be one that was built earlier. It
   stands on daily_bars, as others that name instruments: one build finds them all. #}
{% test vendor_adjustment_agrees(model) %}
with tested as (
    select * from {{ model }}
),

bars as (
    select bars.*
    from tested
    inner join {{ ref('int_bars') }} as bars
        on
            tested.symbol = bars.symbol
            and tested.session_date = bars.session_date
),

growth as (
    select
        bars.symbol,
        bars.sessions_since_previous,
        bars.close / (bars.previous_close - case when bars.dividend < bars.previous_close then bars.dividend else 0 end)
            as growth,
        bars.adj_close / before.adj_close as vendor_growth,
        least(bars.adj_close, before.adj_close) as smaller,
        {{ rounding_unit('bars.adj_close', '(partition by bars.symbol)') }} as unit,
        {{ rounding_of_closes(
            'bars.close_as_traded', 'before.close_as_traded', 'bars.tick_size', '(partition by bars.symbol)'
        ) }} as rounding
    from bars
    left join {{ ref('int_bars') }} as before
        on
            bars.symbol = before.symbol
            and bars.previous_date = before.session_date
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
