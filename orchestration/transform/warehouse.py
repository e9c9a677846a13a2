"""The DuckDB file of the warehouse: what tells its states apart, and how a full refresh begins."""

from pathlib import Path

from orchestration.files import remove
from orchestration.home import Home


def files_of(warehouse: Path) -> tuple[Path, Path]:
    """The DuckDB file and its log, which is there only while something of it has not been written back."""
    return warehouse, warehouse.with_name(f"{warehouse.name}.wal")


def facts_of(warehouse: Path) -> tuple[int, ...]:
    """What differs after every change of the file, whoever made it, and is the same of a copy that keeps times."""
    facts = [path.stat() for path in files_of(warehouse) if path.is_file()]
    return tuple(number for fact in facts for number in (fact.st_size, fact.st_mtime_ns))


def start_over(home: Home, engine: str) -> None:
    """Take away what earlier builds have left, whatever state it is in: a full refresh needs nothing of it."""
    from orchestration.transform import spark_tables

    if engine == "spark":
        spark_tables.start_over(home.spark)
    elif home.warehouse.is_file():
        # Its log first: DuckDB would read one that lies beside a new file.
        remove(*reversed(files_of(home.warehouse)))
