"""Which runs of an instance are ours, and which of them are dead."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration.alerts.sensor import build_alert_sensor
from orchestration.build import build_definitions
from orchestration.instance import runs as of_runs
from orchestration.instance.instance import INSTANCE_CONFIG, prepare_instance
from orchestration.instance.runs import GONE, fail_dead_runs, home_tags, is_ours, process_lives
from orchestration.settings import Settings
from tests.jobs import resolved
from tests.runs import dead_process, living, run

STARTED = dg.DagsterRunStatus.STARTED
SETTINGS = Settings(home=Path("/here"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.mark.parametrize(
    ("tags", "location", "ours"),
    [
        ({"orewatch/home": "{root}"}, None, True),
        ({"orewatch/home": "{root}"}, "of_ours_under_another_name", True),
        ({"orewatch/home": "/another/yahoo", "source": "yahoo"}, "orewatch", False),
        ({}, "orewatch", True),  # dead before it could say so
        ({"source": "yahoo"}, "orewatch", True),  # of an earlier version
        ({"source": "sample"}, "orewatch", False),
        ({"source": "yahoo", "orewatch/host": "h", "orewatch/pid": "1"}, None, True),  # the same, from the command line
        # Of another project: nothing that it might happen to have makes it one of ours.
        ({}, None, False),
        ({}, "jaffle_shop", False),
        ({"source": "yahoo"}, "jaffle_shop", False),
        ({"source": "yahoo", "session_date": "2026-01-30"}, None, False),
    ],
)
def test_a_run_is_ours_by_proof(tags: dict[str, str], location: str | None, ours: bool, tmp_path: Path) -> None:
    settings = Settings(source="yahoo", home=tmp_path)
    tags = {name: value.format(root=settings.paths.root) for name, value in tags.items()}
    assert is_ours(run(tags, location), settings.paths) is ours


def test_every_run_of_the_job_says_of_which_home_it_is(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "with a blank")
    assert home_tags(settings.paths).items() <= resolved(build_definitions(settings)).tags.items()


def test_a_run_lives_as_long_as_its_process() -> None:
    assert process_lives(living()) is True
    assert process_lives(living(dead_process())) is False
    # The number has gone to another process, which was started at another time.
    with subprocess.Popen(["sleep", "60"]) as another:
        assert process_lives(living(another.pid)) is False
        another.kill()
    assert process_lives(run({"orewatch/host": socket.gethostname(), "orewatch/pid": str(os.getpid())})) is True


def test_what_only_its_parent_still_knows_is_dead() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        begun = living()
        run_id, kernel, _ = begun.tags["orewatch/process"].split(" ")
        of_child = {
            "orewatch/pid": str(child.pid),
            "orewatch/process": f"{run_id} {kernel} {of_runs._started(child.pid)}",
        }
        begun = begun.with_tags({**begun.tags, **of_child})
        assert process_lives(begun) is True
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process_lives(begun) is False
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("kernel", "lives"),
    [
        ("another-boot/pid:[1]", False),  # the machine was started anew
        ("{boot}/pid:[1]", None),  # another container
        ("{boot}/{container}", True),
    ],
)
def test_a_process_of_another_kernel(kernel: str, lives: bool | None) -> None:
    begun = living()
    run_id, here, started = begun.tags["orewatch/process"].split(" ")
    boot, _, container = here.partition("/")
    there = f"{run_id} {kernel.format(boot=boot, container=container)} {started}"
    assert process_lives(begun.with_tags({**begun.tags, "orewatch/process": there})) is lives


@pytest.mark.parametrize(
    ("kernel", "home", "lives"),
    [
        (
            "another-boot/pid:[1]",
            SETTINGS.paths.root,
            False,
        ),  # a container that was made again, an address that changed
        ("another-boot/pid:[1]", "/another", None),  # of a machine that shares the instance
        ("{boot}/pid:[1]", SETTINGS.paths.root, None),  # a container of this machine, which may live
        ("{boot}/{container}", "/another", True),
        ("unknown", SETTINGS.paths.root, None),
    ],
)
def test_a_process_of_a_machine_of_another_name(kernel: str, home: Path, lives: bool | None) -> None:
    begun = living(tags={"orewatch/home": str(home)})
    run_id, here, started = begun.tags["orewatch/process"].split(" ")
    boot, _, container = here.partition("/")
    there = f"{run_id} {kernel.format(boot=boot, container=container)} {started}"
    begun = begun.with_tags({**begun.tags, "orewatch/host": "of yesterday", "orewatch/process": there})
    assert process_lives(begun, SETTINGS.paths) is lives
    # Whoever knows of no home cannot tell another start of this machine from another machine.
    assert process_lives(begun) is (lives or None)


def test_a_killed_run_fails_after_the_machine_came_back_under_another_name(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (living(tags={"orewatch/home": str(home)}) for home in (SETTINGS.paths.root, "/another"))
    for each in (ours, theirs):
        instance.add_run(each)
    assert fail_dead_runs(instance, SETTINGS.paths) == []
    monkeypatch.setattr(socket, "gethostname", lambda: "of today")
    assert fail_dead_runs(instance, SETTINGS.paths) == []  # renamed while they live
    monkeypatch.setattr(of_runs, "_kernel", lambda: "another-boot/pid:[1]")
    assert fail_dead_runs(instance, SETTINGS.paths) == [ours.run_id]


def test_nothing_is_known_of_other_machines_and_of_the_run_that_is_repeated() -> None:
    assert process_lives(run()) is None
    assert process_lives(living(1).with_tags({**living(1).tags, "orewatch/host": "another"})) is None
    # A repeated run has the tags of the one before, until it has its own.
    assert process_lives(run(dict(living(dead_process()).tags))) is None


@pytest.mark.parametrize("location", [None, "orewatch"], ids=["command line", "UI or schedule"])
@pytest.mark.parametrize("status", [STARTED, dg.DagsterRunStatus.STARTING])
def test_a_dead_run_fails_whoever_launched_it(
    location: str | None, status: dg.DagsterRunStatus, instance: dg.DagsterInstance
) -> None:
    dead = living(dead_process(), location=location, status=status)
    alive = living(location=location)
    for each in (dead, alive):
        instance.add_run(each)
    assert fail_dead_runs(instance, SETTINGS.paths) == [dead.run_id]
    assert fail_dead_runs(instance, SETTINGS.paths) == []
    statuses = {r.run_id: r.status for r in instance.get_runs()}
    assert statuses == {dead.run_id: dg.DagsterRunStatus.FAILURE, alive.run_id: STARTED}
    (said,) = instance.all_logs(dead.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert GONE in said.message
    after = instance.get_run_by_id(dead.run_id)
    assert after is not None
    assert "dagster/max_retries" not in after.tags


def test_a_run_that_ends_meanwhile_is_not_failed(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = living(dead_process())
    instance.add_run(ends)

    def look(begun: dg.DagsterRun, _: Settings) -> bool:
        instance.handle_run_event(begun.run_id, dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "refresh"))
        return False

    monkeypatch.setattr(of_runs, "process_lives", look)
    assert fail_dead_runs(instance, SETTINGS.paths) == []
    after = instance.get_run_by_id(ends.run_id)
    assert after is not None
    assert after.status is dg.DagsterRunStatus.SUCCESS


def test_runs_of_others_on_a_shared_instance_are_left_alone(instance: dg.DagsterInstance) -> None:
    theirs = [
        run(location="jaffle_shop"),
        run({"source": "sample"}),
        run({"orewatch/host": "another machine", "orewatch/pid": "1"}),
    ]
    for each in theirs:
        instance.add_run(each)
    assert fail_dead_runs(instance, SETTINGS.paths) == []
    assert {r.status for r in instance.get_runs()} == {STARTED}


def test_the_sensor_fails_what_is_dead_and_tells_it(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """On whichever instance: also one whose dagster.yaml names another launcher."""
    settings = Settings(home=tmp_path)
    sensor = build_alert_sensor(settings)
    assert sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).skip_message == "0 new events"
    dead = living(dead_process(), tags=home_tags(settings.paths))
    others = run(location="jaffle_shop")
    for each in (dead, others):
        instance.add_run(each)
    instance.report_run_failed(others, "somebody's own affair")
    assert sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).skip_message == "1 new events"
    assert sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).skip_message == "0 new events"
    after = instance.get_run_by_id(dead.run_id)
    assert after is not None
    assert after.status is dg.DagsterRunStatus.FAILURE


def test_an_instance_of_others_keeps_the_configuration_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home")
    theirs, empty = tmp_path / "theirs", tmp_path / "empty"
    (theirs / "history").mkdir(parents=True)
    empty.mkdir()
    for folder, ours in ((theirs, False), (empty, True), (settings.paths.dagster, True)):
        monkeypatch.setenv("DAGSTER_HOME", str(folder))
        assert prepare_instance(settings.paths) == folder
        assert (folder / "dagster.yaml").exists() is ours
    assert (empty / "dagster.yaml").read_bytes() == INSTANCE_CONFIG.read_bytes()


def test_what_hides_the_reason_of_a_failure_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "instance"))
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", "db")
    prepare_instance(Settings(home=tmp_path).paths)
    assert "DAGSTER_REDACT_USER_CODE_ERRORS" not in os.environ
    assert os.environ["DAGSTER_POSTGRES_HOST"] == "db"
