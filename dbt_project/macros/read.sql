{# What a model reads. A full refresh reads everything. An incremental build reads what the rows that it replaces look back
   to: the table int_changes says it. Of each symbol that has something new it has the first session whose rows are replaced
   (`changed_from`), and from where on bars are read to look back from there.
   docs/decisions/0019-incremental-models.md #}

{# The rows of a relation that a model reads, of the instruments of the batch.
   `lookback` says how far before the rows that are replaced: none of them, `70 bars`, `1 year` (310 bars at least), or
   `everything` that is stored. `changes` is the table that has the sessions, `by` the date of the relation's rows. #}
{% macro read(relation, lookback='none', changes='int_changes', by='session_date') -%}
    {%- set changes = incremental_ref(changes) if lookback != 'everything' else none -%}
    (
        select stored.*
        from {{ relation }} as stored
        {%- if changes and is_incremental() %}
            {%- set since = {
                'none': own_changed_range()[1], '70 bars': 'short_lookback_from', '1 year': 'long_lookback_from'
            }[lookback] %}
        inner join {{ changes }} as changed_symbols
            on stored.symbol = changed_symbols.symbol and stored.{{ by }} >= changed_symbols.{{ since }}
        where {{ in_batch('stored') }} and {{ within(changes, 'stored', since, by) }}
        {%- else %}
        where {{ in_batch('stored') }}
        {%- endif %}
    )
{%- endmacro %}

{# A table that only an incremental build reads. dbt has to see the reference whenever it reads the models, while a full
   refresh, and a unit test, does without the table. #}
{% macro incremental_ref(name) -%}
    {{ return(ref(name) if is_incremental() or not execute else none) }}
{%- endmacro %}

{# The first session of all symbols in a column of a table of changes, as a constant: a join on sessions skips nothing of
   what is stored, a comparison with a constant does. #}
{% macro earliest(changes, since, first='min') -%}
    {%- set query = 'select ' ~ first ~ '(' ~ since ~ ') from ' ~ changes -%}
    {%- set found = run_query(query).columns[0].values()[0] if execute else none -%}
    cast('{{ found or '9999-12-31' }}' as date)
{%- endmacro %}

{# The last one. #}
{% macro latest(changes, since) -%}
    {{ earliest(changes, since, 'max') }}
{%- endmacro %}

{# What rows of any changed symbol fulfil, for the same reason as constants; one corrected bar is then looked for where its
   symbol is stored, not in ten years of everybody. #}
{% macro within(changes, rows, since, by='session_date') -%}
    {%- set query = 'select min(' ~ since ~ '), min(symbol), max(symbol) from ' ~ changes -%}
    {%- set date, first, last = run_query(query).rows[0] if execute else (none, none, none) -%}
    {{ rows }}.{{ by }} >= cast('{{ date or '9999-12-31' }}' as date)
    {%- if first is not none %}
    and {{ rows }}.symbol between '{{ first | replace("'", "''") }}' and '{{ last | replace("'", "''") }}'
    {%- endif %}
{%- endmacro %}

{# The rows of a relation that an incremental build replaces; in a full refresh all of them. #}
{% macro changed_rows(relation) -%}
    {#- A unit test says that few are, and which. -#}
    {%- if is_incremental() or few_are_changed() -%}
        (
            select *
            from {{ relation }}
            where {{ in_changed_range(relation) }}
        )
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{# Whether a row is one of them. #}
{% macro in_changed_range(rows) -%}
    {{ is_in_range(rows, incremental_ref('int_changes'), 'changed_from') }}
{%- endmacro %}

{# Whether a row is replaced that a model with this meta has built or stored; `changed_from` is a column of `changes`. #}
{% macro is_in_range(rows, changes, changed_from, meta={}) -%}
    exists (
        select 1
        from {{ changes }} as changed_rows
        where {{ is_replaced(rows, 'changed_rows', changed_from, meta) }}
    )
    {%- if 'changed_keys' not in meta %}
    and {{ within(changes, rows, changed_from, meta.get('changed_by', 'session_date')) }}
    {%- endif %}
{%- endmacro %}

{# The same of a row beside the row of `changes` that replaces it. #}
{% macro is_replaced(rows, changes, changed_from, meta) -%}
    {%- for key in meta.get('changed_keys', []) -%}
        {{ rows }}.{{ key }} = {{ changes }}.{{ key }}{{ ' and ' if not loop.last }}
    {%- else -%}
        {{ rows }}.symbol = {{ changes }}.symbol
        and {{ rows }}.{{ meta.get('changed_by', 'session_date') }} >= {{ changes }}.{{ changed_from }}
    {%- endfor -%}
{%- endmacro %}

{# Whether an incremental build replaces few of the rows that it reads, as after a session, which looks a year back for a
   week of rows; not so a correction of long ago, or a new instrument. #}
{% macro few_are_changed() -%}
    {%- set changes = incremental_ref('int_changes') -%}
    {%- if is_incremental() and execute -%}
        {%- set counted = run_query('select 8 * sum(bars_changed) < sum(bars_read) from ' ~ changes) -%}
        {{ return(counted.columns[0].values()[0]) }}
    {%- endif -%}
    {{ return(false) }}
{%- endmacro %}

{# Rows as the model itself stored them: those of some weeks before the changed ones, with their session and these columns,
   which are names with their types. Symbols that are read from their first bar on have none. #}
{% macro carried_rows(columns) -%}
    {%- set changes = incremental_ref('int_changes') -%}
    select
    {%- if is_incremental() %}
        stored.symbol,
        stored.session_date
        {%- for name in columns %},
        stored.{{ name }}
        {%- endfor %}
    from {{ this }} as stored
    inner join {{ changes }} as changes
        on
            stored.symbol = changes.symbol
            and stored.session_date >= changes.short_lookback_from
            and stored.session_date < changes.changed_from
    where {{ in_batch('stored') }} and {{ within(changes, 'stored', 'short_lookback_from') }}
    {%- else %}
        cast(null as {{ dbt.type_string() }}) as symbol,
        cast(null as date) as session_date
        {%- for name, type in columns.items() %},
        cast(null as {{ type }}) as {{ name }}
        {%- endfor %}
    where false
    {%- endif -%}
{%- endmacro %}

{# What has been running since the first bar: of these rows the last one of each symbol, or the last one for which the
   condition holds. #}
{% macro carried_state(columns, condition='true') -%}
    select
        symbol,
        session_date
        {%- for name in columns %},
        {{ name }}
        {%- endfor %}
    from (
        select
            *,
            row_number() over (
                partition by symbol
                order by session_date desc
            ) as rows_back
        from (
            {{ carried_rows(columns) }}
        ) as carried
        where {{ condition }}
    ) as latest
    where rows_back = 1
{%- endmacro %}

{# The rows of a relation of the symbols that a query names, if they are few: as constants, with which all else is skipped.
   Only for queries on seeds and tables of changes, which are small. #}
{% macro of_symbols(relation, query) -%}
    {%- if execute -%}
        {%- set symbols = run_query(query).columns[0].values() -%}
        (
            select *
            from {{ relation }}
            {%- if not symbols %}
            where false
            {%- elif symbols | length <= 1000 %}
            where symbol in ('{{ symbols | map('replace', "'", "''") | join("', '") }}')
            {%- else %}
            where symbol in ({{ query }})
            {%- endif %}
        )
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{# The rows of a relation of the symbols that tables of changes name, since the first session that one of them changes: the
   latest row of each of these symbols is among them. With `since=none` all their rows, for what may have happened long ago. #}
{% macro of_changed_symbols(relation, changes, since='changed_from') -%}
    {%- if is_incremental() -%}
        {%- set names = "select symbol from " ~ changes | join(' union select symbol from ') -%}
        (
            select *
            from {{ of_symbols(relation, names) }}
            {%- if since %}
            where
                {%- for table in changes %}
                {{ 'or ' if not loop.first }}session_date >= {{ earliest(table, since) }}
                {%- endfor %}
            {%- endif %}
        )
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{# The versions of bars of symbols of which a bar has more than one; in an incremental build of those of which a later
   version has come. #}
{% macro of_revised_symbols(versions) -%}
    {%- set changes, watched = incremental_ref('int_changes'), source('control', 'instruments') -%}
    {%- if is_incremental() -%}
        {{ of_symbols(versions, 'select symbol from ' ~ changes ~ ' where revised_from is not null') }}
    {%- else -%}
        (
            select *
            from {{ versions }}
            where symbol in (
                select bars.symbol
                from {{ versions }} as bars
                inner join {{ watched }} as watched
                    on bars.symbol = watched.symbol
                group by bars.symbol
                having count(*) > count(distinct bars.session_date)
            )
        )
    {%- endif -%}
{%- endmacro %}
