"""Refreshes at the same moment: from two command lines, and from the web UI beside one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import PROJECT_ROOT
from tests.torture.world import CHANGES, World, assert_lake_whole, assert_readable, content

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LAUNCH = """
mutation($location: String!, $repository: String!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: $location, repositoryName: $repository, jobName: "refresh"}
    runConfigData: {}
  }) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""
WHERE = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@pytest.mark.parametrize("change", ["", *(pytest.param(name, marks=pytest.mark.torture) for name in CHANGES)])
def test_two_command_lines_at_once(
    change: str, first_day: World, undisturbed: Callable[[str], str], tmp_path: Path
) -> None:
    """On a home that neither has seen, or after a change of one that is there."""
    if change:
        world = first_day.copy(tmp_path / "world")
        CHANGES[change](world)
    else:
        world = World(tmp_path).fill()
    stored, before = assert_lake_whole(world, {}), assert_readable(world)
    first, second = world.start(), world.start()
    assert (first.wait(timeout=300), second.wait(timeout=300)) == (0, 0), world.said()
    assert_lake_whole(world, stored)
    # Both found something to do, or the second found it done.
    assert assert_readable(world) in (before + 1, before + 2)
    assert content(world) == (undisturbed(change) if change else content(first_day))


OPEN = """
import sys
from pathlib import Path
from orchestration.instance.instance import opened_instance
from orchestration.settings import Settings
sys.stdin.readline()
with opened_instance(Settings(home=Path(sys.argv[1])).paths) as instance:
    print(len(instance.get_runs()))
"""


def test_a_new_instance_is_opened_by_several_at_once(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
    for number in range(2):
        opening = [
            subprocess.Popen(
                [sys.executable, "-c", OPEN, str(tmp_path / str(number))],
                env=environment,
                cwd=PROJECT_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(4)
        ]
        time.sleep(3)  # until all of them wait for the word
        for process in opening:
            assert process.stdin is not None
            process.stdin.write("now\n")
            process.stdin.flush()
        assert [process.communicate(timeout=60)[0] for process in opening] == ["0\n"] * 4


@pytest.mark.torture
def test_web_ui_and_command_line_at_once(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    world.folder.mkdir()
    world.fill().refresh()
    twin = world.copy(tmp_path / "twin")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = world.start("dev", "--port", str(port))
    try:
        (repository,) = _wait_for(port)["repositoriesOrError"]["nodes"]
        CHANGES["correction"](world)
        where = {"location": repository["location"]["name"], "repository": repository["name"]}
        launched = _ask(port, LAUNCH, where)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        command = World(world.folder, world.extra).start()
        assert command.wait(timeout=300) == 0, world.said()
        deadline = time.monotonic() + 300
        status = ""
        while status not in ("SUCCESS", "FAILURE", "CANCELED") and time.monotonic() < deadline:
            time.sleep(0.5)
            status = _ask(port, RUN, {"id": launched["run"]["runId"]})["runOrError"]["status"]
        assert status == "SUCCESS"
    finally:
        os.killpg(server.pid, signal.SIGINT)
        try:
            server.wait(timeout=30)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
    assert assert_readable(world) >= 2
    CHANGES["correction"](twin)
    twin.refresh()
    assert content(world) == content(twin)


def _ask(port: int, query: str, variables: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query, "variables": variables or {}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.load(answer)["data"]


def _wait_for(port: int) -> Any:
    deadline = time.monotonic() + 120
    while True:
        try:
            found = _ask(port, WHERE)
            if found["repositoriesOrError"].get("nodes"):
                return found
        except OSError:
            pass
        assert time.monotonic() < deadline, "the web UI did not come up"
        time.sleep(0.5)
