"""Whether a run still lives, asked of its code server; and a code server that is about to end."""

import socket
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import WorkerStatus
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import serialize_value

from orchestration.instance.instance import opened_instance
from orchestration.instance.run_launcher import PATIENCE_SECONDS, RunLauncher, is_asked
from orchestration.instance.runs import process_tags
from orchestration.settings import Settings
from tests.runs import dead_process, run

RUN = dg.DagsterRun(job_name="refresh")


class CodeServer:
    def __init__(self, *run_ids: str, reachable: bool = True) -> None:
        self.run_ids, self.reachable = run_ids, reachable
        self.socket: str | None = None

    def get_current_runs(self) -> str:
        if not self.reachable:
            raise DagsterUserCodeUnreachableError("nobody there")
        return serialize_value(GetCurrentRunsResult(current_runs=list(self.run_ids), serializable_error_info=None))


@pytest.mark.parametrize(
    ("client", "status"),
    [
        (CodeServer("another", RUN.run_id), WorkerStatus.RUNNING),
        (CodeServer("another"), WorkerStatus.FAILED),
        (CodeServer(), WorkerStatus.FAILED),
        (CodeServer(reachable=False), WorkerStatus.RUNNING),
        (None, WorkerStatus.RUNNING),  # of the command line
    ],
)
def test_a_run_lives_as_long_as_its_code_server_knows_it(
    client: CodeServer | None, status: WorkerStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = RunLauncher()
    monkeypatch.setattr(launcher, "_get_grpc_client_for_termination", lambda _: client)
    assert launcher.supports_check_run_worker_health
    assert launcher.check_run_worker_health(RUN).status is status


@pytest.mark.parametrize("server", ["gone", "dead", "listens"])
def test_a_code_server_with_a_socket_of_its_own_has_no_successor(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `orewatch dev`, after a power cut: the socket is gone, or lies there and nobody listens."""
    client = CodeServer(reachable=False)
    client.socket = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        if server != "gone":
            listener.bind(client.socket)
        if server == "listens":  # it is busy: the next look will tell
            listener.listen()
        launcher = RunLauncher()
        monkeypatch.setattr(launcher, "_get_grpc_client_for_termination", lambda _: client)
        status = launcher.check_run_worker_health(RUN).status
    assert status is (WorkerStatus.RUNNING if server == "listens" else WorkerStatus.FAILED)


def test_a_run_that_says_where_it_lives_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = RunLauncher()
    monkeypatch.setattr(launcher, "_get_grpc_client_for_termination", lambda _: pytest.fail("asked"))
    alive = RUN.with_tags(process_tags(RUN.run_id))
    assert launcher.check_run_worker_health(alive).status is WorkerStatus.RUNNING


def test_a_dead_run_is_reported_once_somebody_can_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher, now = RunLauncher(), 1_000.0
    server: CodeServer | None = CodeServer(RUN.run_id, reachable=False)
    monkeypatch.setattr(launcher, "_get_grpc_client_for_termination", lambda _: server)
    monkeypatch.setattr("time.monotonic", lambda: now)
    dead = RUN.with_tags({**process_tags(RUN.run_id), "orewatch/pid": str(dead_process())})

    def status() -> WorkerStatus:
        return launcher.check_run_worker_health(dead).status

    assert status() is WorkerStatus.RUNNING
    server = CodeServer()
    assert status() is WorkerStatus.FAILED
    server = CodeServer(reachable=False)
    assert status() is WorkerStatus.RUNNING  # patience begins anew
    now += PATIENCE_SECONDS
    assert status() is WorkerStatus.RUNNING
    now += 1
    assert status() is WorkerStatus.FAILED  # no code server comes back: a run must not stay started for ever
    server = None  # of the command line
    assert status() is WorkerStatus.FAILED


def test_a_run_of_another_project_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = RunLauncher()
    monkeypatch.setattr(launcher, "_get_grpc_client_for_termination", lambda _: CodeServer("another"))
    assert launcher.check_run_worker_health(run(location="jaffle_shop")).status is WorkerStatus.RUNNING
    assert launcher.check_run_worker_health(run(location="orewatch")).status is WorkerStatus.FAILED


def test_a_run_without_a_code_server_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        launcher = RunLauncher()
        launcher.register_instance(instance)
        instance.add_run(RUN)
        assert launcher.check_run_worker_health(RUN).status is WorkerStatus.RUNNING


def test_the_default_instance_asks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with opened_instance(Settings(home=tmp_path).paths) as ours, dg.instance_for_test() as of_somebody:
        assert is_asked(ours)
        assert ours.run_retries_enabled
        assert ours.run_monitoring_poll_interval_seconds <= 60
        assert not is_asked(of_somebody)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("Tried to start a run on a server after telling it to shut down", DagsterUserCodeUnreachableError),
        ("the job is not there", DagsterLaunchFailedError),
    ],
)
def test_only_a_code_server_that_is_about_to_end_is_asked_again(
    answer: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DagsterLaunchFailedError(answer)

    monkeypatch.setattr(DefaultRunLauncher, "launch_run", refuse)
    with pytest.raises(error):
        RunLauncher().launch_run(None)  # type: ignore[arg-type]
