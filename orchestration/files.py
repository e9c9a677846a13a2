"""Files of a home: written whole and for good, linked, locked; and what the disk cannot do, in words for people."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestration.market.errors import SettingsError

_DAMAGED = "a database of Dagster is damaged"
# SQLite, which holds Dagster's runs and the outbox of alerts, says it in words of its own.
_SQLITE = {
    "database or disk is full": "no space is left",
    "attempt to write a readonly database": "it cannot be written to",
    "unable to open database file": "it cannot be written to",
    "disk i/o error": "the disk reports an error",
    "disk image is malformed": _DAMAGED,
    "file is not a database": _DAMAGED,
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
_GIVE = "free the disk, give the home to the user who refreshes, or set OREWATCH_HOME"
# What a person can do; of the rest nobody knows better than to make room.
_REMEDIES = {
    _SYSTEM[errno.EROFS]: _WRITABLE,
    _SYSTEM[errno.EACCES]: _WRITABLE,
    _DAMAGED: "put a copy of the source's folder dagster/ back, or move it away, which loses the list of runs only",
}
_UNFIT = (
    "{folder}: its file system has no {lacks}, which a home needs; choose a folder on a local disk (ext4, xfs, APFS):"
    " set OREWATCH_HOME, or DAGSTER_HOME if that names it"
)
# SQLite calls a full disk an I/O error too, and what the failed run had in scratch files is free again when it is told.
_NOTHING_LEFT_MB = 0.25
_LITTLE_LEFT_MB = 64


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replace a file in one rename, so that readers and a killed run find the old one, the new one or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.next")
    with temporary.open("w", encoding="utf-8") as sink:
        sink.write(text)
        sink.flush()
        os.fsync(sink.fileno())
    temporary.replace(path)
    sync(path.parent)


def remove(*paths: Path) -> None:
    """Take files away for good, in this order."""
    for path in paths:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync(path.parent)


def link(original: Path, copy: Path) -> None:
    """The same immutable file under another name; a copy where the file system has no links."""
    try:
        os.link(original, copy)
    except OSError:
        shutil.copy2(original, copy)


def cannot_be_written(error: OSError, where: Path) -> str:
    """One line about a folder in which something cannot be written, and what of it if the error says that."""
    what = error.filename if str(error.filename).startswith(str(where)) else where
    return f"{what}: cannot be written ({error.strerror or error}); {_GIVE}"


def must_lock(folder: Path) -> None:
    """Try whether a file in a folder can be locked.

    Raises:
        SettingsError: the file system has no locks.
        OSError: it is full or cannot be written to.
    """
    with tempfile.TemporaryFile(dir=folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(_UNFIT.format(folder=folder, lacks=f"locks (flock: {error.strerror})")) from error


def must_link(folder: Path) -> None:
    """Try whether a folder can hold symbolic links; hard links a home can do without.

    Raises:
        SettingsError: the file system has none.
        OSError: it is full or cannot be written to.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tried-") as tried:
        try:
            Path(tried, "link").symlink_to("nothing")
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise SettingsError(_UNFIT.format(folder=folder, lacks=f"symbolic links ({error.strerror})")) from error


def disk_error(error: BaseException, home: Path) -> str | None:
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
            what = next((meaning for words, meaning in _SQLITE.items() if words in text), None)
        if what is None:
            continue
        if what == _SYSTEM[errno.EIO] and (free := _free_mb(home)) < _LITTLE_LEFT_MB:
            full = _SYSTEM[errno.ENOSPC]
            what = full if free < _NOTHING_LEFT_MB else f"{what}, with {free:.1f} MB free most likely because {full}"
        return f"{where}: {what}; nothing that was stored or published is lost: {_REMEDIES.get(what, _FREE)}"
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
