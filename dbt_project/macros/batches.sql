{# Whole builds of large markets, a batch of instruments after the other: what sorts and joins hold then fits into memory,
   and time grows with the rows. A model takes part if every relation that it reads and that has a row per bar stands in
   `of_batch`, and if no row of it needs one of another instrument. A market of few bars is one batch, an incremental
   build goes without. docs/decisions/0022-batches.md #}

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

{# One condition for each batch, in the order of the symbols: some `bars_per_batch` bars. #}
{% macro symbol_batches() -%}
    {%- set bars, size = this.incorporate(path={'identifier': 'stg_delivered_bars'}), var('bars_per_batch') -%}
    {%- set conditions = [] -%}
    {%- if run_query('select count(*) from ' ~ bars).columns[0].values()[0] > size -%}
        {%- set bounds = run_query(
            'select min(symbol), max(symbol) from ('
            ~ 'select symbol, floor((sum(count(*)) over (order by symbol) - count(*)) / ' ~ size ~ ') as batch'
            ~ ' from ' ~ bars ~ ' group by symbol) group by batch order by batch'
        ) -%}
        {%- for first, last in bounds.rows -%}
            {%- do conditions.append(
                "symbol between '" ~ (first | replace("'", "''")) ~ "' and '" ~ (last | replace("'", "''")) ~ "'"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(conditions or [every_symbol()]) }}
{%- endmacro %}

{# dbt's own, of which the first batch makes the table; the others are inserted. All of it is one transaction. #}
{% macro duckdb__create_table_as(
    temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none
) -%}
    {%- set everything = every_symbol() -%}
    {%- if language == 'sql' and everything in compiled_code and not is_incremental() -%}
        {%- set batches = symbol_batches() -%}
    {%- else -%}
        {%- set batches = [everything] -%}
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
