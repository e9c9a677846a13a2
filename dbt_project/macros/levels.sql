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

{# The nearest round number above or below a close. One that the close stands on lies ahead, on the way that it came. #}
{% macro nearest_round_number(place, close, latest_heading) -%}
    {%- set step = round_number_step(close) -%}
    {%- set steps = steps_from_zero(close, step) -%}
    round(
        {{ step }} * case
        {%- if place == 'above' %}
            when {{ latest_heading }} > 0 then ceil({{ steps }})
            else floor({{ steps }}) + 1
        {%- else %}
            when {{ latest_heading }} < 0 then floor({{ steps }})
            -- below 100 the numbers are 90, 80, ...
            when {{ steps }} = 1 then 0.9
            else ceil({{ steps }}) - 1
        {%- endif %}
        end,
        6
    )
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
{% macro price_source(instruments, series) -%}
    case
        when {{ series }} in ('sma_50', 'sma_200') then
            concat({{ instruments }}.name, ', close as a multiple of ', upper(replace({{ series }}, '_', ' ')))
        when {{ series }} is not null then concat('price ratio ', {{ series }})
        else concat({{ instruments }}.name, ', ', {{ instruments }}.source_symbol)
    end
{%- endmacro %}

{# The number of the bar of the last event of each level of some kinds, before the rows that an incremental build replaces:
   what the first of these may repeat. None in a full refresh. #}
{% macro last_events_before(kinds) -%}
    {%- set changes = incremental_ref('int_changes') -%}
    {%- if is_incremental() -%}
        select
            last_events.level_id,
            bars.bar_number
        from (
            select
                stored.level_id,
                stored.symbol,
                max(stored.session_date) as session_date
            from {{ this }} as stored
            inner join {{ changes }} as changes
                on
                    stored.symbol = changes.symbol
                    and stored.session_date < changes.changed_from
            where stored.kind in ('{{ kinds | join("', '") }}')
            group by stored.level_id, stored.symbol
        ) as last_events
        inner join {{ ref('int_level_prices') }} as bars
            on
                last_events.symbol = bars.symbol
                and bars.series is null
                and last_events.session_date = bars.session_date
    {%- else -%}
        select
            cast(null as {{ dbt.type_string() }}) as level_id,
            cast(null as bigint) as bar_number
        where false
    {%- endif -%}
{%- endmacro %}
