"""What lies on the disk of Spark's builds, without Spark."""

from pathlib import Path

from orchestration.transform.spark_tables import SCHEMA, start_over, tables


def test_a_whole_build_begins_without_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "spark"
    for _ in range(2):
        start_over(folder)
        assert list(folder.iterdir()) == []
        (folder / "tables" / f"{SCHEMA}.db" / "returns").mkdir(parents=True)
        (folder / "metastore").mkdir()
    assert list(tables(folder)) == ["returns"]
