"""The Dagster instance of a source: one folder for runs and schedules, shared by UI, schedule and command line."""

import hashlib
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock

from orchestration.files import disk_error, must_lock, write_text
from orchestration.home import Home
from orchestration.market.errors import SettingsError

# What another project may have set for its Dagster, and would change what our runs do, or hide why they failed.
OF_OTHERS = (
    "DAGSTER_REDACT_USER_CODE_ERRORS",
    "DAGSTER_DEFAULT_IO_MANAGER_MODULE",
    "DAGSTER_DEFAULT_IO_MANAGER_ATTRIBUTE",
    "DAGSTER_DEFAULT_IO_MANAGER_SILENCE_FAILURES",
)

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


def prepare_instance(home: Home) -> Path:
    """Create the instance folder with our configuration and name it in DAGSTER_HOME; returns it.

    A dagster.yaml that somebody has changed is the user's own and stays. A DAGSTER_HOME that is already set wins; one
    in which others have been before us keeps the configuration that it has, or has not.

    Raises:
        SettingsError: it is no folder, or lies on a file system without locks.
    """
    # Dagster takes an absolute path only, and `orewatch dev` changes the working directory.
    folder = Path(os.path.expanduser(os.environ.get("DAGSTER_HOME") or home.dagster)).resolve()  # noqa: PTH111
    config = folder / "dagster.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(f"{folder}: is no folder; {_REMEDY}") from error
    if config.is_dir():
        raise SettingsError(f"{config}: is a folder, not a file; {_REMEDY}")
    must_lock(folder)
    if config.exists():
        is_ours_to_write = hashlib.sha256(config.read_bytes()).hexdigest() in EARLIER
    else:
        is_ours_to_write = folder == home.dagster or not any(folder.iterdir())
    if is_ours_to_write:
        config.write_bytes(INSTANCE_CONFIG.read_bytes())
    elif config.exists():
        _name_moved_modules(config)
    os.environ["DAGSTER_HOME"] = str(folder)
    for name in OF_OTHERS:
        os.environ.pop(name, None)
    return folder


def _name_moved_modules(config: Path) -> None:
    """Name our classes in a user's own configuration where they are now; nothing else of it changes."""
    text = config.read_text("utf-8")
    known = re.compile(rf"({'|'.join(map(re.escape, MOVED))})(?!\w)")
    if known.search(text):
        write_text(config, known.sub(lambda found: MOVED[found[0]], text))


@contextmanager
def opened_instance(home: Home) -> Iterator[dg.DagsterInstance]:
    """The instance of a source, prepared and with all its tables.

    Opened one command at a time: two that make the tables of a new instance at the same moment meet half-way, and
    Dagster lets one of them fail.

    Raises:
        SettingsError: it cannot be opened as its folder and its dagster.yaml are.
    """
    folder = prepare_instance(home)
    with FileLock(folder / ".opening"):
        try:
            instance = dg.DagsterInstance.get()
        except Exception as error:  # of YAML, of Dagster, of the driver of a database
            if disk_error(error, folder) is not None:  # which has words of its own
                raise
            raise SettingsError(
                f"{folder}: Dagster cannot open its instance there ({_why(error)}); {_REMEDY}"
            ) from error
    with instance:
        yield instance


def _why(error: Exception) -> str:
    """What Dagster, YAML or a driver says, in one line; of a wrong configuration without the preamble."""
    wrong = error.errors if isinstance(error, dg.DagsterInvalidConfigError) else []
    text = "; ".join(each.message for each in wrong) or str(error) or type(error).__name__
    return textwrap.shorten(text, WHY_CHARACTERS)
