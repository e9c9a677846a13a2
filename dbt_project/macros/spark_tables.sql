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

{% materialization incremental, adapter='spark', supported_languages=['sql'] -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set built = this.incorporate(path={'identifier': this.identifier ~ '__built'}, type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {{ run_hooks(pre_hooks) }}
    {%- if existing is none or existing.is_view or should_full_refresh() -%}
        {%- if existing is not none -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- call statement('main') -%}
            {{ create_table_as(false, target_relation, sql) }}
        {%- endcall -%}
    {%- else -%}
        {%- do adapter.drop_relation(built) -%}
        {%- call statement('main') -%}
            {{ create_table_as(false, built, sql) }}
        {%- endcall -%}
        {%- set columns = adapter.get_columns_in_relation(existing) | map(attribute='name') | join(', ') -%}
        {%- do spark_write_anew(target_relation, spark_rows_after_build(existing, built, columns)) -%}
        {%- do adapter.drop_relation(built) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [target_relation]}) }}
{%- endmaterialization %}

{# A table with other rows, which a query gives that may read the table itself. #}
{% macro spark_write_anew(relation, query) -%}
    {%- set table = relation.incorporate(type='table') -%}
    {%- set next = table.incorporate(path={'identifier': table.identifier ~ '__next'}) -%}
    {%- do adapter.drop_relation(next) -%}
    {%- do run_query('create table ' ~ next ~ ' as ' ~ query) -%}
    {%- do adapter.drop_relation(table) -%}
    {%- do adapter.rename_relation(next, table) -%}
{%- endmacro %}

{# What the table holds after an incremental build: the rows that its strategy does not replace, and those that were built.
   The strategies are those of macros/incremental.sql and dbt's own delete+insert. #}
{% macro spark_rows_after_build(existing, built, columns) -%}
    {%- set meta, strategy = config.get('meta') or {}, config.get('incremental_strategy') -%}
    {%- set table, changed_from = own_changed_range() -%}
    {%- set changes = existing.incorporate(path={'identifier': table}) -%}
    {%- if strategy != 'all_rows' %}
        select {{ columns }}
        from {{ existing }} as stored
        {%- if strategy == 'changed_rows' %}
        left anti join {{ changes }} as changes
            on
            {%- for key in meta.get('changed_keys', []) %}
                stored.{{ key }} = changes.{{ key }}{{ ' and' if not loop.last }}
            {%- else %}
                stored.symbol = changes.symbol
                and stored.{{ meta.get('changed_by', 'session_date') }}
                >= changes.{{ changed_from }}
            {%- endfor %}
        {%- endif %}
        {%- if config.get('unique_key') %}
        left anti join {{ built }} as built
            on
            {%- for key in config.get('unique_key') %}
                stored.{{ key }} = built.{{ key }}{{ ' and' if not loop.last }}
            {%- endfor %}
        {%- endif %}
        {%- if 'rebuilt' in meta %}
        where not ({{ meta['rebuilt'] }})
        {%- endif %}
        union all
    {%- endif %}
    select {{ columns }} from {{ built }}
{%- endmacro %}
