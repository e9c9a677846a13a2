"""Constructs that DuckDB and Spark both take and read differently: no model may use them outside a dispatched macro.

The models are read as sqlfluff renders them, incremental, where a dispatched macro is a call of a function of its name:
what stands inside of such a macro is not looked at. What only one engine takes needs no rule: the other one says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sqlglot
import yaml
from sqlfluff.core import FluffConfig, Linter
from sqlglot import exp

from orchestration.settings import DBT_PROJECT_DIR, PROJECT_ROOT

MODELS = DBT_PROJECT_DIR / "models"

# What rows are ordered by, upwards: columns without NULLs.
NEVER_NULL = {
    *("session_date", "observed_at", "batch_id", "bar_number", "event", "day", "block", "specificity", "close_utc"),
    *("moment", "period_start", "peak_date"),
}


@dataclass(frozen=True)
class Rule:
    """A construct and what it means to the engines.

    Attributes:
        name: short name of the construct.
        why: what each engine makes of it.
        found: whether a node of the query is one, given the names of columns that are dates.
    """

    name: str
    why: str
    found: Callable[[exp.Expression, frozenset[str]], bool]


def _is_call(node: exp.Expression, *names: str) -> bool:
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in names
    return isinstance(node, exp.Func) and bool({name.lower() for name in node.sql_names()} & set(names))


def _is_date(node: exp.Expression, dates: frozenset[str]) -> bool:
    return (isinstance(node, exp.Column) and node.name in dates) or (
        isinstance(node, exp.Cast) and node.is_type("date")
    )


def _may_be_null(node: exp.Expression) -> bool:
    if isinstance(node, exp.Case):
        return node.args.get("default") is None
    return not (isinstance(node, exp.Column) and node.name in NEVER_NULL)


RULES = (
    Rule(
        "log",
        "log(x) is the decimal logarithm of DuckDB and the natural one of Spark: write ln or log10",
        lambda node, _: isinstance(node, exp.Log) and node.expression is None,
    ),
    Rule(
        "asof join",
        "Spark reads ASOF behind the name of a table as its alias and joins plainly",
        lambda node, _: isinstance(node, exp.Join) and (node.method or "").upper() == "ASOF",
    ),
    Rule(
        "quoted name",
        'to Spark "x" is a text, not a column',
        lambda node, _: isinstance(node, exp.Identifier) and bool(node.args.get("quoted")),
    ),
    Rule(
        "order upwards with NULLs",
        "DuckDB puts NULLs last and Spark first: order by a column of NEVER_NULL, or in a dispatched macro",
        lambda node, _: isinstance(node, exp.Ordered) and not node.args.get("desc") and _may_be_null(node.this),
    ),
    Rule(
        "weekday",
        "the engines number weekdays differently",
        lambda node, _: (
            _is_call(node, "dayofweek", "day_of_week", "weekday", "isodow", "dayofweek_iso", "dow")
            or (isinstance(node, exp.Extract) and node.name.lower() in ("dow", "isodow", "dayofweek", "weekday"))
        ),
    ),
    Rule(
        "date - date",
        "days to DuckDB, an interval to Spark: days_between",
        lambda node, dates: (
            isinstance(node, exp.Sub) and _is_date(node.this, dates) and _is_date(node.expression, dates)
        ),
    ),
    Rule(
        "regression aggregate",
        "of one row, or of rows that do not vary, NaN to DuckDB and NULL to Spark",
        lambda node, _: _is_call(
            node, "corr", "covar_samp", "regr_slope", "regr_intercept", "regr_r2", "regr_sxx", "regr_sxy", "regr_syy"
        ),
    ),
    Rule(
        "decimal divided by a whole number",
        "1.0 / 3 is a double to DuckDB and a decimal to Spark, whose averages and products are cut: cast to double",
        lambda node, _: (
            isinstance(node, exp.Div)
            and _is_decimal(node.this)
            and (_is_decimal(node.expression) or node.expression.is_int or isinstance(node.expression, exp.Count))
        ),
    ),
    Rule(
        "divided by a decimal",
        "a whole number / 504.0 is a double to DuckDB and a decimal to Spark: / 504 is a double to both",
        lambda node, _: (
            isinstance(node, exp.Div) and not _is_decimal(node.this) and _is_decimal(node.expression.unnest())
        ),
    ),
    Rule(
        "average of decimals",
        "a double to DuckDB and a decimal to Spark, cut after four more digits: cast to double",
        lambda node, _: isinstance(node, exp.Avg) and any(_is_decimal(value) for value in _values(node.this)),
    ),
    Rule(
        "replace by pattern",
        "regexp_replace replaces the first match in DuckDB and every one in Spark",
        lambda node, _: _is_call(node, "regexp_replace"),
    ),
    Rule(
        "whole number of a number",
        "cast(x as integer) rounds in DuckDB and cuts in Spark: floor, ceil or round first, or a flag",
        lambda node, _: (
            isinstance(node, exp.Cast)
            and node.to.this in exp.DataType.INTEGER_TYPES
            and isinstance(node.this, (exp.Div, exp.Mul, exp.Avg, exp.Median, exp.Pow, exp.Sqrt, exp.Ln, exp.Literal))
        ),
    ),
)


def _values(node: exp.Expression) -> list[exp.Expression]:
    """What an expression gives, by its branches."""
    if isinstance(node, exp.Case):
        branches = [branch.args["true"] for branch in node.args["ifs"]]
        return [value for branch in [*branches, node.args.get("default")] if branch for value in _values(branch)]
    return [node.unnest()]


def _is_decimal(node: exp.Expression) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string and "." in node.name and "e" not in node.name.lower()


def findings(sql: str, dates: frozenset[str] = frozenset()) -> list[str]:
    """What a rendered query must not use, a line each: the rule, the text that breaks it, and why."""
    return [
        f"{rule.name}: {node.sql('duckdb')[:80]} ({rule.why})"
        for tree in sqlglot.parse(sql, dialect="duckdb")
        if tree is not None
        for node in tree.walk()
        for rule in RULES
        if rule.found(node, dates)
    ]


@cache
def _linter() -> Linter:
    return Linter(config=FluffConfig.from_path(str(PROJECT_ROOT)))


def rendered(model: Path) -> str:
    """A model as sqlfluff reads it: without dbt, dispatched macros as calls."""
    linter = _linter()
    (variant, *_) = linter.render_file(str(model), linter.config).templated_variants
    return str(variant)


@cache
def date_columns() -> frozenset[str]:
    """Names that the sources and models give to dates, and to nothing else."""
    types: dict[str, set[str]] = {}
    for path in sorted(MODELS.rglob("*.yml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        tables = [*content.get("models", []), *(t for s in content.get("sources", []) for t in s["tables"])]
        for table in tables:
            for column in table.get("columns", []):
                if "data_type" in column:
                    types.setdefault(column["name"], set()).add(column["data_type"])
    return frozenset(name for name, found in types.items() if found == {"date"})
