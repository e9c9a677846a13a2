{# Full refreshes of large markets, a batch of instruments after the other: what sorts and joins hold then fits into memory,
   and time grows with the rows. A model takes part if every relation that it reads and that has a row per bar stands in
   `of_batch`, and if no row of it needs one of another instrument. A market of few bars is one batch, and so is what
   a session brings to it; a corrected bar of a benchmark, with which everybody is compared, may not be.
   docs/decisions/0022-batches.md #}

{# The condition that stands for all instruments until `duckdb__create_table_as` says which; a comment, so that what is
   compiled runs as it is. #}
{% macro every_symbol() -%}
    true /* of the batch */
{%- endmacro %}

{# The rows of a relation that are of the instruments of the batch. #}
{% macro of_batch(relation) -%}
    (
        select *
        from {{ relation }}
        where {{ every_symbol() }}
    )
{%- endmacro %}

{# One condition for each batch, in the order of the symbols: some `bars_per_batch` of the bars that are read. #}
{% macro symbol_batches() -%}
    {%- set size, changes = var('bars_per_batch'), own_changed_range()[0] -%}
    {%- if is_incremental() -%}
        {%- set bars = '(select symbol, bars_read from ' ~ this.incorporate(path={'identifier': changes}) ~ ')' -%}
    {%- else -%}
        {%- set bars = '(select symbol, count(*) as bars_read from ' ~ source('raw', 'bars') ~ ' group by symbol)' -%}
    {%- endif -%}
    {%- set bounds = run_query(
        'select min(symbol), max(symbol) from ('
        ~ 'select *, floor((sum(bars_read) over (order by symbol) - bars_read) / ' ~ size ~ ') as batch from ' ~ bars
        ~ ') group by batch order by batch'
    ) -%}
    {%- set conditions = [] -%}
    {%- if bounds.rows | length > 1 -%}
        {%- for first, last in bounds.rows -%}
            {%- do conditions.append(
                "symbol between '" ~ (first | replace("'", "''")) ~ "' and '" ~ (last | replace("'", "''")) ~ "'"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(conditions or [every_symbol()]) }}
{%- endmacro %}

{# dbt's own, of which the first batch makes the table; the others are inserted. All of it is one transaction. A full
   refresh stores the rows of a batch in the order of their sessions: incremental builds read the last weeks or the last
   year of all instruments, and skip what is stored with older sessions. #}
{% macro duckdb__create_table_as(
    temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none
) -%}
    {%- set everything, batches = every_symbol(), [every_symbol()] -%}
    {%- if language == 'sql' and everything in compiled_code and model.resource_type == 'model' -%}
        {%- set batches = symbol_batches() -%}
        {%- if not is_incremental() -%}
            {%- set by = (config.get('meta') or {}).get('changed_by', 'session_date') -%}
            {%- set compiled_code = 'select * from (' ~ compiled_code ~ ') as in_order order by ' ~ by -%}
        {%- endif -%}
    {%- endif -%}
    {{ dbt.duckdb__create_table_as(
        temporary, relation, compiled_code | replace(everything, batches[0]), language, partitioned_by, sorted_by
    ) }}
    {%- for batch in batches[1:] %}
        ;
        insert into {{ relation }} by name
        {{ compiled_code | replace(everything, batch) }}
    {%- endfor %}
{%- endmacro %}
