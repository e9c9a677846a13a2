"""Which runs of an instance are ours, and which are dead.

The folder of an instance may be shared with other projects. A run of ours says in its tags of which home it is, and in
which process it lives.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from orchestration.home import Home
from orchestration.instance.scratch import process_exists

# Tags of a run: its home, and the process in which it lives.
HOME, HOST, PID, PROCESS = "orewatch/home", "orewatch/host", "orewatch/pid", "orewatch/process"
# The code location that workspace.yaml names.
LOCATION = "orewatch"

# What a system that is no Linux says of its start and of processes.
UNKNOWN = "unknown"

GONE = "the process of this run is gone"

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def home_tags(home: Home) -> dict[str, str]:
    """The tag by which a run is known for one of this home, on whichever instance it is."""
    return {HOME: str(home.root)}


def is_ours(run: dg.DagsterRun, home: Home) -> bool:
    """Whether there is proof that a run is one of this home; a run without any is somebody else's."""
    if HOME in run.tags:
        return run.tags[HOME] == str(home.root)
    # One that has died before it could say so, or is of an earlier version.
    return is_of_orewatch(run) and run.tags.get("source", home.source) == home.source


def is_of_orewatch(run: dg.DagsterRun) -> bool:
    """Whether there is proof that a run is of this program, of whichever home."""
    origin = run.remote_job_origin
    return HOME in run.tags or HOST in run.tags or (origin is not None and origin.location_name == LOCATION)


def process_tags(run_id: str) -> dict[str, str]:
    """Tags of a run that lives in this process, so that its death can be noticed.

    They name the run too: a repeated run begins with the tags of the one that it repeats.
    """
    pid = os.getpid()
    return {HOST: socket.gethostname(), PID: str(pid), PROCESS: f"{run_id} {_kernel()} {_started(pid)}"}


def process_lives(run: dg.DagsterRun, home: Home | None = None) -> bool | None:
    """Whether the process in which a run lives is there; None if nothing says which it is, or it is out of sight.

    `home` is from where somebody looks, if anybody knows: a home lies on one machine, whatever that is called today.
    """
    if PID not in run.tags:
        return None
    pid, of_this_name = int(run.tags[PID]), run.tags.get(HOST) == socket.gethostname()
    if PROCESS not in run.tags:  # of the command line of an earlier version
        return process_exists(pid) if of_this_name else None
    run_id, kernel, started = run.tags[PROCESS].split(" ")
    if run_id != run.run_id:
        return None
    here = _kernel()
    if kernel == here and (of_this_name or here != UNKNOWN):
        return process_exists(pid) and _started(pid) in (started, UNKNOWN)
    # After a start of the machine nothing is left; processes of another container are not seen.
    of_this_machine = of_this_name or (home is not None and run.tags.get(HOME) == str(home.root))
    is_restarted = UNKNOWN not in (kernel, here) and kernel.partition("/")[0] != here.partition("/")[0]
    return False if of_this_machine and is_restarted else None


def fail_dead_runs(
    instance: dg.DagsterInstance,
    home: Home,
    is_repeated: Callable[[dg.DagsterRun], bool] = lambda _: False,
) -> list[str]:
    """Mark runs of ours whose process is gone as failed, whoever launched them; returns their ids.

    Dagster's own monitoring asks the launcher, and the runs of another launcher's instance or of the command line have
    none that knows.

    `home` is from where somebody looks. `is_repeated`: whether the caller does again what a run was to do; else Dagster
    does, where it is told to.
    """
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        if process_lives(run, home) is not False:
            continue
        # What ended between the two looks has said so before its process was gone.
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.status not in UNFINISHED:
            continue
        if is_repeated(now):
            instance.add_run_tags(now.run_id, {"dagster/max_retries": "0"})
        instance.report_run_failed(now, f"{GONE}; the next refresh picks up where it stopped")
        dead.append(now.run_id)
    return dead


def _kernel() -> str:
    """Which start of the machine this is, and which container: processes are only seen from inside of both."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  (no path)
    except OSError:  # no Linux: the number of the process alone has to tell
        return UNKNOWN


def _started(pid: int) -> str:
    """When a process was started, in ticks since the start of the machine; `dead` if only its parent still knows it."""
    try:
        # Behind the name, which may hold anything: the state first, the start as the twentieth.
        facts = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return UNKNOWN
    return "dead" if facts[0] in "ZX" else facts[19]
