"""What the disk did, in words for the person who can mend it."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

# SQLite, which holds Dagster's runs and the journal of alerts, says it in words of its own.
_SQLITE = {
    "database or disk is full": "no space is left",
    "attempt to write a readonly database": "it cannot be written to",
    "unable to open database file": "it cannot be written to",
    "disk i/o error": "the disk reports an error",
}
_SYSTEM = {
    errno.ENOSPC: "no space is left",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "it is mounted read-only",
    errno.EACCES: "it cannot be written to",
    errno.EPERM: "it cannot be written to",
    errno.EIO: "the disk reports an error",
}
_WRITABLE = "make it writable or set OREWATCH_HOME, then run it again"
_FREE = "free the disk or set OREWATCH_HOME, then run it again"
# What a person can do; of the rest nobody knows better than to make room.
_ADVICE = {_SYSTEM[errno.EROFS]: _WRITABLE, _SYSTEM[errno.EACCES]: _WRITABLE}
# SQLite calls a full disk an I/O error too, and what the failed run had in scratch files is free again when it is told.
_NOTHING_LEFT_MB = 0.25
_LITTLE_LEFT_MB = 64


def disk_fault(error: BaseException, home: Path) -> str | None:
    """One line about a full or unwritable disk, if that is what `error` comes from; None if it is something else.

    Args:
        error: what was raised; what caused it is looked at too.
        home: where everything is stored.
    """
    for cause in _causes(error):
        what = _SYSTEM.get(cause.errno or 0) if isinstance(cause, OSError) else None
        where = str(cause.filename) if isinstance(cause, OSError) and cause.filename else str(home)
        if what is None:
            text = str(cause).lower()
            what = next((said for words, said in _SQLITE.items() if words in text), None)
        if what is None:
            continue
        if what == _SYSTEM[errno.EIO] and (free := _free_mb(home)) < _LITTLE_LEFT_MB:
            full = _SYSTEM[errno.ENOSPC]
            what = full if free < _NOTHING_LEFT_MB else f"{what}, with {free:.1f} MB free most likely because {full}"
        return f"{where}: {what}; nothing that was stored or published is lost: {_ADVICE.get(what, _FREE)}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _free_mb(folder: Path) -> float:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    return shutil.disk_usage(existing).free / 2**20
