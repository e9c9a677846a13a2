{# How many rows of a growing frame, the last one left out, have a value as large as its own; equal ones count. The frame
   ends with the row and the value is never NULL. n log n, where a join of each row with its past costs n squared. #}
{% macro earlier_as_large(value, window) -%}
    {{ adapter.dispatch('earlier_as_large', 'orewatch')(value, window) }}
{%- endmacro %}

{% macro default__earlier_as_large(value, window) -%}
    count(*) over {{ window }} - rank(order by {{ value }}) over {{ window }}
{%- endmacro %}

{# What follows an incremental build of a table with ranks: those that have moved on the sessions of a table of changes, of
   instruments without news too, whose rows stay as they are in everything else. Empty in a whole build.

   In the order in which the rows are stored: a new instrument moves most ranks of its metal. DuckDB took half a minute
   for 36 million of them in this order, and had not done in half an hour in that of the ranking. #}
{% macro take_over_ranks(ranks, changes) -%}
    {%- if is_incremental() -%}
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
    {%- endif -%}
{%- endmacro %}
