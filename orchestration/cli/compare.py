"""Whether two builds of the tables hold the same, cell by cell.

Floats may differ in their last digits, because sums depend on the order of their terms; nothing else may differ: not a
NULL, not a date, not a text, not a row. Rows are matched by the table's grain.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, StrictUndefined

from orchestration.duckdb_io import identifier, literal

# Two floats are the same within this, relative; absolute where both are below 1.
TOLERANCE = ABSOLUTE = 1e-12
# Of tables that different engines have built: they add up in another order, and their logarithms differ.
BETWEEN_ENGINES = 1e-9

EXAMPLES = 5

_FLOATS = frozenset({"DOUBLE", "FLOAT"})


@dataclass(frozen=True)
class Difference:
    """One cell that differs, or one row that only one side has: then `column` is empty, and the values say which.

    `key` is the row, by the columns of the grain.
    """

    key: dict[str, Any]
    column: str
    left: Any
    right: Any


@dataclass(frozen=True)
class TableComparison:
    """What one table looks like on both sides.

    Attributes:
        rows, cells: on both sides, matched by the grain; the cells of rows that one side lacks are not among them.
        largest_difference: of two floats, relative to the larger one; to the size from which the tolerance is relative
            where both are below it: 1, or less where more is tolerated.
        differing_cells: beyond the tolerance.
        only_left, only_right: rows that the other side lacks.
        problem: why the tables cannot be compared, in one line; empty if they can.
        examples: the first few differences, by key.
    """

    table: str
    rows: int = 0
    cells: int = 0
    largest_difference: float = 0.0
    differing_cells: int = 0
    only_left: int = 0
    only_right: int = 0
    problem: str = ""
    examples: tuple[Difference, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.differing_cells or self.only_left or self.only_right or self.problem)


def compare(
    left: Path,
    right: Path,
    tables: Mapping[str, Sequence[str]],
    *,
    ignored: Collection[str] = (),
    tolerance: float = TOLERANCE,
    tolerances: Mapping[str, float] | None = None,
    done: Callable[[int, TableComparison], None] = lambda _, __: None,
) -> list[TableComparison]:
    """Compare tables of the same names in two DuckDB files; `done` is called after each, with how many are done.

    `tables` names for each table the columns of its grain, none for all; `ignored` columns may differ. `tolerance` is
    of two floats, relative to the larger one, and a difference of `ABSOLUTE` is none either; `tolerances` is by column.
    """
    found = []
    with _both(left, right, ABSOLUTE / tolerance) as connection:
        for number, (table, grain) in enumerate(tables.items(), 1):
            found.append(_compare_table(connection, table, tuple(grain), ignored, tolerance, tolerances or {}))
            done(number, found[-1])
    return found


@contextmanager
def _both(left: Path, right: Path, smallest: float) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"attach {literal(left)} as left_side (read_only)")
        connection.execute(f"attach {literal(right)} as right_side (read_only)")
        for macro in _MACROS:
            connection.execute(_render(macro, smallest=smallest))
        yield connection


def _compare_table(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    grain: tuple[str, ...],
    ignored: Collection[str],
    tolerance: float,
    tolerances: Mapping[str, float],
) -> TableComparison:
    columns, others = (_columns(connection, side, table) for side in ("left_side", "right_side"))
    for name, here in (("first", columns), ("second", others)):
        if not here:
            return TableComparison(table, problem=f"the {name} side has no such table")
    if columns != others:
        differing = sorted({name for name, _ in columns.items() ^ others.items()}) or ["their order"]
        return TableComparison(table, problem=f"columns or types differ: {', '.join(differing)}")
    grain = grain or tuple(name for name in columns if name not in ignored)
    values = {
        name: (kind in _FLOATS, tolerances.get(name, tolerance))
        for name, kind in columns.items()
        if name not in grain and name not in ignored
    }
    asked = {"table": table, "grain": grain, "values": values}
    for side in ("left_side", "right_side"):
        repeated = connection.execute(_render(_REPEATED, side=side, **asked)).fetchone()
        if repeated:
            return TableComparison(table, problem=f"{dict(zip(grain, map(str, repeated), strict=False))} stands twice")
    counts = connection.execute(_render(_COUNTS, **asked)).fetchone()
    assert counts is not None  # noqa: S101  (an aggregate without groups is one row)
    both, only_left, only_right, largest = counts[:4]
    by_column: dict[str, int] = dict(zip(values, counts[4:], strict=True))
    result = TableComparison(
        table,
        both,
        both * len(columns.keys() - set(ignored)),
        float(largest),
        sum(by_column.values()),
        only_left,
        only_right,
    )
    if result.equal:
        return result
    examples = _examples(connection, asked, [name for name, count in by_column.items() if count])
    return TableComparison(**{**result.__dict__, "examples": examples})


def _examples(
    connection: duckdb.DuckDBPyConnection, asked: Mapping[str, Any], differing: Sequence[str]
) -> tuple[Difference, ...]:
    found = []
    grain = asked["grain"]
    for row in connection.execute(_render(_MISSING, limit=EXAMPLES, **asked)).fetchall():
        found.append(Difference(dict(zip(grain, row, strict=False)), "", *row[len(grain) :]))
    for column in differing:
        for row in connection.execute(_render(_DIFFERING, limit=EXAMPLES, column=column, **asked)).fetchall():
            found.append(Difference(dict(zip(grain, row, strict=False)), column, *row[len(grain) :]))
    found.sort(key=lambda difference: [str(value) for value in difference.key.values()])
    return tuple(found[:EXAMPLES])


def _columns(connection: duckdb.DuckDBPyConnection, side: str, table: str) -> dict[str, str]:
    """Types by column."""
    return dict(
        connection.execute(
            "select column_name, data_type from duckdb_columns() where database_name = ? and schema_name = 'main'"
            " and table_name = ? order by column_index",
            [side, table],
        ).fetchall()
    )


# distance: of two floats, in the measure of the tolerance; NULL where one of them is NULL.
_MACROS = (
    """
    create temp macro distance(a, b) as case
        when a = b then 0.0
        when isfinite(a) and isfinite(b) then abs(a - b) / greatest(abs(a), abs(b), {{ smallest }})
        when a is not null and b is not null then cast('infinity' as double)
    end
    """,
    """
    create temp macro near(a, b, tolerance) as
        (a is null and b is null) or coalesce(distance(a, b) <= tolerance, false)
    """,
)

_JOINED = """
    (select *, true as {{ present }} from left_side.main.{{ name(table) }}) as a
    full outer join (select *, true as {{ present }} from right_side.main.{{ name(table) }}) as b
        on {% for key in grain %}{{ 'and ' if not loop.first }}a.{{ name(key) }} is not distinct from b.{{ name(key) }}
        {% endfor %}
