"""Broken bytes and bombs in the drop folder: a clear refusal, within bounded memory, in a process of their own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import PROJECT_ROOT
from tests.bombs import BOMBS, LARGEST

# Megabytes that reading any one file may take, the interpreter's 150 among them; docs/reliability.md promises it.
MOST_MEMORY = 1024


def in_a_process(folder: Path, *command: str, seconds: float = 120) -> dict[str, Any]:
    """What a module of the tests prints as JSON."""
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


def test_broken_bytes(tmp_path: Path) -> None:
    report = in_a_process(tmp_path, "tests.file_fuzzer", "12", "1")
    assert report["files"] > 100
    assert 0 < report["taken"] < report["files"]
    assert report["peak_mb"] < MOST_MEMORY


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(10, 12))
def test_broken_bytes_for_long(tmp_path: Path, seed: int) -> None:
    report = in_a_process(tmp_path, "tests.file_fuzzer", "90", str(seed), seconds=300)
    assert report["files"] > 500
    assert report["peak_mb"] < MOST_MEMORY


def put(folder: Path, make: Callable[[Path], None], name: str) -> Path:
    drop = folder / "drop"
    drop.mkdir()
    make(drop / name)
    (drop / "GOOD.csv").write_text("Date,Close\n2026-01-30,1\n")
    return drop


@pytest.mark.parametrize(("make", "name", "says"), BOMBS, ids=[make.__name__ for make, _, _ in BOMBS])
def test_bombs(tmp_path: Path, make: Callable[[Path], None], name: str, says: str) -> None:
    report = in_a_process(tmp_path, "tests.memory_of_a_file", str(put(tmp_path, make, name)))
    assert report["status"] == "malformed"
    assert report["detail"].startswith(name)
    assert says in report["detail"]
    assert report["good"] == "ok"
    assert report["peak_mb"] < MOST_MEMORY / 2


@pytest.mark.slow
@pytest.mark.parametrize(("make", "name"), LARGEST, ids=[make.__name__ for make, _ in LARGEST])
def test_the_largest_file_that_is_read(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    report = in_a_process(tmp_path, "tests.memory_of_a_file", str(put(tmp_path, make, name)))
    assert (report["status"], report["rows"]) == ("ok", 499_999)
    assert report["good"] == "ok"
    assert report["peak_mb"] < MOST_MEMORY
