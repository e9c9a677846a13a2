{# What data tests look at; dbt calls this macro for each of them. After an incremental build: the rows that it built. The
   others passed when they were built, or there would have been no incremental build: a build of which a test fails is
   followed by a full refresh (orchestration/transform/build.py), and that is tested whole.
   Of a view of such rows the meta says `changed_ranges`, too. `--vars 'test_all_rows: true'` looks at everything. #}
{% macro get_where_subquery(relation) -%}
    {%- set tested = graph.nodes.get(model.attached_node) if execute else none -%}
    {%- if not tested or config.get('where') or flags.FULL_REFRESH or var('test_all_rows', false) -%}
        {{ return(default__get_where_subquery(relation)) }}
    {%- endif -%}
    {%- set meta = tested.config.meta -%}
    {%- set by_symbol = tested.config.materialized == 'incremental_by_symbol' and 'rebuilt' not in meta -%}
    {%- set own = own_changed_range(meta) if by_symbol or 'changed_ranges' in meta else none -%}
    {%- if by_symbol and not own -%}
        {#- It is built before int_changes is, and numbers its builds. -#}
        {%- set built = 'tested.build_number = (select max(numbers.build_number) from ' ~ relation ~ ' as numbers)' -%}
    {%- elif own and _has_news(relation) -%}
        {%- set changes = relation.incorporate(path={'identifier': own[0]}) -%}
        {%- set built = is_in_range('tested', changes, own[1], meta) -%}
    {%- else -%}
        {{ return(default__get_where_subquery(relation)) }}
    {%- endif -%}
    {{ return('(select tested.* from ' ~ relation ~ ' as tested where ' ~ built ~ ') as dbt_subquery') }}
{%- endmacro %}

{# Whether the last build was an incremental one. #}
{% macro _has_news(relation) -%}
    {%- set changes = load_cached_relation(relation.incorporate(path={'identifier': 'int_changes'})) -%}
    {{ return(changes and run_query('select 1 from ' ~ changes ~ ' limit 1').rows | length > 0) }}
{%- endmacro %}
