"""Dagster's run launcher, and whether a run still lives. Named in `deploy/dagster.yaml`; Dagster makes it, not we.

A run is a process of the code server, and the code server reports a run whose process has died. Nobody reports the runs
of a code server that was killed itself, or whose container was replaced: they stay started for ever, and the schedule
takes their evening for done. The code server that follows does not know them, and that is what the daemon's run
monitoring asks here.
"""

from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value

# What a code server answers that waits for its last run to end. Dagster has no class of error for it.
ENDING = "after telling it to shut down"


class RunLauncher(DefaultRunLauncher):
    """Launches runs as `DefaultRunLauncher` does."""

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
        """Whether the code server where the run was launched, or the one in its place, still knows the run."""
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:  # it has ended meanwhile, or is one of the command line, in a process of its own
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            known = deserialize_value(client.get_current_runs(), GetCurrentRunsResult).current_runs
        except DagsterUserCodeUnreachableError:  # it is being restarted: the next look will tell
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if run.run_id in known:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was killed or replaced")
