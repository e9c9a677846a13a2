"""A disk that is full or cannot be written to: real ones, in a mount namespace of the test's own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.world import CHANGES, World, assert_lake_whole, assert_readable, content

SIZES_MB = [
    # The short form, in every run of the suite.
    6,
    *(pytest.param(size, marks=pytest.mark.torture) for size in (1, 2, 3, 8, 10, 12, 14, 16, 18)),
]


def _may_mount() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    return subprocess.run([unshare, "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    pytest.mark.skipif(not _may_mount(), reason="needs a mount namespace: not allowed on this machine"),
]

# The home lies on a small disk of its own, which exists in this namespace only; what it holds afterwards is copied out.
SCRIPT = """
set -u
mount -t tmpfs -o size={size} none {home}
{before}
{command} > {folder}/said.first 2>&1; echo $? > {folder}/code.first
mkdir -p {folder}/after.first && cp -a {home}/. {folder}/after.first/
mount -o remount,rw,size=400m {home}
{command} > {folder}/said.second 2>&1; echo $? > {folder}/code.second
mkdir -p {folder}/after.second && cp -a {home}/. {folder}/after.second/
"""


def on_a_disk(world: World, size: str, before: str = "true") -> None:
    """Refresh on a disk of that size, then with room enough."""

    world.home.mkdir(exist_ok=True)
    script = SCRIPT.format(
        size=size,
        home=world.home,
        folder=world.folder,
        before=before,
        command=f"{sys.executable} -m orchestration.cli.main refresh",
    )
    subprocess.run(["unshare", "-rm", "sh", "-c", script], env=world.environment(), check=True, timeout=600)


def outcome(world: World, attempt: str) -> tuple[int, str]:
    """Exit code and words of an attempt."""
    return int((world.folder / f"code.{attempt}").read_text()), (world.folder / f"said.{attempt}").read_text()


def left(world: World, attempt: str) -> World:
    """The home as the attempt left it."""
    copy = World(world.folder / attempt, world.extra)
    copy.folder.mkdir()
    (world.folder / f"after.{attempt}").rename(copy.home)
    return copy


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that has never been refreshed."""
    world = World(tmp_path_factory.mktemp("filled") / "world")
    world.folder.mkdir()
    return world.fill()


def _one_clear_error(said: str) -> None:
    assert "Traceback" not in said
    assert any(words in said for words in ("no space is left", "No space left", "cannot be written", "read-only"))


@pytest.mark.parametrize("size", SIZES_MB)
def test_a_full_disk(filled: World, first_day: World, tmp_path: Path, size: int) -> None:
    world = filled.copy(tmp_path / "world")
    on_a_disk(world, f"{size}m")
    code, said = outcome(world, "first")
    assert code in (1, 2), said
    _one_clear_error(said)
    after = left(world, "first")
    stored = assert_lake_whole(after, {})
    assert_readable(after)
    code, said = outcome(world, "second")
    assert code == 0, said
    healed = left(world, "second")
    assert_lake_whole(healed, stored)
    assert content(healed) == content(first_day)
    print(f"{size} MB: {outcome(world, 'first')[1].strip().splitlines()[-1]}; healed")


@pytest.mark.torture
def test_a_disk_that_becomes_read_only(filled: World, tmp_path: Path) -> None:
    world = filled.copy(tmp_path / "world")
    world.refresh()
    twin = world.copy(tmp_path / "twin")
    CHANGES["correction"](twin)
    twin.refresh()
    stored = world.folder / "stored"
    world.home.rename(stored)
    CHANGES["correction"](world)
    on_a_disk(world, "400m", before=f"cp -a {stored}/. {world.home}/ && mount -o remount,ro {world.home}")
    code, said = outcome(world, "first")
    assert code == 2, said
    _one_clear_error(said)
    assert assert_readable(left(world, "first")) == 1
    code, said = outcome(world, "second")
    assert code == 0, said
    assert content(left(world, "second")) == content(twin)
