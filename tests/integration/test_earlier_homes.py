"""A home that an earlier revision made goes on: nothing is lost, nothing is told again, and the tables are right.

The archives hold a home of each source, as c6f2296 and f184957 left it after three evenings: SIMULATED or invented
prices of five instruments, three published versions, flags, and a journal of alerts (`tests/earlier_homes/README.md`).
"""

import datetime as dt
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestration.duckdb_io import rows
from orchestration.publish.manifest import current_manifest
from orchestration.settings import PROJECT_ROOT, Settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ARCHIVES = Path(__file__).resolve().parents[1] / "earlier_homes"
LAST_SESSION = {"sample": dt.date(2018, 6, 28), "files": dt.date(2026, 1, 30)}


@dataclass(frozen=True)
class EarlierHome:
    """A home of an earlier revision, unpacked."""

    folder: Path
    source: str

    @property
    def settings(self) -> Settings:
        return Settings(
            home=self.folder / "home",
            source=self.source,  # type: ignore[arg-type]
            seeds=self.folder / "seeds",
            files=self.folder / "drop",
            as_of=LAST_SESSION["sample"],
        )

    def run(self, *arguments: str, **changed: Any) -> str:
        """What a command prints; it must succeed."""
        settings = self.settings.model_copy(update=changed)
        others = {
            name: value for name, value in os.environ.items() if not name.startswith(("OREWATCH_", "DAGSTER_HOME"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.cli.main", *arguments],
            env={**others, **settings.given_environment(), "DAGSTER_DISABLE_TELEMETRY": "1"},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def alerts(self) -> dict[str, tuple[Any, ...]]:
        """Events of the journal, with all that people were told of each."""
        with closing(sqlite3.connect(self.settings.paths.alerts / "journal.sqlite")) as journal:
            found = journal.execute("select event_id, title, lines, session, dealt_out from events").fetchall()
        return {event_id: told for event_id, *told in found}

    def flagged(self) -> dict[str, set[str]]:
        """By check, the keys that are flagged now."""
        state = json.loads((self.settings.paths.root / "market_checks.json").read_text("utf-8"))
        groups = [part for part in state.values() if isinstance(part, dict) and "flagged" in part]
        return {check: set(keys) for part in groups or [state] for check, keys in part["flagged"].items() if keys}

    def lake(self) -> dict[str, int]:
        root = self.settings.paths.lake
        return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*.parquet")}


@pytest.fixture(params=[(r, s) for r in ("c6f2296", "f184957") for s in ("sample", "files")], ids="-".join)
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> EarlierHome:
    revision, source = request.param
    shutil.unpack_archive(ARCHIVES / f"{revision}.tar.xz", tmp_path, filter="data")
    return EarlierHome(tmp_path, source)


def test_it_is_refreshed_without_loss(earlier: EarlierHome) -> None:
    alerts, flagged, lake = earlier.alerts(), earlier.flagged(), earlier.lake()
    before = current_manifest(earlier.settings.paths.published)
    assert before is not None
    assert before.version == 3
    assert alerts
    assert flagged or earlier.source == "sample"
    earlier.run("refresh")
    after = current_manifest(earlier.settings.paths.published)
    assert after is not None
    assert after.version > 3  # other models: they are built and published again
    assert earlier.lake().items() >= lake.items()
    assert earlier.alerts() == alerts
    assert earlier.flagged() == flagged
    earlier.run("verify")
    seen = rows(earlier.settings.paths.published_file, "select max(session_date) as last from daily_bars")
    assert seen == [{"last": LAST_SESSION[earlier.source]}]


def test_its_next_evening_is_one_of_many(earlier: EarlierHome) -> None:
    """The first evening of the new revision has a new session: that alone is news."""
    alerts = earlier.alerts()
    if earlier.source == "sample":
        day = LAST_SESSION["sample"] + dt.timedelta(days=1)
        earlier.run("refresh", as_of=day)
    else:
        day = LAST_SESSION["files"] + dt.timedelta(days=3)
        for path in sorted((earlier.folder / "drop").glob("*.csv")):
            close = float(path.read_text().splitlines()[-1].split(",")[4])
            path.write_text(path.read_text() + f"{day},{close},{close * 1.2:.2f},{close},{close * 1.19:.2f},100000\n")
        earlier.run("refresh")
    assert alerts.items() <= earlier.alerts().items()
    new = {event_id: told for event_id, told in earlier.alerts().items() if event_id not in alerts}
    assert {dt.date.fromisoformat(session) for _, _, session, _ in new.values()} <= {day}
    assert len(new) > 5 or earlier.source == "sample"
    earlier.run("verify")
