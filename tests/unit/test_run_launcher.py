"""Whether a run still lives, asked of its code server; and a code server that is about to end."""

import dagster as dg
import pytest
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import WorkerStatus
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import serialize_value

from orchestration.run_launcher import RunLauncher

RUN = dg.DagsterRun(job_name="refresh")


class CodeServer:
    def __init__(self, *run_ids: str, reachable: bool = True) -> None:
        self.run_ids, self.reachable = run_ids, reachable

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


def test_a_run_without_a_code_server_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        launcher = RunLauncher()
        launcher.register_instance(instance)
        instance.add_run(RUN)
        assert launcher.check_run_worker_health(RUN).status is WorkerStatus.RUNNING


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
