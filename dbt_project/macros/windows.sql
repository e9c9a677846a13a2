{# A statistic over a full window of n values, else NULL: half a window says nothing. #}
{% macro full_window(expression, value, n, window) -%}
    {{ if_full(expression ~ ' over ' ~ window, value, n, window) }}
{%- endmacro %}

{# The same of an expression that names the window itself. #}
{% macro if_full(expression, value, n, window) -%}
    case when count({{ value }}) over {{ window }} = {{ n }} then {{ expression }} end
{%- endmacro %}

{# How many standard deviations a value is from the mean of the n before it; NULL unless all are known, or if they are equal.
   `window` holds the n values before. #}
{% macro z_among_previous(value, n, window) -%}
    {%- set total, squares = exact_sum(value, window), exact_sum(value ~ ' * ' ~ value, window) -%}
    ({{ value }} - {{ if_full(total ~ ' / ' ~ n, value, n, window) }})
    / nullif(sqrt({{ if_full(squares_around_mean(total, squares, n), value, n, window) }} / {{ n - 1 }}), 0)
{%- endmacro %}

{# The sum over a full window. #}
{% macro full_sum(value, n, window) -%}
    {{ if_full(exact_sum(value, window), value, n, window) }}
{%- endmacro %}

{# A sum over a window of numbers near 1, added up as decimals: it has the same digits wherever an engine begins to
   add. They are what `held_by_decimal` leaves. #}
{% macro exact_sum(value, window) -%}
    cast(sum(cast({{ value }} as decimal(38, 18))) over {{ window }} as double)
{%- endmacro %}

{# A value that a decimal of 18 places holds; what is infinite or larger is as good as unknown. #}
{% macro held_by_decimal(value) -%}
    case when abs({{ value }}) < 1e15 then {{ value }} end
{%- endmacro %}

{# The square root, NULL of a negative number instead of an error. #}
{% macro root(value) -%}
    sqrt(case when {{ value }} >= 0 then {{ value }} end)
{%- endmacro %}

{# The rows of a relation with statistics of the rows that each looks back on. `statistics` are a name, what is asked, a
   column, and how many rows back:
     median, mad   of the n values before the row; NULL unless all are known
     percentile    place of the row's own value among the n before it, ties count half; NULL unless all are known
     highest, lowest   of the year before the row, a calendar year and not n rows
   A full refresh asks for every row, with frames. An incremental build that replaces few of the rows that it reads asks for
   those only, and joins each with the rows that it looks back on; frames would be worked out for all that is read. The
   values are the same to the last bit: none of them depends on an order.
   Rows have a `symbol`, a `session_date` and the `place` in their series; of an incremental build only those that are
   replaced may be relied on. #}
{% macro with_statistics(relation, statistics) -%}
    {%- if few_are_changed() -%}
        {{ joined_statistics(relation, statistics) }}
    {%- else -%}
        {{ framed_statistics(relation, statistics) }}
    {%- endif -%}
{%- endmacro %}

{% macro framed_statistics(relation, statistics) -%}
    {%- set frames = {} -%}
    (
        select
            *
            {%- for name, asked, value, n in statistics -%}
                {%- if asked == 'percentile' -%}
                    {%- set window, frame = 'last_' ~ (n + 1), n ~ ' preceding and current row' -%}
                {%- else -%}
                    {%- set window, frame = 'last_' ~ n, n ~ ' preceding and 1 preceding' -%}
                {%- endif -%}
                {%- if asked not in ('highest', 'lowest') -%}
                    {%- do frames.update({window: frame}) -%}
                {%- endif -%}
                ,
            {% if asked == 'highest' -%}
                {{ extreme_of_year_before('max', value) }}
            {%- elif asked == 'lowest' -%}
                {{ extreme_of_year_before('min', value) }}
            {%- elif asked == 'percentile' -%}
                {{ percentile_among_previous(value, n, window) }}
            {%- elif asked == 'mad' -%}
                {{ if_full(median_absolute_deviation(value, window), value, n, window) }}
            {%- else -%}
                {{ if_full(median_over(value, window), value, n, window) }}
            {%- endif %} as {{ name }}
            {%- endfor %}
        from {{ relation }}
        {%- if frames %}
        window
            {%- for window, frame in frames.items() %}
            {{ window }} as (
                partition by symbol
                order by session_date
                rows between {{ frame }}
            ){{ ',' if not loop.last }}
            {%- endfor %}
        {%- endif %}
    )
{%- endmacro %}

{% macro joined_statistics(relation, statistics) -%}
    {%- set farthest = statistics | map(attribute=3) | max -%}
    (
        select
            changed.*
            {%- for name, asked, value, n in statistics %},
            looking_back.{{ name }}
            {%- endfor %}
        from {{ changed_rows(relation) }} as changed
        left join (
            select
                latest.symbol,
                latest.place
                {%- for name, asked, value, n in statistics -%}
                    {%- set known -%}
                        case when earlier.place >= latest.place - {{ n }} and earlier.place < latest.place then earlier.{{ value }} end
                    {%- endset -%}
                    ,
                {% if asked in ('highest', 'lowest') -%}
                    {{ 'max' if asked == 'highest' else 'min' }}(
                        case
                            when earlier.session_date > latest.session_date - interval 1 year and earlier.place < latest.place
                                then earlier.{{ value }}
                        end
                    )
                {%- elif asked == 'percentile' -%}
                    case
                        when count({{ known }}) = {{ n }} and count(case when earlier.place = latest.place then earlier.{{ value }} end) = 1
                            then (
                                {{ n }}
                                + count(case when {{ known }} < latest.{{ value }} then 1 end)
                                - count(case when {{ known }} > latest.{{ value }} then 1 end)
                            ) / cast({{ 2 * n }} as double)
                    end
                {%- elif asked == 'mad' -%}
                    case when count({{ known }}) = {{ n }} then {{ median_absolute_deviation(known) }} end
                {%- else -%}
                    case when count({{ known }}) = {{ n }} then median({{ known }}) end
                {%- endif %} as {{ name }}
                {%- endfor %}
            from {{ changed_rows(relation) }} as latest
            inner join {{ relation }} as earlier
                on
                    latest.symbol = earlier.symbol
                    and earlier.place between latest.place - {{ farthest }} and latest.place
            group by latest.symbol, latest.place
        ) as looking_back
            on changed.symbol = looking_back.symbol and changed.place = looking_back.place
    )
{%- endmacro %}

{# Whether a condition holds and held nowhere in the frame before the row; what is unknown there counts as not. #}
{% macro first_of_run(condition, frame) -%}
    {{ condition }} and coalesce(max(cast({{ condition }} as integer)) over {{ frame }}, 0) = 0
{%- endmacro %}

{# What a gap does, against what it was five sessions before. #}
{% macro state_of_gap(gap, five_before) -%}
    case
        when sign(round({{ gap }}, 12)) <> sign(round({{ five_before }}, 12)) then 'turned'
        when abs({{ gap }}) > abs({{ five_before }}) then 'widening'
        when {{ gap }} is not null and {{ five_before }} is not null then 'narrowing'
    end
{%- endmacro %}

{# The mean of a group of numbers near 1, added up as decimals: it has the same digits in whatever order they come, and no
   list of them is kept. #}
{% macro exact_mean(value) -%}
    {%- set known = held_by_decimal(value) -%}
    cast(sum(cast({{ known }} as decimal(38, 18))) as double) / nullif(count({{ known }}), 0)
{%- endmacro %}

{# The rows of a relation with, for each value and length n, `<value>_sum_<n>`: the sum over the last n rows of the series,
   NULL unless all n are known; and for each pair of `lags`, `<value>_<n>_before`: the value n rows ago. Each length is a
   multiple of the one before it, and its sum is made of sums of that length, n rows apart. A frame that is summed up again
   for each row costs five times as much; and these additions depend on nothing but the row's own past, so that a part of a
   series has the same digits as the whole.
   `relation` is a name, `also` are columns that are kept beside the keys and `place`, the number of a row in its series.
   Rows that come out of this macro may go into it again as `numbered`, if nothing but projections lies between. #}
{% macro rolling_sums(relation, values, lengths, series, also=[], lags=[], numbered=false) -%}
    {%- set kept = series + ['session_date'] + also -%}
    {%- set read = (kept + values) | unique | join(', ') -%}
    {%- set built = namespace(sql=relation if numbered else numbered_rows(relation, read, series), length=1) -%}
    {%- for n in lengths -%}
        {%- set suffix = '' if loop.first else '_sum_' ~ built.length -%}
        {%- set columns = kept + ['place'] -%}
        {%- if loop.first -%}
            {%- for value, distance in lags -%}
                {%- do columns.append(rows_ago(value, distance, series) ~ ' as ' ~ value ~ '_' ~ distance ~ '_before') -%}
                {%- do kept.append(value ~ '_' ~ distance ~ '_before') -%}
            {%- endfor -%}
        {%- endif -%}
        {%- for value in values -%}
            {%- set terms = [value ~ suffix] -%}
            {%- for k in range(1, n // built.length) -%}
                {%- do terms.append(place_ago(value ~ suffix, k * built.length, series)) -%}
            {%- endfor -%}
            {%- do columns.append(
                'case when place >= ' ~ n ~ ' then ' ~ terms | join(' + ') ~ ' end as ' ~ value ~ '_sum_' ~ n
            ) -%}
            {%- do kept.append(value ~ '_sum_' ~ n) -%}
        {%- endfor -%}
        {%- set built.sql -%}
            (select {{ columns | join(', ') }} from {{ built.sql }} as rolled_{{ built.length }})
        {%- endset -%}
        {%- set built.length = n -%}
    {%- endfor -%}
    {{ built.sql }}
{%- endmacro %}

{# Columns of a relation, series by series in the order of the sessions, with the `place` of each row in its series.
   `beside` are further columns, by name, over the window `so_far` or, with `last`, over `last_<n>`: rows are sorted once
   for all of them. #}
{% macro numbered_rows(relation, columns, series, beside={}, last=none) -%}
    (
        select {{ columns }},
            {%- for name in beside %}
                {{ name }},
            {%- endfor %}
            case
                when place = 1 or (
                    {{ place_ago('place', 1, series) }} = place - 1
                    {%- for column in series %} and {{ place_ago(column, 1, series) }} = {{ column }}{% endfor %}
                ) then place
                else {{ failure("'rows out of order'") }}
            end as place
        from (
            select {{ columns }},
                {%- for name, expression in beside.items() %}
                    {{ expression }} as {{ name }},
                {%- endfor %}
                row_number() over (partition by {{ series | join(', ') }} order by session_date) as place
            from {{ relation }}
            {%- if beside %}
            window {{ 'last_' ~ last if last else 'so_far' }} as (
                partition by {{ series | join(', ') }}
                order by session_date
                rows between {{ last - 1 if last else 'unbounded' }} preceding and current row
            )
            {%- endif %}
        ) as numbered
    )
{%- endmacro %}

{# The value n places ago in the series, NULL where there is none; only for rows that come out of `rolling_sums`, with
   nothing but projections between. #}
{% macro rows_ago(value, n, series) -%}
    case when place > {{ n }} then {{ place_ago(value, n, series) }} end
{%- endmacro %}

{# The rows of a relation with `<value>_so_far`: the sum of the value over the rows of the series up to each. The value is
   exact, a decimal, and never NULL; the relation is one of those that `last_since_first` takes. #}
{% macro with_sum_so_far(relation, value, series) -%}
    (
        select
            *,
            {{ sum_of_series('running_sum', value, series) }} as {{ value }}_so_far
        from (
            select
                *,
                {{ running_sum(value, series) }} as running_sum
            from {{ relation }}
        ) as added_up
    )
{%- endmacro %}

{# Sum of the squared distances of n values from their mean, from their sum and the sum of their squares; what is left of
   the last digits of the squares is nothing. #}
{% macro squares_around_mean(total, squares, n) -%}
    case
        when {{ squares }} - {{ total }} * {{ total }} / {{ n }} > 1e-14 * {{ squares }}
            then {{ squares }} - {{ total }} * {{ total }} / {{ n }}
        when {{ squares }} is not null and {{ total }} is not null then 0.0
    end
{%- endmacro %}

{# The same of the products of n pairs. #}
{% macro products_around_means(x, y, products, n) -%}
    ({{ products }} - {{ x }} * {{ y }} / {{ n }})
{%- endmacro %}

{# A table expression with the latest `session_date` that at least half of the rows of a table have reached. #}
{% macro at_least_half_have(name, rows) -%}
    {{ name }} as (
        select session_date
        from (
            select
                session_date,
                row_number() over (order by session_date desc) as place,
                count(*) over () as rows_in_all
            from {{ rows }}
        ) as in_order
        where place = cast(ceil(rows_in_all / 2) as integer)
    )
{%- endmacro %}
