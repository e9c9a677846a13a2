"""The Dagster instance of a source: one folder for runs and schedules, shared by UI, schedule and command line.

And which runs in it are ours, for the folder may be shared with other projects, and which are dead: a run says in its
tags of which home it is, and in which process it lives.
"""

import fcntl
import hashlib
import os
import re
import socket
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from orchestration.files import disk_fault, must_lock, write_text
from orchestration.instance.scratch import process_exists
from orchestration.market.errors import SettingsError
from orchestration.settings import Settings

# Tags of a run: its home, and the process in which it lives.
HOME, HOST, PID, PROCESS = "orewatch/home", "orewatch/host", "orewatch/pid", "orewatch/process"
# The code location that workspace.yaml names.
LOCATION = "orewatch"

# What another project may have set for its Dagster, and would change what our runs do, or hide why they failed.
OF_OTHERS = (
    "DAGSTER_REDACT_USER_CODE_ERRORS",
    "DAGSTER_DEFAULT_IO_MANAGER_MODULE",
    "DAGSTER_DEFAULT_IO_MANAGER_ATTRIBUTE",
    "DAGSTER_DEFAULT_IO_MANAGER_SILENCE_FAILURES",
)

# What a system that is no Linux says of its start and of processes.
UNKNOWN = "unknown"

GONE = "the process of this run is gone"

# What to do about an instance that cannot be opened, and how much is said of what Dagster says about it.
_REMEDY = (
    "mend what is there (a dagster.yaml that breaks, a package that it names and is not installed), or let DAGSTER_HOME"
    " name another folder; without DAGSTER_HOME every source has one of its own"
)
WHY_CHARACTERS = 300

INSTANCE_CONFIG = Path(__file__).resolve().parent.parent / "dagster.yaml"

# Modules that a configuration names which somebody has changed since an earlier version wrote it.
MOVED = {
    "orchestration.run_launcher": "orchestration.instance.run_launcher",
    "orchestration.event_log": "orchestration.instance.event_log",
}

# SHA-256 of the configurations that earlier versions wrote: nobody has changed a file that is still like that.
EARLIER = frozenset(
    {
        "aac58f3aec7a820656267f1538e5ce71a3c81a49c5aaf8db86989b73596168b8",
        "ee5174359199cb9347b5ec9dfb99fe173f8b4b9bb1aca29205593dfdb8377c78",
        "6d1d0f152bb1ba06ba86164cf4145eb41c93e5461ace59cb86cc7705260c9036",
        "bf394acc39b2de6583b7e429a0900ed016b02815bfa7604d4d8fed7688893a35",
    }
)


def prepare_instance(settings: Settings) -> Path:
    """Create the instance folder with our configuration and name it in DAGSTER_HOME; returns it.

    A dagster.yaml that somebody has changed is the user's own and stays. A DAGSTER_HOME that is already set wins; one
    in which others have been before us keeps the configuration that it has, or has not.

    Raises:
        SettingsError: it is no folder, or lies on a file system without locks.
    """
    # Dagster takes an absolute path only, and `orewatch dev` changes the working directory.
    home = Path(os.path.expanduser(os.environ.get("DAGSTER_HOME") or settings.paths.dagster)).resolve()  # noqa: PTH111
    config = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(f"{home}: is no folder; {_REMEDY}") from error
    if config.is_dir():
        raise SettingsError(f"{config}: is a folder, not a file; {_REMEDY}")
    must_lock(home)
    if config.exists():
        is_ours_to_write = hashlib.sha256(config.read_bytes()).hexdigest() in EARLIER
    else:
        is_ours_to_write = home == settings.paths.dagster or not any(home.iterdir())
    if is_ours_to_write:
        config.write_bytes(INSTANCE_CONFIG.read_bytes())
    elif config.exists():
        _name_moved_modules(config)
    os.environ["DAGSTER_HOME"] = str(home)
    for name in OF_OTHERS:
        os.environ.pop(name, None)
    return home


def _name_moved_modules(config: Path) -> None:
    """Name our classes in a user's own configuration where they are now; nothing else of it changes."""
    text = config.read_text("utf-8")
    known = re.compile(rf"({'|'.join(map(re.escape, MOVED))})(?!\w)")
    if known.search(text):
        write_text(config, known.sub(lambda found: MOVED[found[0]], text))


@contextmanager
def opened_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of a source, prepared and with all its tables.

    Opened one command at a time: two that make the tables of a new instance at the same moment meet half-way, and
    Dagster lets one of them fail.

    Raises:
        SettingsError: it cannot be opened as its folder and its dagster.yaml are.
    """
    home = prepare_instance(settings)
    with (home / ".opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            instance = dg.DagsterInstance.get()
        except Exception as error:  # of YAML, of Dagster, of the driver of a database
            if disk_fault(error, home) is not None:  # told with words of its own
                raise
            raise SettingsError(f"{home}: Dagster cannot open its instance there ({_why(error)}); {_REMEDY}") from error
    with instance:
        yield instance


def _why(error: Exception) -> str:
    """What Dagster, YAML or a driver says, in one line; of a wrong configuration without the preamble."""
    wrong = error.errors if isinstance(error, dg.DagsterInvalidConfigError) else []
    said = "; ".join(each.message for each in wrong) or str(error) or type(error).__name__
    return textwrap.shorten(said, WHY_CHARACTERS)


def home_tags(settings: Settings) -> dict[str, str]:
    """The tag by which a run is known for one of this home, on whichever instance it is."""
    return {HOME: str(settings.paths.root)}


def is_ours(run: dg.DagsterRun, settings: Settings) -> bool:
    """Whether there is proof that a run is one of this home; a run without any is somebody else's."""
    if HOME in run.tags:
        return run.tags[HOME] == str(settings.paths.root)
    # One that has died before it could say so, or is of an earlier version.
    return is_of_orewatch(run) and run.tags.get("source", settings.source) == settings.source


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


def process_lives(run: dg.DagsterRun, settings: Settings | None = None) -> bool | None:
    """Whether the process in which a run lives is there; None if nothing says which it is, or it is out of sight.

    Args:
        run: the run.
        settings: name the home from which somebody looks; None if nobody knows it. A home lies on one machine, whatever
            the machine is called today.
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
    of_this_machine = of_this_name or (settings is not None and run.tags.get(HOME) == str(settings.paths.root))
    is_restarted = UNKNOWN not in (kernel, here) and kernel.partition("/")[0] != here.partition("/")[0]
    return False if of_this_machine and is_restarted else None


def fail_dead_runs(
    instance: dg.DagsterInstance,
    settings: Settings,
    is_repeated: Callable[[dg.DagsterRun], bool] = lambda _: False,
) -> list[str]:
    """Mark runs of ours whose process is gone as failed, whoever launched them; returns their ids.

    Dagster's own monitoring asks the launcher, and the runs of another launcher's instance or of the command line have
    none that knows.

    Args:
        instance: where the runs are; those of other projects are left alone.
        settings: name the home from which somebody looks.
        is_repeated: whether the caller does again what a run was to do; else Dagster does, where it is told to.
    """
    unfinished = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished)):
        if process_lives(run, settings) is not False:
            continue
        # What ended between the two looks has said so before its process was gone.
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.status not in unfinished:
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
