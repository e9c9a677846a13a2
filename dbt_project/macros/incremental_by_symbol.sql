{# The materialization of every table with rows of instruments. A full refresh builds all rows; an incremental build those
   that new bars can change, and puts them in the place of the stored ones. dbt_project/README.md tells it with a drawing.

   A model says in its meta, where it is not the usual:
     changed_ranges  columns, as `table.column`, from whose date on rows are replaced, symbol by symbol. The first is the
                     model's own; a publication goes by all of them (orchestration/publish/marts.py). Usual:
                     int_changes.changed_from; an empty list: rows with the `unique_key` of those that were built
     changed_by      the date of the rows that is held against it. Usual: session_date
     changed_keys    columns by which rows are replaced instead of symbol and date
     rebuilt         a condition of rows that are built every time; `true`: all rows
     part_of         of an ephemeral model: the table that it is a part of, with which it reads all rows or those that changed
     in_batches      false: built in one piece, however large the market #}
{% materialization incremental_by_symbol, default, supported_languages=['sql'] -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- if is_incremental() -%}
        {%- do adapter.dispatch('replace_changed_rows', 'orewatch')(target_relation, changed_rows_of(sql)) -%}
    {%- else -%}
        {%- do adapter.dispatch('store_all_rows', 'orewatch')(target_relation, sql) -%}
    {%- endif -%}
    {%- do persist_docs(target_relation, model) -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{%- endmaterialization %}

{# dbt's own, for this materialization, and for an ephemeral model that is a part of one table. A unit test has no `this`. #}
{% macro is_incremental() -%}
    {%- set whole = model.config.meta.get('part_of') -%}
    {%- set table = this.incorporate(path={'identifier': whole}) if this and whole else this -%}
    {%- set stored = load_cached_relation(table) if execute and table else none -%}
    {{ return(
        stored is not none
        and stored.is_table
        and (whole is not none or model.config.materialized == 'incremental_by_symbol')
        and not should_full_refresh()
    ) }}
{%- endmacro %}

{# Where it stands from which session on rows of the model, or of the one with this meta, are replaced: a table and its column;
   none, if nowhere. #}
{% macro own_changed_range(meta=none) -%}
    {%- set ranges = (meta or config.get('meta') or {}).get('changed_ranges', ['int_changes.changed_from']) -%}
    {{ return(ranges[0].split('.') if ranges else none) }}
{%- endmacro %}

{# The rows of a model's query that take the place of stored ones: others were only looked back to. #}
{% macro changed_rows_of(query) -%}
    {%- set meta, own = config.get('meta') or {}, own_changed_range() -%}
    {%- if not own or meta.get('rebuilt') == 'true' -%}
        {{ return(query) }}
    {%- endif -%}
    select built.*
    from (
        {{ query }}
    ) as built
    where
        ({{ is_in_range('built', this.incorporate(path={'identifier': own[0]}), own[1], meta) }})
        {%- if 'rebuilt' in meta %}
        or ({{ meta['rebuilt'] }})
        {%- endif %}
{%- endmacro %}

{# The first and the last symbol of each batch: instruments one after the other, of some `bars_per_batch` of the bars that
   are read. What sorts and joins hold then fits into memory, and time grows with the rows. A market of few bars is one
   batch, and so is what a session brings to it; a corrected bar of a benchmark, with which everybody is compared, may not
   be. docs/decisions/0022-batches.md #}
{% macro symbol_batches() -%}
    {%- set meta, own = config.get('meta') or {}, own_changed_range() -%}
    {%- if not meta.get('in_batches', true) or 'rebuilt' in meta or (is_incremental() and not own) -%}
        {{ return([(none, none)]) }}
    {%- endif -%}
    {%- if is_incremental() -%}
        {%- set bars = '(select symbol, bars_read from ' ~ this.incorporate(path={'identifier': own[0]}) ~ ')' -%}
    {%- else -%}
        {%- set bars = '(select symbol, count(*) as bars_read from ' ~ source('raw', 'bars') ~ ' group by symbol)' -%}
    {%- endif -%}
    {%- set bounds = run_query(
        'select min(symbol), max(symbol) from ('
        ~ 'select *, floor((sum(bars_read) over (order by symbol) - bars_read) / ' ~ var('bars_per_batch') ~ ') as batch'
        ~ ' from ' ~ bars ~ ') group by batch order by batch'
    ) -%}
    {{ return(bounds.rows if bounds.rows | length > 1 else [(none, none)]) }}
{%- endmacro %}

{# The statements that make a table of a query, batch by batch. `read` reads what is of the batch; of other rows that a
   query may yield none is stored twice. #}
{% macro create_in_batches(temporary, relation, query, order=none) -%}
    {%- set name = relation.include(database=not temporary, schema=not temporary) -%}
    {%- set batches = symbol_batches() -%}
    {%- if batches | length > 1 -%}
        {%- set query = 'select of_batch.* from (' ~ query ~ ') as of_batch where ' ~ in_batch('of_batch') -%}
    {%- endif -%}
    {%- if order -%}
        {%- set query = 'select * from (' ~ query ~ ') as in_order order by ' ~ order -%}
    {%- endif -%}
    {#- A build that stopped between two batches has left its own. -#}
    reset variable first_symbol;
    reset variable last_symbol;
    {%- for first, last in batches %}
        {%- if first is not none %}
            set variable first_symbol = '{{ first | replace("'", "''") }}';
            set variable last_symbol = '{{ last | replace("'", "''") }}';
        {%- endif %}
        {%- if loop.first %}
            {{ create_table_as(temporary, relation, query) }};
        {%- else %}
            insert into {{ name }} by name {{ query }};
        {%- endif %}
        {%- if loop.last and first is not none %}
            reset variable first_symbol;
            reset variable last_symbol;
        {%- endif %}
    {%- endfor -%}
{%- endmacro %}

{# In the order of sessions: incremental builds read the last weeks or the last year of all instruments, and skip what is
   stored with older sessions. All of it is one transaction. #}
{% macro default__store_all_rows(relation, query) -%}
    {%- set meta, stored = config.get('meta') or {}, load_cached_relation(relation) -%}
    {%- set built = relation if stored is none else make_intermediate_relation(relation) -%}
    {%- set order = none if meta.get('rebuilt') == 'true' else meta.get('changed_by', 'session_date') -%}
    {%- call statement('main') -%}
        {{ create_in_batches(false, built, query, order) }}
    {%- endcall -%}
    {%- if stored is not none -%}
        {%- do adapter.drop_relation(stored) -%}
        {%- do adapter.rename_relation(built, relation) -%}
    {%- endif -%}
{%- endmacro %}

{% macro default__replace_changed_rows(relation, query) -%}
    {%- set meta, own = config.get('meta') or {}, own_changed_range() -%}
    {%- set built = make_temp_relation(relation).include(database=false, schema=false) -%}
    {%- call statement('built') -%}
        {{ create_in_batches(true, built, query) }}
    {%- endcall -%}
    {#- A model that was edited needs a full refresh: a column that is gone would be NULL from here on. -#}
    {%- do process_schema_changes('fail', built, relation) -%}
    {%- call statement('main') -%}
        {%- if meta.get('rebuilt') == 'true' -%}
            delete from {{ relation }};
        {%- else -%}
            {%- if own -%}
                delete from {{ relation }} as stored
                using {{ relation.incorporate(path={'identifier': own[0]}) }} as changes
                where {{ is_replaced('stored', 'changes', own[1], meta) }};
            {%- endif -%}
            {%- if 'rebuilt' in meta %}
                delete from {{ relation }}
                where {{ meta['rebuilt'] }};
            {%- endif -%}
            {%- if config.get('unique_key') %}
                delete from {{ relation }} as stored
                using {{ built }} as built
                where
                {%- for key in config.get('unique_key') %}
                    stored.{{ key }} = built.{{ key }}{{ ' and' if not loop.last }}
                {%- endfor %};
            {%- endif -%}
        {%- endif %}
        insert into {{ relation }} by name
        select * from {{ built }};
        drop table {{ built }};
    {%- endcall -%}
{%- endmacro %}
