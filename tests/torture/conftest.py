"""Worlds that several tests begin with: refreshed once in a test run."""

from collections.abc import Callable

import pytest

from tests.homes import made_once
from tests.torture.world import CHANGES, World, content


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that has been refreshed once; not to be changed, `copy` gives one's own."""
    return World(made_once(tmp_path_factory, "first_day", lambda folder: World(folder).fill().refresh()))


@pytest.fixture(scope="session")
def undisturbed(first_day: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The content that is published after a change of the first day if nobody disturbs the refresh."""

    def after(change: str) -> str:
        def refreshed(world: World) -> None:
            CHANGES[change](world)
            world.refresh()

        folder = made_once(
            tmp_path_factory, f"after_{change}", lambda folder: refreshed(first_day.copy(folder / "world"))
        )
        return content(World(folder / "world"))

    return after
