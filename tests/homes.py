"""Homes that many tests look at: made once in a test run, for all of its processes, and cloned by who changes them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first test that asks for it makes; whoever asks meanwhile waits.

    Args:
        factory: of temporary folders.
        name: of the folder; the same for all who want the same.
        make: fills the folder, which is there and empty.
    """
    base = factory.getbasetemp()
    # The folders of several processes lie beside each other.
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made_once"
    shared.mkdir(exist_ok=True)
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def clone(home: Path, folder: Path) -> Path:
    """A home of one's own that holds what another holds: hard links of what nobody writes into, copies of the rest."""
    for path in [home, *sorted(home.rglob("*"))]:
        there = folder / path.relative_to(home)
        if path.is_symlink():
            there.symlink_to(path.readlink())
        elif path.is_dir():
            there.mkdir(parents=True)
        elif path.suffix == ".parquet" or "versions" in path.parts:
            os.link(path, there)
        else:
            shutil.copy2(path, there)
    return folder
