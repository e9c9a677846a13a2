"""Runs of Dagster as an instance notes them: of us and of others, alive and dead."""

import subprocess
from typing import Any

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from orchestration.instance.runs import process_tags


def origin(location: str) -> RemoteJobOrigin:
    """Where the web UI and the daemon note that a run comes from."""
    target = LoadableTargetOrigin(module_name="of.somebody")
    code = InProcessCodeLocationOrigin(loadable_target_origin=target, location_name=location)
    return RemoteJobOrigin(RemoteRepositoryOrigin(code, "__repository__"), "refresh")


def run(tags: dict[str, str] | None = None, location: str | None = None, **facts: Any) -> dg.DagsterRun:
    """A run that has begun, launched from a code location or, without one, by a program itself."""
    facts = {"status": dg.DagsterRunStatus.STARTED, "remote_job_origin": location and origin(location), **facts}
    return dg.DagsterRun(job_name="refresh", tags=tags or {}, **facts)


def living(pid: int | None = None, **facts: Any) -> dg.DagsterRun:
    """A run that says in which process it lives: this one, or another."""
    begun = run(**facts)
    return begun.with_tags({**begun.tags, **process_tags(begun.run_id), **({"orewatch/pid": str(pid)} if pid else {})})


def dead_process() -> int:
    """The number of a process that was here a moment ago."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid
