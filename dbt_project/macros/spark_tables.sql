{# How Spark keeps what dbt-duckdb keeps by itself: sources are views of the lake's Parquet files, tables are folders of
   Parquet files, which nobody can delete rows from. An incremental build therefore writes a table anew, from the rows
   that stay and those that were built, and takes the old one's place with it. What is killed between leaves no record of
   a finished build, so the next build is a whole one. docs/decisions/0023-spark.md #}

{# Views of all sources, before anything reads them. Where they lie is said once, for DuckDB: read_parquet('...'). #}
{% macro register_sources() -%}
    {%- if execute and target.type == 'spark' -%}
        {%- for node in graph.sources.values() -%}
            {%- set location = modules.re.search("'(.*)'", node.config.external_location).group(1) -%}
            {%- set files = location.format(name=node.name, identifier=node.identifier).replace('`', '``') -%}
            {%- do run_query('create schema if not exists ' ~ node.schema) -%}
            {%- do run_query(
                'create or replace view ' ~ node.schema ~ '.' ~ node.identifier
                ~ ' as select * from parquet.`' ~ files ~ '`'
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{% macro spark__store_all_rows(relation, query) -%}
    {%- set stored = load_cached_relation(relation) -%}
    {%- if stored is not none -%}
        {%- do adapter.drop_relation(stored) -%}
    {%- endif -%}
    {%- call statement('main') -%}
        {{ create_table_as(false, relation, query) }}
    {%- endcall -%}
{%- endmacro %}

{% macro spark__replace_changed_rows(relation, query) -%}
    {%- set built = relation.incorporate(path={'identifier': relation.identifier ~ '__built'}) -%}
    {%- do adapter.drop_relation(built) -%}
    {%- call statement('main') -%}
        {{ create_table_as(false, built, query) }}
    {%- endcall -%}
    {%- set columns = adapter.get_columns_in_relation(relation) | map(attribute='name') | join(', ') -%}
    {%- do spark_write_anew(relation, spark_rows_after_build(relation, built, columns)) -%}
    {%- do adapter.drop_relation(built) -%}
{%- endmacro %}

{# A table with other rows, which a query gives that may read the table itself. #}
{% macro spark_write_anew(relation, query) -%}
    {%- set table = relation.incorporate(type='table') -%}
    {%- set next = table.incorporate(path={'identifier': table.identifier ~ '__next'}) -%}
    {%- do adapter.drop_relation(next) -%}
    {%- do run_query('create table ' ~ next ~ ' as ' ~ query) -%}
    {%- do adapter.drop_relation(table) -%}
    {%- do adapter.rename_relation(next, table) -%}
{%- endmacro %}

{# What the table holds after an incremental build: the stored rows that are not replaced, and those that were built. #}
{% macro spark_rows_after_build(stored, built, columns) -%}
    {%- set meta, own = config.get('meta') or {}, own_changed_range() -%}
    {%- if meta.get('rebuilt') != 'true' %}
        select {{ columns }}
        from {{ stored }} as stored
        {%- if own %}
        left anti join {{ stored.incorporate(path={'identifier': own[0]}) }} as changes
            on {{ is_replaced('stored', 'changes', own[1], meta) }}
        {%- endif %}
        {%- if config.get('unique_key') %}
        left anti join {{ built }} as built
            on
            {%- for key in config.get('unique_key') %}
                stored.{{ key }} = built.{{ key }}{{ ' and' if not loop.last }}
            {%- endfor %}
        {%- endif %}
        {%- if 'rebuilt' in meta %}
        where not coalesce({{ meta['rebuilt'] }}, false)
        {%- endif %}
        union all
    {%- endif %}
    select {{ columns }} from {{ built }}
{%- endmacro %}
