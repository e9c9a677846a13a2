{# What follows an incremental build of a table with ranks: those that have moved on the sessions of a table of changes, of
   instruments without news too, whose rows stay as they are in everything else. Empty in a full refresh.

   In the order in which the rows are stored: a new instrument moves most ranks of its metal. DuckDB took half a minute
   for 36 million of them in this order, and had not done in half an hour in that of the ranking. #}
{% macro take_over_ranks(ranks, changes) -%}
    {%- if is_incremental() -%}
        {{ adapter.dispatch('take_over_ranks', 'orewatch')(ranks, changes) }}
    {%- endif -%}
{%- endmacro %}

{% macro default__take_over_ranks(ranks, changes) -%}
    {%- set since, until = earliest(changes, 'session_date'), latest(changes, 'session_date') -%}
    update {{ this }} as stored
    set rank_1d = moved.rank_1d, rank_21d = moved.rank_21d
    from (
        select
            earlier.rowid as stored_row,
            ranks.rank_1d,
            ranks.rank_21d
        from {{ this }} as earlier
        inner join {{ ranks }} as ranks
            on
                earlier.symbol = ranks.symbol
                and earlier.session_date = ranks.session_date
                and (
                    earlier.rank_1d is distinct from ranks.rank_1d
                    or earlier.rank_21d is distinct from ranks.rank_21d
                )
        inner join {{ changes }} as changes
            on
                ranks.metal = changes.metal
                and ranks.session_date = changes.session_date
        where
            earlier.session_date between {{ since }} and {{ until }}
            and ranks.session_date between {{ since }} and {{ until }}
        order by earlier.rowid
    ) as moved
    where stored.rowid = moved.stored_row
{%- endmacro %}

{# Spark updates no Parquet files: the table is written anew. #}
{% macro spark__take_over_ranks(ranks, changes) -%}
    {%- if execute -%}
        {%- set columns = [] -%}
        {%- for column in adapter.get_columns_in_relation(this) -%}
            {%- if column.name in ('rank_1d', 'rank_21d') -%}
                {%- do columns.append(
                    'case when moved.symbol is not null then moved.' ~ column.name ~ ' else stored.' ~ column.name
                    ~ ' end as ' ~ column.name
                ) -%}
            {%- else -%}
                {%- do columns.append('stored.' ~ column.name) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- do spark_write_anew(
            this,
            'select ' ~ columns | join(', ') ~ ' from ' ~ this ~ ' as stored'
            ~ ' left join (select ranks.* from ' ~ ranks ~ ' as ranks inner join ' ~ changes ~ ' as changes'
            ~ ' on ranks.metal = changes.metal and ranks.session_date = changes.session_date) as moved'
            ~ ' on stored.symbol = moved.symbol and stored.session_date = moved.session_date'
        ) -%}
    {%- endif -%}
{%- endmacro %}

{# For each of some large moves, how many returns are known up to it, and how many before it are as large: falls beside
   falls, rises beside rises, and none that spans a gap. Both relations have `symbol`, `session_date`, `bar_number`, `size`,
   `is_fall` and `spans_gap`. #}
{% macro returns_before(moves, returns) -%}
    {%- if is_incremental() or not ranks_over_frames() -%}
        {#- Few moves: each is held against every return before it. -#}
        select
            moves.symbol,
            moves.session_date,
            count(*) as returns_since_inception,
            count(
                case
                    when
                        moves.bar_number > earlier.bar_number
                        and moves.is_fall = earlier.is_fall
                        and moves.size <= earlier.size
                        and not earlier.spans_gap
                        then 1
                end
            ) as as_large
        from {{ moves }} as moves
        inner join {{ returns }} as earlier
            on
                moves.symbol = earlier.symbol
                and moves.bar_number >= earlier.bar_number
        group by moves.symbol, moves.session_date
    {%- else -%}
        {#- Windows over all bars are dear: used once, two ranks. Those of its kind span a gap too, or none do. -#}
        select
            symbol,
            session_date,
            returns_since_inception,
            case
                when spans_gap then as_large_of_its_side - as_large_of_its_kind
                else as_large_of_its_kind
            end as as_large
        from (
            select
                symbol,
                session_date,
                spans_gap,
                count(*) over so_far as returns_since_inception,
                {{ earlier_as_large('size', 'of_its_side') }} as as_large_of_its_side,
                {{ earlier_as_large('size', 'of_its_kind') }} as as_large_of_its_kind
            from {{ returns }}
            window
                so_far as (
                    partition by symbol
                    order by session_date
                    rows between unbounded preceding and current row
                ),
                of_its_side as (
                    partition by symbol, is_fall
                    order by session_date
                    rows between unbounded preceding and current row
                ),
                of_its_kind as (
                    partition by symbol, is_fall, spans_gap
                    order by session_date
                    rows between unbounded preceding and current row
                )
        ) as ranked
    {%- endif -%}
{%- endmacro %}
