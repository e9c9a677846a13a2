"""Dagster's run launcher, and whether a run still lives. Named in `dagster.yaml`; Dagster makes it, not we.

A run is a process of the code server, and the code server reports a run whose process has died. Nobody reports the runs
of a code server that was killed itself, by a power cut or with its container: they stay started for ever. The daemon's
run monitoring asks here, and a run of ours says in its tags in which process it lives. Where that is out of sight, the
code server is asked: one that follows another does not know its runs.

A dead run is reported once its code server answers again: Dagster repeats a run when it hears that it has failed, and
gives up at once where it cannot reach the definitions.
"""

import socket
import time
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value

from orchestration.instance.runs import GONE, is_of_orewatch, process_lives

# What a code server answers that waits for its last run to end. Dagster has no class of error for it.
ENDING = "after telling it to shut down"

# So long a code server may take to come back; without one, nobody will repeat the run.
PATIENCE_SECONDS = 300

LIVES = CheckRunHealthResult(WorkerStatus.RUNNING)
DEAD = CheckRunHealthResult(WorkerStatus.FAILED, GONE)


class RunLauncher(DefaultRunLauncher):
    """Launches runs as `DefaultRunLauncher` does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unreachable_since: dict[str, float] = {}  # by run

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run.

        Raises:
            DagsterUserCodeUnreachableError: the code server cannot be reached or is about to end; the run goes back
                into the queue.
            DagsterLaunchFailedError: it cannot be launched; the run fails.
        """
        try:
            super().launch_run(context)
        except DagsterLaunchFailedError as error:
            if ENDING not in str(error):
                raise
            raise DagsterUserCodeUnreachableError("the code server is being restarted") from error

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of the run lives or, where that is out of sight, whether a code server knows the run.

        That is the one where it was launched, or the one in its place.
        """
        lives = process_lives(run)
        if lives or (lives is None and run.remote_job_origin and not is_of_orewatch(run)):
            return LIVES  # or it is of somebody who shares the instance
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:  # it has ended meanwhile, or is one of the command line, in a process of its own
            return LIVES if lives is None else DEAD
        try:
            known = deserialize_value(client.get_current_runs(), GetCurrentRunsResult).current_runs
        except DagsterUserCodeUnreachableError:
            # With a socket of its own, as in `orewatch dev`, none comes in its place; else it is being restarted, and
            # the next look will tell.
            if client.socket and not _listens(client.socket):
                return DEAD
            since = self._unreachable_since.setdefault(run.run_id, time.monotonic())
            return DEAD if lives is False and time.monotonic() - since > PATIENCE_SECONDS else LIVES
        self._unreachable_since.pop(run.run_id, None)
        if lives is False:
            return DEAD
        if run.run_id in known:
            return LIVES
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was killed or replaced")


def is_asked(instance: dg.DagsterInstance) -> bool:
    """Whether the daemon of an instance asks this launcher how runs are; a dagster.yaml may say otherwise."""
    return instance.run_monitoring_enabled and isinstance(instance.run_launcher, RunLauncher)


def _listens(path: str) -> bool:
    """Whether somebody listens on a socket of this machine; if not, nobody will again."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # whatever it is, it is no proof
            return True
    return True
