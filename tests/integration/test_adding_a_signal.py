"""The guide to a new signal, followed in a copy of the project: its check, its alert and the brief carry it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from orchestration.settings import PROJECT_ROOT
from tests import documents
from tests.histories import SESSIONS
from tests.jobs import small_seeds

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# What looks at it, in a process of the copy.
LOOK = """
import json
import time

import dagster as dg

from orchestration.alerts.outbox import RUN_PATIENCE, opened_outbox
from orchestration.build import build_definitions
from orchestration.settings import load_settings

settings = load_settings()
with dg.DagsterInstance.ephemeral() as instance:
    result = build_definitions(settings).resolve_job_def("refresh").execute_in_process(instance=instance)
alerts = []
with opened_outbox(settings.paths.alerts) as outbox:
    outbox.enqueue((), time.time() + 2 * RUN_PATIENCE, lambda alert: alerts.append([alert.event_id, alert.title]))
checks = {e.check_name: [e.passed, e.description] for e in result.get_asset_check_evaluations()}
(brief,) = settings.paths.briefs.glob("*.md")
print(json.dumps({"check": checks["dividends"], "alerts": alerts, "brief": brief.read_text("utf-8")}))
"""


def test_a_file_and_its_rows_are_all_it_takes(tmp_path: Path) -> None:
    project, drop = tmp_path / "project", tmp_path / "drop"
    for name in ("orchestration", "dbt_project"):
        ignored = shutil.ignore_patterns("target", "logs", "__pycache__")
        shutil.copytree(PROJECT_ROOT / name, project / name, ignore=ignored)
    rows, file = [b.text for b in documents.blocks(PROJECT_ROOT / "docs/guides/signal.md")]
    (project / "orchestration/signals/dividends.py").write_text(file, "utf-8")
    mart = project / "dbt_project/models/marts/signals/market_signals.sql"
    before, after = mart.read_text("utf-8").rsplit("\n)\n\nselect", 1)
    mart.write_text(f"{before}\n\n{rows}\n)\n\nselect{after}", "utf-8")
    drop.mkdir()
    days = SESSIONS[-40:]
    dividends = [0.25 if day in (days[-1], days[5]) else 0.0 for day in days]
    bars = pd.DataFrame({"Date": [str(day) for day in days], "Close": 64.0, "Dividends": dividends})
    bars.to_csv(drop / "AAA.csv", index=False)
    environment = {
        **os.environ,
        "PYTHONPATH": str(project),
        "OREWATCH_SOURCE": "files",
        "OREWATCH_FILES": str(drop),
        "OREWATCH_HOME": str(tmp_path / "home"),
        "OREWATCH_SEEDS": str(small_seeds(tmp_path / "seeds", "AAA")),
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run("-m", "orchestration.transform.dbt", "--quiet", "parse")
    seen = json.loads(run("-c", LOOK).splitlines()[-1])
    said = "AAA went ex a dividend of 0.25"
    assert seen["check"] == [False, f"{days[-1]}: {said}"]
    assert [f"AAA|{days[-1]}|dividend", "AAA (AAA fund) went ex a dividend of 0.25"] in seen["alerts"]
    assert f"## Dividends\n\n- {said}.\n" in seen["brief"]
