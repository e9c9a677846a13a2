"""The manifest is read whole, or not at all."""

import threading
from pathlib import Path

import pytest

from orchestration.market.errors import SettingsError
from orchestration.transform import manifest

WHOLE = '{"unit_tests": {}, "child_map": {}, "nodes": {}, "sources": {}}'


def test_a_manifest_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(WHOLE[:30], "utf-8")
    writing = threading.Timer(0.2, path.write_text, [WHOLE, "utf-8"])
    writing.start()
    assert manifest.read_manifest(path)["nodes"] == {}
    writing.join()


def test_one_that_stays_cut_short_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "WAITS", (0.01,))
    path = tmp_path / "manifest.json"
    path.write_text(WHOLE[:30], "utf-8")
    with pytest.raises(SettingsError, match=r"manifest.json is not whole; run `make manifest`"):
        manifest.read_manifest(path)
