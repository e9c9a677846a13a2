"""Where the seconds of a refresh go: samples of the main thread, added up by the step that it is in."""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

SECONDS_BETWEEN_SAMPLES = 0.005

# The first of these that is on the stack, from the top of the list, names what is being done.
STEPS = (
    ("dbt builds and tests", "dagster_dbt/core/dbt_cli_invocation.py:_stream_stdout"),
    ("Dagster: events of the run", "instance/methods/event_methods.py:handle_new_event"),
    ("fetch, validate, store", "ingest/run.py:ingest"),
    ("fetch, validate, store", "ingest/assets.py:ingest_step"),
    ("models: start of dbt, row counts", "transform/assets.py:dbt_models"),
    ("audit", "publish/audit.py:data_checks"),
    ("publish", "publish/assets.py:published_market"),
    ("market checks", "signals/checks.py:market_checks"),
    ("brief", "show/brief/assets.py:market_brief"),
    ("alerts", "orchestration/cli/refresh.py:_tell"),
    ("what was flagged, on the screen", "orchestration/cli/status.py:print_new_events"),
    ("definitions", "orchestration/build.py:build_definitions"),
    ("Dagster: the rest of the runs", "orchestration/cli/refresh.py:_run"),
    ("Dagster: instance", "dagster/_core/instance/instance.py:get"),
    ("start: imports", "<frozen importlib._bootstrap>:_find_and_load"),
)
REST = "everything else"


def print_steps() -> None:
    """A first refresh, one that builds everything again, one that finds nothing new: a column of seconds for each."""
    with tempfile.TemporaryDirectory() as home:
        again = Path(home) / "sample" / "market_checks.json"
        columns = {}
        for name in ("first", "everything", "nothing new"):
            if name == "everything":
                again.unlink()
            columns[name] = _sampled(Path(home))
    names = [*dict.fromkeys(name for name, _ in STEPS), REST]
    print(f"{'seconds of the main thread':<40}" + "".join(f"{name:>14}" for name in columns))
    for name in names:
        print(f"{name:<40}" + "".join(f"{column.get(name, 0):>14.2f}" for column in columns.values()))
    print(f"{'total':<40}" + "".join(f"{sum(column.values()):>14.2f}" for column in columns.values()))


def _sampled(home: Path) -> dict[str, float]:
    """Seconds by step of one refresh in a process of its own."""
    written = home / "steps.json"
    subprocess.run(
        [sys.executable, "-m", "benchmarks.steps", written],
        env={**os.environ, "OREWATCH_HOME": str(home), "OREWATCH_SOURCE": "sample"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return dict(json.loads(written.read_text()))


def _step_of(frame: FrameType | None) -> str:
    stack = []
    while frame is not None:
        stack.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
        frame = frame.f_back
    return next((name for name, place in STEPS if any(call.endswith(place) for call in stack)), REST)


def _sample(main: int, found: "Counter[str]", stop: threading.Event) -> None:
    last = time.perf_counter()
    while not stop.wait(SECONDS_BETWEEN_SAMPLES):
        step, now = _step_of(sys._current_frames().get(main)), time.perf_counter()
        found[step] += now - last
        last = now


def main(written: Path) -> None:
    """Run `orewatch refresh` in this process and write what its main thread did."""
    found: Counter[str] = Counter()
    stop = threading.Event()
    sampler = threading.Thread(target=_sample, args=(threading.main_thread().ident, found, stop))
    sampler.start()
    sys.argv = ["orewatch", "refresh"]
    try:
        runpy.run_module("orchestration.cli.main", run_name="__main__", alter_sys=True)
    finally:
        stop.set()
        sampler.join()
        written.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
