"""No model says what DuckDB and Spark understand differently."""

from pathlib import Path

import pytest

from orchestration.settings import PROJECT_ROOT
from tests.portable_sql import MODELS, RULES, date_columns, findings, rendered

# For each rule a query that breaks it and one that says the same to both engines.
EXAMPLES = {
    "log": ("select log(close) from bars", "select ln(close), log10(close), log(2, close) from bars"),
    "asof join": (
        "select 1 from a asof join b on a.symbol = b.symbol and a.day >= b.day",
        "select 1 from a inner join b on a.symbol = b.symbol",
    ),
    "quoted name": ('select "close" from bars', "select close, 'close' as name from bars"),
    "order upwards with NULLs": (
        "select rank() over (order by return_1d) from returns",
        "select rank() over (order by return_1d desc nulls last), lag(x) over (order by session_date) from returns",
    ),
    "weekday": ("select dayofweek(session_date) from bars", "select year(session_date) from bars"),
    "date - date": (
        "select session_date - published_on from bars",
        "select session_date - interval 1 year, days_between(published_on, session_date) from bars",
    ),
    "regression aggregate": ("select corr(x, y) from bars", "select sum(x * y) from bars"),
    "decimal divided by a whole number": (
        "select 1.0 / count(*) from bars",
        "select close / 3, 1.0 / close, cast(1 as double) / count(*) from bars",
    ),
    "divided by a decimal": (
        "select sessions / 504.0 from bars",
        "select sessions / 504, close / cast(3 as double) from bars",
    ),
    "average of decimals": (
        "select avg(case when x > 0 then 1.0 when x <= 0 then 0 end) from bars",
        "select avg(cast(case when x > 0 then 1 else 0 end as double)), avg(x * 2.0) from bars",
    ),
    "replace by pattern": (
        "select regexp_replace(note, 'a', 'b') from bars",
        "select replace(note, 'a', 'b') from bars",
    ),
    "whole number of a number": (
        "select cast(volume / 64 as bigint) from bars",
        "select cast(floor(volume / 64) as bigint), cast(null as integer), cast(is_wide as integer) from bars",
    ),
}


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """The macros that sqlfluff loads are named from the top of the project."""
    monkeypatch.chdir(PROJECT_ROOT)


def test_every_rule_has_an_example() -> None:
    assert list(EXAMPLES) == [rule.name for rule in RULES]


@pytest.mark.parametrize("rule", EXAMPLES)
def test_what_differs_is_found(rule: str) -> None:
    differs, same = EXAMPLES[rule]
    dates = frozenset({"session_date", "published_on"})
    assert [finding.split(":")[0] for finding in findings(differs, dates)] == [rule]
    assert findings(same, dates) == []


@pytest.mark.parametrize("model", sorted(MODELS.rglob("*.sql")), ids=lambda path: path.stem)
def test_models_say_the_same_to_both_engines(model: Path) -> None:
    assert {"session_date", "active_from", "published_on"} <= date_columns()
    sql = rendered(model)
    assert "{{" not in sql
    assert "select" in sql
    assert findings(sql, date_columns()) == []
