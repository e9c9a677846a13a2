"""From which session on the warehouse may hold something else than the published version.

A build that comes to its end leaves, in tables of changes, from which session on it has replaced rows
(docs/decisions/0019-incremental-models.md); the record keeps the earliest of these since the publication. It stands
only while nothing is being changed and goes with everything that is not known: a whole build, one that did not end, one
of some models, a warehouse that somebody else has written to. Without it every session may have changed, which costs
time and is never wrong.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.files import write_text
from orchestration.transform.build_state import remove_records, state_of

# Columns that say from which session on an incremental build replaces rows, as `table.column`.
CHANGED_FROM = "int_changes.changed_from"
REVISED_FROM = "int_changes.revised_from"
RELATIVE_FROM = "int_relative_changes.changed_from"
RANKED_ON = "int_ranked_changes.session_date"
KNOWN = (CHANGED_FROM, REVISED_FROM, RELATIVE_FROM, RANKED_ON)

ALWAYS = dt.date.min
NEVER = dt.date.max


@dataclass(frozen=True)
class Changes:
    """What has changed in the warehouse since a publication.

    Attributes:
        version, published_at: which publication.
        warehouse: size and time of the last change of the file then, of its log too if there is one.
        since: by column of `KNOWN`, the earliest session that it has named; `NEVER` if it has named none.
    """

    version: int
    published_at: str
    warehouse: tuple[int, ...]
    since: dict[str, dt.date]


def note_published(record: Path, version: int, published_at: str, warehouse: Path) -> None:
    """Note that the warehouse holds what has just been published, nothing else."""
    _write(record, Changes(version, published_at, state_of(warehouse), dict.fromkeys(KNOWN, NEVER)))


def take_changes(record: Path, warehouse: Path) -> Changes | None:
    """The record, for `note_build`; it is taken away before the build changes what it is about."""
    found = _read(record, warehouse)
    remove_records(record)
    return found


def note_build(record: Path, before: Changes | None, warehouse: Path) -> None:
    """Note what an incremental build has changed that has come to its end; nothing, if it is not known what had before.

    Args:
        record: where it is noted.
        before: what `take_changes` gave before it began.
        warehouse: the DuckDB file, which nobody is writing to.
    """
    if before is None:
        return
    from orchestration.duckdb_io import reading

    since = {}
    with reading(warehouse) as connection:
        for name in KNOWN:
            table, column = name.split(".")
            # As text: it may be a date that Python has none for.
            found = connection.execute(f"select cast(min({column}) as varchar) from {table}").fetchone()  # noqa: S608
            named = NEVER if found is None or found[0] is None else _date(found[0])
            since[name] = min(before.since[name], named)
    _write(record, Changes(before.version, before.published_at, state_of(warehouse), since))


def changed_since(record: Path, version: int, published_at: str, warehouse: Path) -> Mapping[str, dt.date] | None:
    """By column of `KNOWN`, the earliest session it has named since this version was published; None: not known."""
    found = _read(record, warehouse)
    if found is None or (found.version, found.published_at) != (version, published_at):
        return None
    return found.since


def earliest(since: Mapping[str, dt.date] | None, columns: Iterable[str]) -> dt.date:
    """The first session that may have changed of a table of which these columns say it; `ALWAYS` if none does."""
    return min((since.get(name, ALWAYS) for name in columns), default=ALWAYS) if since else ALWAYS


def _read(record: Path, warehouse: Path) -> Changes | None:
    try:
        said = json.loads(record.read_text("utf-8"))
        found = Changes(
            int(said["version"]),
            str(said["published_at"]),
            tuple(said["warehouse"]),
            {name: dt.date.fromisoformat(said["since"][name]) for name in KNOWN},
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return found if found.warehouse == state_of(warehouse) else None


def _write(record: Path, changes: Changes) -> None:
    said = {
        "version": changes.version,
        "published_at": changes.published_at,
        "warehouse": list(changes.warehouse),
        "since": {name: day.isoformat() for name, day in changes.since.items()},
    }
    write_text(record, json.dumps(said, indent=2) + "\n")


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return ALWAYS
