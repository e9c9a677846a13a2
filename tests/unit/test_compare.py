"""What counts as the same cell, and what is said of one that is not."""

from pathlib import Path

import duckdb
import pytest

from orchestration.cli.compare import TableComparison, compare

KEYS = {"t": ("symbol", "day")}


def file(folder: Path, name: str, *rows: str, columns: str = "symbol, day, price, note") -> Path:
    path = folder / f"{name}.duckdb"
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table t as select * from (values {', '.join(rows)}) as v({columns})")  # noqa: S608
    return path


def compared(folder: Path, left: str, right: str, **options: object) -> TableComparison:
    """Two tables of one row beside a row that both have."""
    same = "('B', date '2026-01-05', 1.5::double, 'x')"
    sides = (file(folder, side, same, row) for side, row in (("left", left), ("right", right)))
    (result,) = compare(*sides, KEYS, **options)  # type: ignore[arg-type]
    return result


ROW = "('A', date '2026-01-05', {}::double, {})"


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("1000", "1000 + 9e-10", True),
        ("1000", "1000 + 2e-9", False),
        ("0", "9e-13", True),
        ("0", "2e-12", False),
        ("-5e-13", "5e-13", True),
        ("1", "-1", False),
        ("null", "null", True),
        ("null", "0", False),
        ("0", "null", False),
        ("'nan'", "'nan'", True),
        ("'nan'", "null", False),
        ("'nan'", "1", False),
        ("'infinity'", "'infinity'", True),
        ("'infinity'", "'-infinity'", False),
        ("'infinity'", "1e308", False),
    ],
)
def test_floats(left: str, right: str, equal: bool, tmp_path: Path) -> None:
    found = compared(tmp_path, ROW.format(left, "'x'"), ROW.format(right, "'x'"))
    assert found.equal is equal
    assert (found.rows, found.cells, found.differing_cells) == (2, 8, int(not equal))


@pytest.mark.parametrize(("left", "right"), [("'x'", "'y'"), ("null", "''"), ("'x'", "null")])
def test_everything_else_is_compared_exactly(left: str, right: str, tmp_path: Path) -> None:
    found = compared(tmp_path, ROW.format(1, left), ROW.format(1, right))
    assert not found.equal
    (example,) = found.examples
    assert (example.key["symbol"], example.column) == ("A", "note")
    assert compared(tmp_path, ROW.format(1, left), ROW.format(1, right), ignored={"note"}).equal


def test_rows_of_one_side_only(tmp_path: Path) -> None:
    found = compared(tmp_path, ROW.format(1, "'x'"), ROW.format(1, "'x'").replace("05", "06"))
    assert (found.rows, found.only_left, found.only_right, found.differing_cells) == (1, 1, 1, 0)
    assert [(str(e.key["day"]), e.left, e.right) for e in found.examples] == [
        ("2026-01-05", True, False),
        ("2026-01-06", False, True),
    ]


def test_a_column_may_have_a_tolerance_of_its_own(tmp_path: Path) -> None:
    left, right = ROW.format(1, "'x'"), ROW.format(1.0000005, "'x'")
    assert not compared(tmp_path, left, right).equal
    found = compared(tmp_path, left, right, tolerances={"price": 1e-6})
    assert found.equal
    assert found.largest_difference == pytest.approx(5e-7, rel=1e-3)


def test_tables_that_cannot_be_compared(tmp_path: Path) -> None:
    one = file(tmp_path, "one", ROW.format(1, "'x'"))
    (found,) = compare(one, file(tmp_path, "two", ROW.format(1, 5)), KEYS)
    assert found.problem == "columns or types differ: note"
    (found,) = compare(one, file(tmp_path, "two", "('A', 1)", columns="symbol, day"), KEYS)
    assert found.problem == "columns or types differ: day, note, price"
    (found,) = compare(one, one, {"other": ()})
    assert found.problem == "the first side has no such table"
    twice = file(tmp_path, "two", ROW.format(1, "'x'"), ROW.format(2, "'x'"))
    (found,) = compare(one, twice, KEYS)
    assert "stands twice" in found.problem
    assert not found.equal


def test_a_table_without_a_grain_is_compared_by_all_its_columns(tmp_path: Path) -> None:
    one, two = file(tmp_path, "one", ROW.format(1, "null")), file(tmp_path, "two", ROW.format(1, "null"))
    (found,) = compare(one, two, {"t": ()})
    assert (found.equal, found.rows, found.cells) == (True, 1, 4)
    (found,) = compare(one, file(tmp_path, "two", ROW.format(2, "null")), {"t": ()})
    assert (found.only_left, found.only_right) == (1, 1)
