"""`BuildState`: how far the warehouse has come, and what that allows; one model, the file `build_state.json` of a home.

The file is replaced in one rename. Before a build changes the warehouse, everything is taken back that vouches for it;
it comes back when the build has ended. So whatever is killed and when, the file never claims more than is true. A file
that was cut short, or that a later Orewatch wrote, says nothing: docs/decisions/0034-build-state.md. Only the holder of
the refresh lock writes it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from orchestration.files import remove, write_text
from orchestration.transform.build_inputs import BuildInputs
from orchestration.transform.changed_ranges import ChangedRanges, nothing_changed, still_true
from orchestration.transform.earlier_files import earlier_files, read_earlier_files
from orchestration.transform.warehouse import facts_of

Fingerprint = Annotated[str, Field(min_length=1)]


class Built(BaseModel, frozen=True, extra="forbid"):
    """A build of all tables that has ended.

    Attributes:
        fingerprint: what it was made from; see `transform.fingerprint`.
        warehouse: sizes and times of the files that it left; None: not known.
        tests: unique ids of the data tests of dbt that passed.
    """

    fingerprint: Fingerprint
    warehouse: tuple[int, ...] | None = None
    tests: frozenset[str] = frozenset()

    def is_in(self, warehouse: Path) -> bool:
        """Whether a warehouse is as this build left it: not if one of another day was put in its place."""
        return self.warehouse == facts_of(warehouse)


class Blocked(BaseModel, frozen=True, extra="forbid"):
    """Why readers have not been given the latest build.

    Attributes:
        reason: in one line.
        since: UTC, ISO 8601.
    """

    reason: str
    since: str


class BuildState(BaseModel, frozen=True, extra="forbid"):
    """What is known of the warehouse of a home; of what is None, nothing.

    Attributes:
        schema_version: of the file.
        built: the last build of all tables, if nothing has begun to change them since.
        inputs: what that build was made with besides the bars; an incremental build needs the same.
        audited: fingerprint of the build that the data checks let pass.
        changed: from which session on the tables may differ from the published version.
        blocked: why the latest build is not what readers see; the next publication takes it away.
    """

    schema_version: Literal[1] = 1
    built: Built | None = None
    inputs: BuildInputs | None = None
    audited: Fingerprint | None = None
    changed: ChangedRanges | None = None
    blocked: Blocked | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """What a file says; of a home of an earlier revision, what its five files say."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls._of_earlier_files(path.parent)
        except ValueError:
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file."""
        write_text(path, self.model_dump_json(indent=2) + "\n")
        remove(*earlier_files(path.parent))

    @classmethod
    def _of_earlier_files(cls, folder: Path) -> Self:
        known = {}
        for name, part in read_earlier_files(folder).items():
            with suppress(ValueError):
                known[name] = getattr(cls.model_validate({name: part}), name)
        return cls(**known)


def convert_earlier_files(path: Path) -> str:
    """Put what the five files of an earlier revision say into one, and take them away; says so, if there are any."""
    found = earlier_files(path.parent)
    if not found:
        return ""
    BuildState.load(path).save(path)
    return f"{path.name} says from now on what was in {', '.join(file.name for file in found)}"


def take_back(path: Path) -> None:
    """Before a build changes the warehouse: nothing is known of it any more, but why publication is blocked."""
    BuildState(blocked=BuildState.load(path).blocked).save(path)


def block_publication(path: Path, reason: str) -> None:
    """Note, in one line, why readers are not given the latest build; it counts as not audited."""
    blocked = Blocked(reason=reason, since=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    BuildState.load(path).model_copy(update={"audited": None, "blocked": blocked}).save(path)


def changed_since(path: Path, version: int, published_at: str, warehouse: Path) -> Mapping[str, dt.date] | None:
    """By `table.column`, the earliest session it has named since this version was published; None: not known."""
    known = still_true(BuildState.load(path).changed, warehouse)
    is_of_it = known is not None and (known.version, known.published_at) == (version, published_at)
    return known.since if known is not None and is_of_it else None


def note_published(path: Path, version: int, published_at: str, warehouse: Path, columns: Iterable[str]) -> None:
    """Note that the warehouse holds what has just been published, nothing else, so that nothing is blocked.

    Args:
        path: of the state.
        version: which publication.
        published_at: when it was made.
        warehouse: the DuckDB file that was published.
        columns: which columns will say from which session on it changes, as `table.column`.
    """
    changed = nothing_changed(version, published_at, warehouse, columns)
    BuildState.load(path).model_copy(update={"changed": changed, "blocked": None}).save(path)
