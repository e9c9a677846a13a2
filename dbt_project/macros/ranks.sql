{# How many rows of a growing frame, the last one left out, have a value as large as its own; equal ones count. The frame
   ends with the row and the value is never NULL. n log n, where a join of each row with its past costs n squared. #}
{% macro earlier_as_large(value, window) -%}
    {{ adapter.dispatch('earlier_as_large', 'orewatch')(value, window) }}
{%- endmacro %}

{% macro default__earlier_as_large(value, window) -%}
    count(*) over {{ window }} - rank(order by {{ value }}) over {{ window }}
{%- endmacro %}

{# What follows an incremental build of a table with ranks: those that have moved on the sessions of a table of changes, of
   instruments without news too, whose rows stay as they are in everything else. Empty in a whole build. #}
{% macro take_over_ranks(ranks, changes) -%}
    {%- if is_incremental() -%}
        {%- set since = earliest(changes, 'session_date') -%}
        update {{ this }} as stored
        set rank_1d = moved.rank_1d, rank_21d = moved.rank_21d
        from (
            select ranks.*
            from {{ ranks }} as ranks
            inner join {{ changes }} as changes
                on
                    ranks.metal = changes.metal
                    and ranks.session_date = changes.session_date
            where ranks.session_date >= {{ since }}
        ) as moved
        where
            stored.symbol = moved.symbol
            and stored.session_date = moved.session_date
            and stored.session_date >= {{ since }}
            and (
                stored.rank_1d is distinct from moved.rank_1d
                or stored.rank_21d is distinct from moved.rank_21d
            )
    {%- endif -%}
{%- endmacro %}
