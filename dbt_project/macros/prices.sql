{# A price rounded to the instrument's tick: feeds carry float noise (94.30000305) that must not cross a level. #}
{% macro to_tick(price, tick_size) -%}
    round(round({{ price }} / {{ tick_size }}) * {{ tick_size }}, 6)
{%- endmacro %}

{# 1 where two prices are a factor or more apart, else 0, also where one of them is unknown. #}
{% macro is_far(price, other, factor) -%}
    case when {{ price }} >= {{ factor }} * {{ other }} or {{ other }} >= {{ factor }} * {{ price }} then 1 else 0 end
{%- endmacro %}

{# Whether a price moved by what a split says, so that prices on one side of it were not divided by it. #}
{% macro is_the_split(growth, split_ratio, at_least, leeway) -%}
    ({{ split_ratio }} >= {{ at_least }} or {{ split_ratio }} * {{ at_least }} <= 1)
    and {{ growth }} * {{ split_ratio }} <= {{ leeway }}
    and {{ growth }} * {{ split_ratio }} * {{ leeway }} >= 1
{%- endmacro %}

{# The same of the sessions around it: the latest price moved by what one of the last splits says, or one of the last prices
   by what the latest split says. Columns are `<growth>_0` of the latest session, `<growth>_1` of the one before, ... #}
{% macro is_near_its_split(growth, split_ratio, sessions, at_least, leeway) -%}
    (
        {%- for k in range(sessions) %}
        ({{ is_the_split(growth ~ '_0', split_ratio ~ '_' ~ k, at_least, leeway) }})
        or ({{ is_the_split(growth ~ '_' ~ k, split_ratio ~ '_0', at_least, leeway) }})
        {{ 'or' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}

{# Whether a price moved by a factor or more right after it had moved as far, and left over only a share of the way. #}
{% macro is_the_way_back(growth, growth_before, at_least, left_over) -%}
    greatest({{ growth }}, 1 / {{ growth }}) >= {{ at_least }}
    and greatest({{ growth_before }}, 1 / {{ growth_before }}) >= {{ at_least }}
    and abs(ln({{ growth }} * {{ growth_before }})) <= {{ left_over }} * abs(ln({{ growth_before }}))
{%- endmacro %}

{# 1 where a version of a bar has a split or a dividend that the version before it had not, else 0. A dividend on another
   basis is no other dividend. #}
{% macro brings_new_action(split_ratio, old_split_ratio, dividend, old_dividend) -%}
    case
        when
            {{ split_ratio }} <> coalesce({{ old_split_ratio }}, 1)
            or ({{ dividend }} > 0) <> coalesce({{ old_dividend }} > 0, false)
            then 1
        else 0
    end
{%- endmacro %}

{# The range of a bar and of the way to it from the close before, over that close; without a range, of the two closes. #}
{% macro range_share(high, low, close, previous_close) -%}
    (
        greatest(coalesce({{ high }}, {{ close }}), {{ previous_close }})
        - least(coalesce({{ low }}, {{ close }}), {{ previous_close }})
    ) / {{ previous_close }}
{%- endmacro %}

{# The unit that all prices of a window are rounded to, 0.01 or 0.0001, else 0; with a little to spare for ties. #}
{% macro rounding_unit(price, window) -%}
    case
        when max(abs({{ price }} - round({{ price }}, 2))) over {{ window }} = 0 then 0.0101
        when max(abs({{ price }} - round({{ price }}, 4))) over {{ window }} = 0 then 0.000101
        else 0.0
    end
{%- endmacro %}

{# By how much two closes that a file gives to the cent, or to some other unit, may tell another return than exact ones; 0
   where they have more digits than any exchange. #}
{% macro rounding_of_closes(close, previous_close, tick_size, window) -%}
    case
        when max(abs({{ close }} - round({{ close }}, 4))) over {{ window }} < 1e-9
            then {{ tick_size }} / least({{ close }}, {{ previous_close }})
        else 0.0
    end
{%- endmacro %}

{# 1.0 where a price is above its average, else 0.0. A price on its average is not above it, whatever the last digits say. #}
{% macro is_above(price, average) -%}
    case when round({{ price }} / {{ average }}, 12) > 1 then 1.0 when {{ price }} / {{ average }} is not null then 0.0 end
{%- endmacro %}
