"""A refresh that is killed at any moment leaves nothing broken, and the next one ends as if nothing had happened."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.transform.build_state import BuildState
from tests.torture.world import (
    CHANGES,
    World,
    assert_lake_whole,
    assert_readable,
    content,
    kill,
)

KILLS = int(os.environ.get("OREWATCH_TORTURE_KILLS", "100"))
IN_A_ROW = 10
CHAINS = [
    # The short form, in every run of the suite.
    pytest.param(-1, "split", 2, id="short"),
    *(
        pytest.param(number, list(CHANGES)[number % len(CHANGES)], IN_A_ROW, marks=pytest.mark.torture)
        for number in range(KILLS // IN_A_ROW)
    ),
]

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def _lake(world: World) -> int:
    return sum(1 for _ in (world.root / "lake").rglob("*"))


def moments(world: World) -> dict[str, Callable[[], bool]]:
    """What can be seen from outside when a part of a refresh begins."""
    files, published = _lake(world), (world.root / "published" / "current").readlink()
    state = world.root / "build_state.json"
    built = BuildState.load(state).built
    return {
        "at any time": lambda: True,
        "as the lake is written": lambda: _lake(world) != files,
        "as dbt runs": lambda: built is not None and BuildState.load(state).built is None,
        "as a version is built": lambda: any((world.root / "published" / "versions").glob(".building-*")),
        "after the flip": lambda: (world.root / "published" / "current").readlink() != published,
    }


# How long after such a moment the kill comes at most, in seconds.
REACH = {"at any time": 12.0, "as dbt runs": 6.0, "as a version is built": 0.4, "after the flip": 3.0}


def disturb(world: World, chance: random.Random) -> str:
    """Start a refresh and kill it somewhere; returns where."""
    name = chance.choice(list(moments(world)))
    begun = moments(world)[name]
    process = world.start()
    while process.poll() is None and not begun():
        time.sleep(0.002)
    wait_until = time.monotonic() + chance.uniform(0, REACH.get(name, 0.2))
    while process.poll() is None and time.monotonic() < wait_until:
        time.sleep(0.002)
    if process.poll() is not None:
        assert process.returncode == 0, world.said()
        return "it had ended"
    kill(process)
    return name


def chain(world: World, change: str, kills: int, seed: int) -> list[str]:
    """Kills in a row after a change; whatever happens, lake and readers are sound. Returns where they came."""
    chance = random.Random(seed)  # noqa: S311
    CHANGES[change](world)
    stored, version, where = assert_lake_whole(world, {}), assert_readable(world), []
    for _ in range(kills):
        where.append(disturb(world, chance))
        stored = assert_lake_whole(world, stored)
        version, before = assert_readable(world), version
        assert version >= before
    return where


@pytest.mark.parametrize(("seed", "change", "kills"), CHAINS)
def test_killed_anywhere(
    first_day: World,
    undisturbed: Callable[[str], str],
    tmp_path: Path,
    seed: int,
    change: str,
    kills: int,
) -> None:
    expected = undisturbed(change)
    world = first_day.copy(tmp_path / "world")
    where = chain(world, change, kills, seed)
    world.refresh()
    assert content(world) == expected
    print(f"{change}: killed {', '.join(where)}; healed")
