"""Faults drawn by lot: the same seed draws the same faults of the same code, half in Python, half in SQL.

Every place is as likely as every other one, so a long module gets more faults than a short one. Some of them change
nothing that anybody could see (a wait that is a second longer); the lot is not asked to know.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.faults.fault import Fault, Place, fault_at
from tests.faults.python_places import python_places
from tests.faults.sql_places import sql_places

SQL_FOLDERS = ("dbt_project/models", "dbt_project/macros")


@dataclass(frozen=True)
class Places:
    """Where faults can be put.

    Attributes:
        texts: of each file, by its path.
        python, sql: path and place, in the order of the paths and of the text.
    """

    texts: dict[str, str]
    python: list[tuple[str, Place]]
    sql: list[tuple[str, Place]]


def places_of(paths: Iterable[str], read: Callable[[str], str]) -> Places:
    """Every place of the pipeline's own code.

    Args:
        paths: the files of the repository.
        read: gives the text of one of them.
    """
    every = sorted(paths)
    python = [path for path in every if _lies_in(path, "orchestration") and path.endswith(".py")]
    sql = [path for path in every if path.endswith(".sql") and any(_lies_in(path, folder) for folder in SQL_FOLDERS)]
    texts = {path: read(path) for path in (*python, *sql)}
    return Places(
        texts,
        [(path, place) for path in python for place in python_places(texts[path])],
        [(path, place) for path in sql for place in sql_places(texts[path])],
    )


def draw(places: Places, seed: int, count: int) -> list[Fault]:
    """So many faults; of an odd number more than half is in Python."""
    faults = []
    for language, found, wanted in (("py", places.python, count - count // 2), ("sql", places.sql, count // 2)):
        # No secret depends on it.
        chosen = random.Random(seed).sample(found, wanted)  # noqa: S311
        faults += [
            fault_at(f"s{seed}-{language}{number:02d}", path, places.texts[path], place)
            for number, (path, place) in enumerate(chosen, start=1)
        ]
    return faults


def _lies_in(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
