"""A scratch folder goes with its work; one that was left behind goes with the next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.instance.scratch import scratch, sweep


def test_it_goes_with_its_work(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch(tmp_path) as work:
            (work.path / "table").write_text("rows")
            assert sweep(tmp_path) == []
            assert (work.path / "table").exists()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_behind_stays_while_a_child_works_in_it(tmp_path: Path) -> None:
    with scratch(tmp_path) as work:
        (work.path / "table").write_text("rows")
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(work.lock,))
        kept = tmp_path / "kept"
        work.path.rename(kept)  # so that the end of the block does not remove it
    abandoned = kept.rename(work.path)
    try:
        assert sweep(tmp_path) == []
        assert (abandoned / "table").exists()
    finally:
        child.communicate(b"\n", timeout=120)
    assert sweep(tmp_path) == [abandoned.name]
    assert not abandoned.exists()


def test_a_folder_without_a_lock_goes_unless_its_process_is_making_it(tmp_path: Path) -> None:
    (tmp_path / f".scratch-{os.getpid()}-00").mkdir()
    (tmp_path / ".scratch-99999999-00").mkdir()
    (tmp_path / "lake").mkdir()
    assert sweep(tmp_path) == [".scratch-99999999-00"]
    assert (tmp_path / "lake").is_dir()
