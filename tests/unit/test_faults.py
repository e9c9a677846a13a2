"""The faults of `make faults`: drawn alike every time, each in one place, and none that the code has outgrown."""

import ast
import re

import jinja2
import pytest

from orchestration.settings import PROJECT_ROOT
from tests.faults.chosen import CHOSEN, chosen_faults
from tests.faults.draw import Places, draw, places_of
from tests.faults.fault import fault_at
from tests.faults.python_places import python_places
from tests.faults.results import EVERYDAY, SURVIVED, Result, Results, table
from tests.faults.sql_places import sql_places


def read(path: str) -> str:
    return (PROJECT_ROOT / path).read_bytes().decode("utf-8")


@pytest.fixture(scope="module")
def places() -> Places:
    folders = ("orchestration", "dbt_project/models", "dbt_project/macros")
    found = (path for folder in folders for path in (PROJECT_ROOT / folder).rglob("*") if path.is_file())
    return places_of((path.relative_to(PROJECT_ROOT).as_posix() for path in found), read)


def faults_in(text: str, path: str = "orchestration/x.py") -> set[str]:
    find = python_places if path.endswith(".py") else sql_places
    return {fault_at("x", path, text, place).put_into(text) for place in find(text)}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_lot_draws_alike_and_each_fault_is_one_change_that_can_be_read(places: Places, seed: int) -> None:
    faults = draw(places, seed, 20)
    assert faults == draw(places, seed, 20)
    assert [fault.is_sql for fault in faults] == [False] * 10 + [True] * 10
    assert len({fault.key("a") for fault in faults}) == 20
    jinja = jinja2.Environment(extensions=["jinja2.ext.do"])  # noqa: S701
    for fault in faults:
        sound, broken = read(fault.path), fault.put_into(read(fault.path))
        assert broken != sound
        assert broken[: fault.place.start] == sound[: fault.place.start]
        assert broken[fault.place.start + len(fault.place.new) :] == sound[fault.place.end :]
        if fault.is_sql:
            # A statement of dbt's own.
            jinja.parse(re.sub(r"\{%-? *(?:end)?materialization.*?%\}", "", broken))
        else:
            assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(sound))


def test_another_seed_draws_other_faults(places: Places) -> None:
    assert {f.diff for f in draw(places, 1, 20)}.isdisjoint({f.diff for f in draw(places, 2, 20)})


def test_the_chosen_faults_stand_in_the_code() -> None:
    faults = chosen_faults(read)
    assert len({fault.id for fault in faults}) == len(faults) == 10
    assert all(fault.harm for fault in faults)
    for fault in faults:
        broken = fault.put_into(read(fault.path))
        if not fault.is_sql:
            assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(read(fault.path)))


def test_a_chosen_fault_whose_place_is_gone_says_so() -> None:
    with pytest.raises(ValueError, match="stands there 0 times"):
        chosen_faults(lambda path: "" if path == CHOSEN[-1].path else read(path))


def test_faults_of_python() -> None:
    assert faults_in("ok = a < b and (c) not in d\n") == {
        "ok = a <= b and (c) not in d\n",
        "ok = a < b or (c) not in d\n",
        "ok = a < b and (c) in d\n",
    }
    assert faults_in("x = not (1_000 + y)\n") == {"x = (1_000 + y)\n", "x = not (1_001 + y)\n"}
    assert faults_in("def f(x):\n    'Of 3.'\n    x.y = z\n    log.info(3)\n    return None\n") == {
        "def f(x):\n    'Of 3.'\n    pass\n    log.info(3)\n    return None\n"
    }


@pytest.mark.parametrize(
    "text",
    ["x: Annotated[int, 3]\n", "x = f'{y + 1} of 3'\n", "@cache(3)\ndef f() -> int: ...\n", "# 1 < 2\n", "print(3)\n"],
)
def test_words_and_types_are_left_alone(text: str) -> None:
    assert faults_in(text) == set()


def test_faults_of_sql() -> None:
    sql = "select a -- 1 < 2\nfrom b\nwhere a between 0.5 and '3'\n    and c <> d\n    and e = 1\n"
    assert faults_in(sql, "x.sql") == {
        sql.replace("and c", "or c"),
        sql.replace("and e", "or e"),
        sql.replace("<>", "="),
        sql.replace("e =", "e <>"),
        sql.replace("= 1", "= 2"),
        sql.replace("    and c <> d\n", ""),
        sql.replace("    and e = 1\n", ""),
    }


def test_faults_of_jinja_in_sql() -> None:
    assert faults_in("{{ config(x=1) }}{# 1 #}{% set n = 5 %}select {{ f('a < 1', n) }}, min(x)\n", "x.sql") == {
        "{{ config(x=1) }}{# 1 #}{% set n = 6 %}select {{ f('a < 1', n) }}, min(x)\n",
        "{{ config(x=1) }}{# 1 #}{% set n = 5 %}select {{ f('a < 1', n) }}, max(x)\n",
    }


def test_results_are_kept_and_told(tmp_path) -> None:
    first, second, *_ = chosen_faults(read)
    results = Results(tmp_path / "results.jsonl")
    results.add(Result(first.key("r"), first.id, first.diff, EVERYDAY, "tests/x.py::test_y", 1.0, False))
    results.add(Result(second.key("r"), second.id, second.diff, SURVIVED, "", 9.0, False))
    said = table([first, second], "r", results.read())
    assert "Of 2 faults tried 1 are found by make test, 1 by make test-all, which 1 survivors" in said
    assert f"Survived: {second.id}" in said
    assert "Of 0 faults" in table([first, second], "another revision", results.read())