"""

# A NULL in a grain would hide which side a row is on; this column never is one.
_SAME = """
    {%- macro same(column) -%}
        {%- set is_float, tolerance = values[column] -%}
        {%- if is_float -%} near(a.{{ name(column) }}, b.{{ name(column) }}, {{ tolerance }})
        {%- else -%} a.{{ name(column) }} is not distinct from b.{{ name(column) }}
        {%- endif -%}
    {%- endmacro -%}
"""

_REPEATED = """
    select {% for key in grain %}{{ name(key) }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ side }}.main.{{ name(table) }} group by all having count(*) > 1 order by all limit 1
"""

_COUNTS = (
    _SAME
    + """
    select
        count(case when a.{{ present }} is not null and b.{{ present }} is not null then 1 end),
        count(case when b.{{ present }} is null then 1 end),
        count(case when a.{{ present }} is null then 1 end),
        greatest(0.0
        {%- for column, (is_float, _) in values.items() if is_float %},
            coalesce(max(distance(a.{{ name(column) }}, b.{{ name(column) }})), 0.0)
        {%- endfor %})
        {%- for column in values %},
            count(
                case
                    when a.{{ present }} is not null and b.{{ present }} is not null and not ({{ same(column) }}) then 1
                end
            )
        {%- endfor %}
    from
"""
    + _JOINED
)

_MISSING = (
    """
    select
        {% for key in grain %}coalesce(a.{{ name(key) }}, b.{{ name(key) }}), {% endfor %}
        a.{{ present }} is not null, b.{{ present }} is not null
    from
"""
    + _JOINED
    + "where a.{{ present }} is null or b.{{ present }} is null order by all limit {{ limit }}"
)

_DIFFERING = (
    _SAME
    + """
    select
        {% for key in grain %}a.{{ name(key) }}, {% endfor %}
        a.{{ name(column) }}, b.{{ name(column) }}
    from
"""
    + _JOINED
    + """
    where a.{{ present }} is not null and b.{{ present }} is not null and not ({{ same(column) }})
    order by all limit {{ limit }}
"""
)

_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  (SQL, not a page)
_ENVIRONMENT.globals["name"] = identifier
# No column of a table is named so.
_ENVIRONMENT.globals["present"] = identifier("is on this side")


def _render(template: str, **values: Any) -> str:
    return _ENVIRONMENT.from_string(template).render(**values)
