{# Whether what an instrument is quoted in is points and no money: an index has levels and changes, nobody earns a return. #}
{% macro is_in_points(instruments=none) -%}
    {{ instruments ~ '.' if instruments else '' }}money = 'XXX'
{%- endmacro %}

{# Whether prices of an instrument need an exchange rate before they are compared: its quote currency is money, and not the
   base currency. #}
{% macro is_foreign(instruments=none) -%}
    {%- set of = instruments ~ '.' if instruments else '' -%}
    {{ of }}asset_class <> 'fx' and {{ of }}currency <> {{ of }}base_currency and not {{ is_in_points(instruments) }}
{%- endmacro %}

{# Rows of int_bars with what they return and, as traded, are worth in the base currency; NULL where a rate is missing.
   `quoted_index` is the index in the currency that they are quoted in. #}
{% macro in_base_currency(bars) -%}
    (
        select
            quoted.symbol,
            quoted.session_date,
            quoted.bar_number,
            quoted.total_return_index as quoted_index,
            quoted.close_as_traded * case when abroad.symbol is null then 1 else abroad.exchange_rate end as price,
            case when abroad.symbol is null then quoted.total_return else abroad.return_1d_base end as total_return,
            case when abroad.symbol is null then quoted.total_return_index else abroad.total_return_index_base end
                as total_return_index
        from {{ bars }} as quoted
        left join {{ ref('currencies') }} as abroad
            on
                quoted.symbol = abroad.symbol
                and quoted.session_date = abroad.session_date
    )
{%- endmacro %}
