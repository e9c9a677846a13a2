"""What a person is told to do next."""

import errno
from pathlib import Path

import pytest

from orchestration.cli.remediation import after_fetch, runbook
from orchestration.files import disk_error
from orchestration.settings import Settings
from orchestration.sources.base import FetchStatus
from tests.documents import anchors


def advice(settings: Settings, *statuses: str) -> list[str]:
    return after_fetch(settings.paths, settings.seeds, settings.files, statuses)


def test_one_line_for_each_class_of_error(tmp_path: Path) -> None:
    yahoo = Settings(source="yahoo", home=tmp_path)
    said = advice(yahoo, "timeout", "unreachable", "rate_limited", "timeout", "empty")
    assert [line.split(",")[0] for line in said] == [
        "look at the network (a proxy is taken from HTTPS_PROXY)",
        "wait an hour",
    ]
    assert str(tmp_path / "yahoo" / "yfinance") in advice(yahoo, "unauthorised")[0]


def test_every_failure_of_yahoo_but_one_has_its_line(tmp_path: Path) -> None:
    """Nothing in a range mostly ends by itself."""
    yahoo = Settings(source="yahoo", home=tmp_path)
    silent = [status for status in FetchStatus if status.failed and not advice(yahoo, status)]
    assert silent == [FetchStatus.EMPTY]


def test_an_empty_drop_folder_is_told_what_belongs_there(tmp_path: Path) -> None:
    (line,) = advice(Settings(source="files", home=tmp_path, files=tmp_path))
    assert str(tmp_path) in line
    assert "SIL.csv" in line


def test_the_runbook_has_the_section() -> None:
    root = Path(__file__).parents[2]
    for check, described in (("fresh", "All. What to do: docs/runbook.md#fresh"), ("unique_symbol", "dbt's")):
        file, _, anchor = runbook(check, described).partition("#")
        assert anchor in anchors(root / file)
    assert runbook("fresh", "What to do: docs/runbook.md#fresh") == "docs/runbook.md#fresh"


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "no space is left; nothing that was stored or published is lost: free the disk or set"),
        (errno.EROFS, "it is mounted read-only; nothing that was stored or published is lost: make it writable or set"),
        (errno.EACCES, "it cannot be written to; nothing that was stored or published is lost: make it writable"),
    ],
)
def test_what_the_disk_did_and_what_helps(number: int, says: str, tmp_path: Path) -> None:
    told = disk_error(OSError(number, "", str(tmp_path)), tmp_path)
    assert told is not None
    assert told.startswith(f"{tmp_path}: {says}")
    assert "OREWATCH_HOME" in told
