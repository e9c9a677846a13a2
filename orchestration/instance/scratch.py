"""Folders for work beside the warehouse, which nobody else reads and which do not outlive the work.

A folder belongs to whoever holds the lock on the file inside it. The operating system releases the lock when its last
holder ends, a child process that inherited it included. A folder without a holder is what a killed run left: the next
command removes it.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.files import must_lock

_PREFIX = ".scratch-"
_LOCK = "in-use"


@dataclass(frozen=True)
class Scratch:
    """A folder for one piece of work, and the descriptor of its lock; a child that is to keep it inherits that."""

    path: Path
    lock: int


@contextmanager
def scratch(root: Path) -> Iterator[Scratch]:
    """A new empty folder below `root`, removed in the end; what killed runs left there is removed first.

    Raises:
        SettingsError: `root` lies on a file system without locks.
        OSError: it cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    must_lock(root)
    sweep(root)
    path = root / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    path.mkdir()
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Scratch(path, lock)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep(root: Path) -> list[str]:
    """Remove the folders below `root` that nobody works in any more; returns their names."""
    return [path.name for path in sorted(root.glob(f"{_PREFIX}*")) if _is_abandoned(path) and _removed(path)]


def _removed(path: Path) -> bool:
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _is_abandoned(path: Path) -> bool:
    try:
        handle = os.open(path / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        # Killed between making the folder and its lock; or somebody else is between the two at this very moment.
        return not _is_running(path.name)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    # Between the lock file and its lock: the owner's process says so.
    return not (_is_running(path.name) and not any(p.name != _LOCK for p in path.iterdir()))


def _is_running(name: str) -> bool:
    """Whether the process that a folder is named after is there."""
    pid = name.removeprefix(_PREFIX).partition("-")[0]
    return pid.isdigit() and process_exists(int(pid))


def process_exists(pid: int) -> bool:
    """Whether a process of this machine has this id, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
