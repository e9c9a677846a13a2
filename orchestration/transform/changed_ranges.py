"""From which session on the warehouse may hold something else than the published version.

An incremental build leaves, in tables of changes, from which session on it has replaced rows
(docs/decisions/0019-incremental-models.md). A model's meta `changed_ranges` names the columns, as `table.column`, that
say this of its rows. The earliest session in each of them is kept since the publication. All of it is forgotten when it
is not known what has changed: after a full refresh, a build that did not end, a build of some models, a write to the
warehouse by somebody else. Then every session may have changed, which costs time and is never wrong.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel

from orchestration.transform.warehouse import facts_of

ALWAYS = dt.date.min
NEVER = dt.date.max


class ChangedRanges(BaseModel, frozen=True, extra="forbid"):
    """What has changed in the warehouse since a publication.

    Attributes:
        version, published_at: which publication.
        warehouse: sizes and times of the warehouse's files, of which this is true.
        since: by `table.column`, the earliest session that it has named; `NEVER` if it has named none.
    """

    version: int
    published_at: str
    warehouse: tuple[int, ...]
    since: dict[str, dt.date]


def nothing_changed(version: int, published_at: str, warehouse: Path, columns: Iterable[str]) -> ChangedRanges:
    """The warehouse holds what has just been published; the columns will say what changes."""
    return ChangedRanges(
        version=version,
        published_at=published_at,
        warehouse=facts_of(warehouse),
        since=dict.fromkeys(sorted(columns), NEVER),
    )


def still_true(known: ChangedRanges | None, warehouse: Path) -> ChangedRanges | None:
    """What is known, unless somebody else has written to the warehouse since."""
    return known if known is not None and known.warehouse == facts_of(warehouse) else None


def after_build(before: ChangedRanges | None, warehouse: Path) -> ChangedRanges | None:
    """What has changed after an incremental build that has ended; None if it is not known what had before.

    Args:
        before: what was known, and still true, when the build began.
        warehouse: the DuckDB file, which nobody is writing to.
    """
    if before is None:
        return None
    from orchestration.duckdb_io import identifier, reading

    since = {}
    with reading(warehouse) as connection:
        for name in before.since:
            table, column = map(identifier, name.split("."))
            # As text: it may be a date that Python has none for.
            found = connection.execute(f"select cast(min({column}) as varchar) from {table}").fetchone()  # noqa: S608
            named = NEVER if found is None or found[0] is None else _date(found[0])
            since[name] = min(before.since[name], named)
    return before.model_copy(update={"warehouse": facts_of(warehouse), "since": since})


def earliest(since: Mapping[str, dt.date] | None, columns: Iterable[str]) -> dt.date:
    """The first session that may have changed of a table of which these columns say it; `ALWAYS` if none does."""
    return min((since.get(name, ALWAYS) for name in columns), default=ALWAYS) if since else ALWAYS


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return ALWAYS
