{# All that DuckDB and Spark say differently: `default__` is DuckDB's form, `spark__` Spark's, and both give the same values.
   Models and other macros use the shared language and these names only; tests/portable_sql.py looks for what is not.
   tests/integration/test_engines.py runs every one of them on both engines. docs/decisions/0023-spark.md #}

{# Whether a row is of the instruments that are built at a time, which `create_in_batches` says; of all, where nobody says. #}
{% macro in_batch(rows) -%}
    {{ adapter.dispatch('in_batch', 'orewatch')(rows) }}
{%- endmacro %}

{% macro default__in_batch(rows) -%}
    {{ rows }}.symbol between
    coalesce(getvariable('first_symbol'), '') and coalesce(getvariable('last_symbol'), chr(1114111))
{%- endmacro %}

{# Spark's joins do not have to fit into memory. #}
{% macro spark__in_batch(rows) -%}
    true
{%- endmacro %}

{# Days from one date to another; `date - date` means different things to different engines. #}
{% macro days_between(earlier, later) -%}
    {{ adapter.dispatch('days_between', 'orewatch')(earlier, later) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    datediff('day', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    cast(datediff({{ later }}, {{ earlier }}) as bigint)
{%- endmacro %}

{# Texts of a group as one comma-separated text, in alphabetical order. #}
{% macro joined_texts(column) -%}
    {{ adapter.dispatch('joined_texts', 'orewatch')(column) }}
{%- endmacro %}

{% macro default__joined_texts(column) -%}
    string_agg({{ column }}, ', ' order by {{ column }})
{%- endmacro %}

{% macro spark__joined_texts(column) -%}
    array_join(sort_array(collect_list({{ column }})), ', ')
{%- endmacro %}

{# The multiples of a step from one to another, in this order, as text: 110, 100, 90. #}
{% macro multiples_as_text(from_multiple, to_multiple, direction, step) -%}
    {{ adapter.dispatch('multiples_as_text', 'orewatch')(from_multiple, to_multiple, direction, step) }}
{%- endmacro %}

{% macro default__multiples_as_text(from_multiple, to_multiple, direction, step) -%}
    array_to_string(
        list_transform(
            generate_series(
                cast({{ from_multiple }} as bigint), cast({{ to_multiple }} as bigint), cast({{ direction }} as bigint)
            ),
            lambda multiple: regexp_replace(cast(round(multiple * {{ step }}, 6) as varchar), '\.0$', '')
        ),
        ', '
    )
{%- endmacro %}

{% macro spark__multiples_as_text(from_multiple, to_multiple, direction, step) -%}
    array_join(
        transform(
            sequence(
                cast({{ from_multiple }} as bigint), cast({{ to_multiple }} as bigint), cast({{ direction }} as bigint)
            ),
            multiple -> regexp_replace(cast(cast(multiple * {{ step }} as decimal(38, 6)) as string), '\\.?0+$', '')
        ),
        ', '
    )
{%- endmacro %}

{# An expression that ends the query with a message, an SQL text. #}
{% macro failure(message) -%}
    {{ adapter.dispatch('failure', 'orewatch')(message) }}
{%- endmacro %}

{% macro default__failure(message) -%}
    error({{ message }})
{%- endmacro %}

{% macro spark__failure(message) -%}
    raise_error({{ message }})
{%- endmacro %}

{# The latest value that is known, in the frame of the window that follows. #}
{% macro last_known(value) -%}
    {{ adapter.dispatch('last_known', 'orewatch')(value) }}
{%- endmacro %}

{% macro default__last_known(value) -%}
    last_value({{ value }} ignore nulls)
{%- endmacro %}

{% macro spark__last_known(value) -%}
    last_value({{ value }}, true)
{%- endmacro %}

{# The largest or smallest value of a frame that begins with the series. #}
{% macro extreme_so_far(extreme, value, window) -%}
    {{ adapter.dispatch('extreme_so_far', 'orewatch')(extreme, value, window) }}
{%- endmacro %}

{# DuckDB finds the value that goes with the largest one in half the time of the largest one, of which it is the same. #}
{% macro default__extreme_so_far(extreme, value, window) -%}
    {{ extreme }}_by({{ value }}, {{ value }}) over {{ window }}
{%- endmacro %}

{% macro spark__extreme_so_far(extreme, value, window) -%}
    {{ extreme }}({{ value }}) over {{ window }}
{%- endmacro %}

{# The latest known value of the series up to the row, where its first row has one; only for rows that come out of
   `numbered_rows`, with nothing but projections between. #}
{% macro last_since_first(value, series) -%}
    {{ adapter.dispatch('last_since_first', 'orewatch')(value, series) }}
{%- endmacro %}

{# What the series before has left the first row replaces: nothing is sorted again, as in `place_ago`. #}
{% macro default__last_since_first(value, series) -%}
    last_value({{ value }} ignore nulls) over (rows between unbounded preceding and current row)
{%- endmacro %}

{% macro spark__last_since_first(value, series) -%}
    last_value({{ value }}, true) over (
        partition by {{ series | join(', ') }}
        order by place
        rows between unbounded preceding and current row
    )
{%- endmacro %}

{# Two steps of `with_sum_so_far`: a running sum, and what of it is of the series. DuckDB adds up over all series, and takes
   off what those before have left. #}
{% macro running_sum(value, series) -%}
    {{ adapter.dispatch('running_sum', 'orewatch')(value, series) }}
{%- endmacro %}

{% macro default__running_sum(value, series) -%}
    sum({{ value }}) over (rows between unbounded preceding and current row)
{%- endmacro %}

{% macro spark__running_sum(value, series) -%}
    sum({{ value }}) over (
        partition by {{ series | join(', ') }}
        order by place
        rows between unbounded preceding and current row
    )
{%- endmacro %}

{% macro sum_of_series(total, value, series) -%}
    {{ adapter.dispatch('sum_of_series', 'orewatch')(total, value, series) }}
{%- endmacro %}

{% macro default__sum_of_series(total, value, series) -%}
    {{ total }} - {{ last_since_first('case when place = 1 then ' ~ total ~ ' - ' ~ value ~ ' end', series) }}
{%- endmacro %}

{% macro spark__sum_of_series(total, value, series) -%}
    {{ total }}
{%- endmacro %}

{# The value where another one is largest, over a window; the first by date, if several are as large. The other one is
   never NULL. #}
{% macro first_at_largest(value, size, date, window) -%}
    {{ adapter.dispatch('first_at_largest', 'orewatch')(value, size, date, window) }}
{%- endmacro %}

{% macro default__first_at_largest(value, size, date, window) -%}
    max_by({{ value }}, {{ size }}) over {{ window }}
{%- endmacro %}

{# Of those as large Spark's max_by takes the last, and it costs twice a maximum of structs. #}
{% macro spark__first_at_largest(value, size, date, window) -%}
    (max(named_struct('size', {{ size }}, 'earliness', -unix_date({{ date }}), 'value', {{ value }})) over {{ window }}).value
{%- endmacro %}

{# An aggregate of the later rows of a series. #}
{% macro over_later_rows(aggregate, series, date) -%}
    {{ adapter.dispatch('over_later_rows', 'orewatch')(aggregate, series, date) }}
{%- endmacro %}

{% macro default__over_later_rows(aggregate, series, date) -%}
    {{ aggregate }} over (
        partition by {{ series | join(', ') }}
        order by {{ date }}
        rows between 1 following and unbounded following
    )
{%- endmacro %}

{# Spark adds up a frame that shrinks anew for each row, and carries one on that grows. #}
{% macro spark__over_later_rows(aggregate, series, date) -%}
    {{ aggregate }} over (
        partition by {{ series | join(', ') }}
        order by {{ date }} desc
        rows between unbounded preceding and 1 preceding
    )
{%- endmacro %}

{# The largest or smallest value of the year before the row, which is not of it: (date - 1 year, date). #}
{% macro extreme_of_year_before(extreme, value) -%}
    {{ adapter.dispatch('extreme_of_year_before', 'orewatch')(extreme, value) }}
{%- endmacro %}

{# A frame that ends a day before the row is looked for twice, and costs twice as much. #}
{% macro default__extreme_of_year_before(extreme, value) -%}
    {{ extreme }}({{ value }}) over (
        partition by symbol
        order by session_date
        range between interval 1 year - interval 1 day preceding and current row
        exclude current row
    )
{%- endmacro %}

{# Spark's frames are so many days, and a year with a leap day in it has one more. #}
{% macro spark__extreme_of_year_before(extreme, value) -%}
    case
        when datediff(session_date, add_months(session_date, -12)) = 366
            then {{ extreme }}({{ value }}) over (
                partition by symbol
                order by session_date
                range between 365 preceding and 1 preceding
            )
        else {{ extreme }}({{ value }}) over (
            partition by symbol
            order by session_date
            range between 364 preceding and 1 preceding
        )
    end
{%- endmacro %}

{# The median of a frame of the window. #}
{% macro median_over(value, window) -%}
    {{ adapter.dispatch('median_over', 'orewatch')(value, window) }}
{%- endmacro %}

{% macro default__median_over(value, window) -%}
    median({{ value }}) over {{ window }}
{%- endmacro %}

{# Spark's own percentile keeps a table of counts for each frame, and costs three times a sorted list. A list that is used
   twice is named by a `transform` of an array that holds it. #}
{% macro spark__median_over(value, window) -%}
    element_at(
        transform(
            array(sort_array(collect_list({{ value }}) over {{ window }})),
            sorted -> {{ _spark_median('sorted') }}
        ),
        1
    )
{%- endmacro %}

{# The median of the absolute distances from the median, of a group or, with the name of a window, of a frame. #}
{% macro median_absolute_deviation(value, window='') -%}
    {{ adapter.dispatch('median_absolute_deviation', 'orewatch')(value, window) }}
{%- endmacro %}

{% macro default__median_absolute_deviation(value, window) -%}
    mad({{ value }}){{ ' over ' ~ window if window }}
{%- endmacro %}

{# Not array_sort, which asks a function for each comparison. #}
{% macro spark__median_absolute_deviation(value, window) -%}
    {%- set values = 'collect_list(' ~ value ~ ')' ~ (' over ' ~ window if window else '') -%}
    element_at(
        transform(
            array(sort_array({{ values }})),
            sorted -> element_at(
                transform(
                    array({{ _spark_median('sorted') }}),
                    middle -> element_at(
                        transform(
                            array(sort_array(transform(sorted, one -> abs(one - middle)))),
                            distances -> {{ _spark_median('distances') }}
                        ),
                        1
                    )
                ),
                1
            )
        ),
        1
    )
{%- endmacro %}

{# Of a sorted list; of one without values there is none. #}
{% macro _spark_median(sorted) -%}
    (
        get({{ sorted }}, cast(floor((size({{ sorted }}) - 1) / 2) as int))
        + get({{ sorted }}, cast(floor(size({{ sorted }}) / 2) as int))
    ) / 2
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
            ) / cast({{ 2 * n }} as double)
    end
{%- endmacro %}

{# Spark ranks no frames: what lies below and above is counted in the list of the frame. #}
{% macro spark__percentile_among_previous(value, n, window) -%}
    case
        when {{ value }} is not null and count({{ value }}) over {{ window }} = {{ n + 1 }}
            then (
                {{ n }}
                + size(filter(collect_list({{ value }}) over {{ window }}, one -> one < {{ value }}))
                - size(filter(collect_list({{ value }}) over {{ window }}, one -> one > {{ value }}))
            ) / cast({{ 2 * n }} as double)
    end
{%- endmacro %}

{# Whether a rank over a growing frame costs n log n; where it does not, the few rows that need one are joined with those
   before them. #}
{% macro ranks_over_frames() -%}
    {{ return(adapter.dispatch('ranks_over_frames', 'orewatch')()) }}
{%- endmacro %}

{% macro default__ranks_over_frames() -%}
    {{ return(true) }}
{%- endmacro %}

{% macro spark__ranks_over_frames() -%}
    {{ return(false) }}
{%- endmacro %}

{# How many rows of a growing frame, the last one left out, have a value as large as its own; equal ones count. The frame
   ends with the row and the value is never NULL. n log n, where a join of each row with its past costs n squared. Only
   where `ranks_over_frames`. #}
{% macro earlier_as_large(value, window) -%}
    {{ adapter.dispatch('earlier_as_large', 'orewatch')(value, window) }}
{%- endmacro %}

{% macro default__earlier_as_large(value, window) -%}
    count(*) over {{ window }} - rank(order by {{ value }}) over {{ window }}
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
        sort_array(collect_list(case when {{ value }} is not null then named_struct('place', {{ in_order_of }}, 'value', {{ value }}) end)),
        cast(0 as double),
        (total, pair) -> total + pair.value
    ) / nullif(count({{ value }}), 0)
{%- endmacro %}

{# The value n places ago in the series, where the caller knows that there is one. DuckDB then keeps the last rows in memory
   and sorts nothing, which is what makes `rolling_sums` fast; that the rows do come in their order, `numbered_rows` checks
   row by row. #}
{% macro place_ago(value, n, series) -%}
    {{ adapter.dispatch('place_ago', 'orewatch')(value, n, series) }}
{%- endmacro %}

{% macro default__place_ago(value, n, series) -%}
    lag({{ value }}, {{ n }}) over ()
{%- endmacro %}

{% macro spark__place_ago(value, n, series) -%}
    lag({{ value }}, {{ n }}) over (partition by {{ series | join(', ') }} order by place)
{%- endmacro %}

{# A value that is carried on row by row of a window: v becomes share * v + weight * x, one x after the other. #}
{% macro carried_on(first, x, window, share, weight) -%}
    {{ adapter.dispatch('carried_on', 'orewatch')(first, x, window, share, weight) }}
{%- endmacro %}

{% macro default__carried_on(first, x, window, share, weight) -%}
    list_reduce(
        list_prepend({{ first }}, list({{ x }}) over {{ window }}), lambda v, x: {{ share }} * v + {{ weight }} * x
    )
{%- endmacro %}

{% macro spark__carried_on(first, x, window, share, weight) -%}
    aggregate(collect_list({{ x }}) over {{ window }}, {{ first }}, (v, x) -> {{ share }} * v + {{ weight }} * x)
{%- endmacro %}
