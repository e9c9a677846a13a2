{# How far from a level a close stands away from it: 1 % of the level or half the average true range, if that is known
   and more. Rounded: sums of the same ranges may differ in their last digits. #}
{% macro stand_off(level_price, atr) -%}
    round(greatest(0.01 * {{ level_price }}, coalesce({{ atr }} / 2, 0)), 6)
{%- endmacro %}

{# The distance between round numbers of the magnitude of a price: 1 from 1 to 9.99, 10 from 10 to 99.99, ... #}
{% macro round_number_step(price) -%}
    power(10.0, floor(log10({{ price }}) + 1e-12))
{%- endmacro %}

{# How many steps a price is from zero: a whole number exactly where the price is a round number. #}
{% macro steps_from_zero(price, step) -%}
    round({{ price }} / {{ step }}, 9)
{%- endmacro %}

{# What a line or a zone is to the price: support below it, resistance above it; unknown until two closes agreed. #}
{% macro role(confirmed_side) -%}
    case when {{ confirmed_side }} > 0 then 'support' when {{ confirmed_side }} < 0 then 'resistance' end
{%- endmacro %}

{# How far a close stands from a line or from the nearer edge of a zone: a fraction of it, 0 inside a zone. #}
{% macro distance_from_level(close, lower, upper) -%}
    case
        when {{ close }} < {{ lower }} then {{ close }} / {{ lower }} - 1
        when {{ close }} > {{ upper }} then {{ close }} / {{ upper }} - 1
        when {{ close }} is not null then 0.0
    end
{%- endmacro %}

{# Whose prices a level is about: silver's level is another in futures than in the spot market. #}
{% macro price_source(instruments) -%}
    concat({{ instruments }}.name, ', ', {{ instruments }}.source_symbol)
{%- endmacro %}
