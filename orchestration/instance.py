"""The Dagster instance of a home: one folder for runs, events and schedules, shared by UI, schedule and command line."""

import os
from pathlib import Path

from orchestration.settings import Settings

INSTANCE_CONFIG = Path(__file__).resolve().parent / "dagster.yaml"


def prepare_instance(settings: Settings) -> Path:
    """Create the instance folder with our configuration and name it in DAGSTER_HOME; returns it.

    A dagster.yaml that is already there is the user's own and stays. A DAGSTER_HOME that is already set wins.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home)
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_bytes(INSTANCE_CONFIG.read_bytes())
    os.environ["DAGSTER_HOME"] = str(home)
    return home
