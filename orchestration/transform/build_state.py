"""Records of how far the warehouse has come: a file with one fingerprint each, whole or absent.

`build.json` says what the tables were built from, which tests of dbt they passed and of which warehouse it says so,
`audit.json` which build the data checks let pass. A publication needs both, the same fingerprint, and every test; see
docs/decisions/0005-refresh-that-finds-nothing.md. `withheld.json` says why readers have not been given the latest
build; the next publication takes it away.
"""

import datetime as dt
import json
from collections.abc import Collection
from pathlib import Path

from orchestration.files import sync, write_text


def write_record(path: Path, fingerprint: str, tests: Collection[str] = (), warehouse: Path | None = None) -> None:
    """Replace a record.

    Args:
        path: of the record.
        fingerprint: of what the build was made from.
        tests: unique ids of the data tests that ran on the build and passed.
        warehouse: what was built; the record is about that file as it is now.
    """
    said = {"fingerprint": fingerprint, "warehouse": warehouse and state_of(warehouse)}
    write_text(path, json.dumps({**said, **({"tests": sorted(tests)} if tests else {})}))


def is_as_built(record: Path, warehouse: Path) -> bool:
    """Whether a warehouse is as its build left it: not if one of another day was put in its place."""
    try:
        state = json.loads(record.read_text("utf-8"))["warehouse"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    return bool(state == list(state_of(warehouse)))


def files_of(warehouse: Path) -> tuple[Path, Path]:
    """The DuckDB file and its log, which is there only while something of it has not been written back."""
    return warehouse, warehouse.with_name(f"{warehouse.name}.wal")


def state_of(warehouse: Path) -> tuple[int, ...]:
    """What differs after every change of the file, whoever made it, and is the same of a copy that keeps times."""
    facts = [path.stat() for path in files_of(warehouse) if path.is_file()]
    return tuple(number for fact in facts for number in (fact.st_size, fact.st_mtime_ns))


def write_reason(path: Path, reason: str) -> None:
    """Note, in one line, why the latest build is withheld from readers, and since when."""
    write_text(path, json.dumps({"reason": reason, "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}))


def read_reason(path: Path) -> tuple[str, str] | None:
    """Why the latest build is withheld from readers, and since when (UTC, ISO 8601); None if it is not."""
    try:
        said = json.loads(path.read_text("utf-8"))
        return str(said["reason"]), str(said["at"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def read_record(path: Path) -> str | None:
    """The fingerprint of a record; None where there is none, or none that can be read."""
    try:
        fingerprint = json.loads(path.read_text("utf-8"))["fingerprint"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return fingerprint if isinstance(fingerprint, str) and fingerprint else None


def read_tests(path: Path) -> frozenset[str]:
    """The data tests that passed, by a record; none where there is none, or none that can be read."""
    try:
        return frozenset(json.loads(path.read_text("utf-8")).get("tests", ()))
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return frozenset()


def remove_records(*paths: Path) -> None:
    """Take records back, before what they vouch for changes."""
    for path in paths:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync(path.parent)
