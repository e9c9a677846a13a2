"""The processes of `deploy/Procfile`, started and ended by a test, and its clicks in their web UI."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from orchestration.settings import PROJECT_ROOT
from tests.deployment import RELEASE, procfile

T = TypeVar("T")

START_SECONDS, RUN_SECONDS, STOP_SECONDS = 300.0, 600.0, 60.0
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "orewatch"}


@dataclass
class Team:
    """The processes of deploy/Procfile.

    Attributes:
        folder: of what they say.
        environment: of every process.
        settings: of Orewatch, for the code server alone.
        running: the processes, by name.
    """

    folder: Path
    environment: dict[str, str]
    settings: dict[str, str]
    running: dict[str, subprocess.Popen] = field(default_factory=dict)

    def release(self) -> None:
        """As a person does it, for deploy/team.env and the Makefile take part in it."""
        # What is installed and prepared stays as it is, whatever its age.
        installed = ["-o", f"{sys.prefix}/.installed", "-o", "dbt_project/target/manifest.json"]
        make = [f"{shutil.which('make')}", f"VENV={sys.prefix}", *installed, f"team-{RELEASE}"]
        ran = subprocess.run(
            make, cwd=PROJECT_ROOT, env=self.environment, capture_output=True, text=True, timeout=START_SECONDS
        )
        (self.folder / f"{RELEASE}.said").write_text(ran.stdout + ran.stderr, "utf-8")
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def start(self, name: str, **settings: str) -> subprocess.Popen:
        command = procfile()[name]
        if name == "code-server":
            settings = {**self.settings, **settings}
            assert command.count("orchestration.definitions") == 1
            command = command.replace("orchestration.definitions", "tests.every_minute")
        with (self.folder / f"{name}.said").open("ab") as said:
            self.running[name] = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                cwd=PROJECT_ROOT,
                env={**self.environment, **settings},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Dagster takes SIGTERM for SIGINT, which a shell may have had ignored for the tests.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        return self.running[name]

    def kill(self, name: str) -> None:
        """With all that it has started, as the end of its container does."""
        process = self.running[name]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for name, process in self.running.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            self.kill(name)

    def until(self, what: str, look: Callable[[], T | None], seconds: float = RUN_SECONDS) -> T:
        """What somebody who looks twice a second sees at last."""
        deadline = time.monotonic() + seconds
        while not (seen := look()):
            ended = {name: process.returncode for name, process in self.running.items() if process.poll() is not None}
            assert not ended, f"{what}: {ended}\n{self.said()}"
            assert time.monotonic() < deadline, f"{what}: not in {seconds:.0f} s\n{self.said()}"
            time.sleep(0.5)
        return seen

    def said(self) -> str:
        """The end of what each process said."""
        return "\n".join(f"{p.name}:\n{p.read_text('utf-8', 'replace')[-3000:]}" for p in self.folder.glob("*.said"))

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer of the web UI to a person's click; None if it is not there yet."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.environment['DAGSTER_WEBSERVER_PORT']}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
                (answer,) = json.load(reply)["data"].values()
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None
        except OSError:
            return None
        return answer

    def switch_on(self, schedule: str) -> str | None:
        """The id of a schedule, once it is on."""
        answer = self.ask(
            "mutation($schedule: ScheduleSelector!) { startSchedule(scheduleSelector: $schedule)"
            " { ... on ScheduleStateResult { scheduleState { id } } } }",
            schedule={**REPOSITORY, "scheduleName": schedule},
        )
        return answer["scheduleState"]["id"] if answer else None

    def switch_off(self, schedule: str) -> None:
        """By its id."""
        assert self.ask("mutation($id: String!) { stopRunningSchedule(id: $id) { __typename } }", id=schedule) == {
            "__typename": "ScheduleStateResult"
        }

    def launch(self, **tags: str) -> str:
        """Materialize everything; the id of the run."""
        answer = self.ask(
            "mutation($run: ExecutionParams!) { launchRun(executionParams: $run)"
            " { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            run={
                "selector": {**REPOSITORY, "jobName": "refresh"},
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]
