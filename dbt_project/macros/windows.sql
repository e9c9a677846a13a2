{# A statistic over a full window of n values, else NULL: half a window says nothing. #}
{% macro full_window(expression, value, n, window) -%}
    case when count({{ value }}) over {{ window }} = {{ n }} then {{ expression }} over {{ window }} end
{%- endmacro %}

{# The square root, NULL of a negative number instead of an error. #}
{% macro root(value) -%}
    sqrt(case when {{ value }} >= 0 then {{ value }} end)
{%- endmacro %}

{# The frame of the year that ends with the row: (date - 1 year, date]. #}
{% macro past_year_frame(ends='current row') -%}
    {{ adapter.dispatch('past_year_frame', 'orewatch')(ends) }}
{%- endmacro %}

{% macro default__past_year_frame(ends) -%}
    range between interval 1 year - interval 1 day preceding and {{ ends }}
{%- endmacro %}

{# Median of the absolute distances from the median. #}
{% macro median_absolute_deviation(value) -%}
    {{ adapter.dispatch('median_absolute_deviation', 'orewatch')(value) }}
{%- endmacro %}

{% macro default__median_absolute_deviation(value) -%}
    mad({{ value }})
{%- endmacro %}

{# Place of a value among the n before it, ties count half: a fraction. The window ends with the row and holds n + 1 rows;
   with (#below + 1) and (#above + 1) for the two ranks, (#below + half #equal) / n is (n + one - the other) / 2n. #}
{% macro percentile_among_previous(value, n, window) -%}
    {{ adapter.dispatch('percentile_among_previous', 'orewatch')(value, n, window) }}
{%- endmacro %}

{% macro default__percentile_among_previous(value, n, window) -%}
    case
        when {{ value }} is not null and count({{ value }}) over {{ window }} = {{ n + 1 }}
            then (
                {{ n }}
                + rank(order by {{ value }} nulls last) over {{ window }}
                - rank(order by {{ value }} desc nulls last) over {{ window }}
            ) / {{ 2.0 * n }}
    end
{%- endmacro %}

{# Whether a condition holds and held nowhere in the frame before the row; what is unknown there counts as not. #}
{% macro first_of_run(condition, frame) -%}
    {{ condition }} and coalesce(max(cast({{ condition }} as integer)) over {{ frame }}, 0) = 0
{%- endmacro %}

{# The mean of a group, added up in the order of a column. Sums of doubles depend on the order in their last digit, and
   engines that work in parallel have none: without it two builds of the same lake differ. #}
{% macro ordered_mean(value, in_order_of) -%}
    {{ adapter.dispatch('ordered_mean', 'orewatch')(value, in_order_of) }}
{%- endmacro %}

{% macro default__ordered_mean(value, in_order_of) -%}
    avg({{ value }} order by {{ in_order_of }})
{%- endmacro %}

{% macro spark__ordered_mean(value, in_order_of) -%}
    aggregate(
        array_sort(collect_list(case when {{ value }} is not null then named_struct('place', {{ in_order_of }}, 'value', {{ value }}) end)),
        cast(0 as double),
        (total, pair) -> total + pair.value
    ) / nullif(count({{ value }}), 0)
{%- endmacro %}
