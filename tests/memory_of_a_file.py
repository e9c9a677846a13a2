"""Reads the drop folder named on the command line, in a process of its own, and prints what it took, as JSON."""

import datetime as dt
import json
import resource
import sys
from pathlib import Path

from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.files import FilesSource
from tests.peak_memory import peak_mb

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    requests = [FetchRequest(s, s, None, dt.date(2026, 1, 30), "forced") for s in ("X", "GOOD")]
    outcome, good = FilesSource(Path(sys.argv[1])).fetch(requests)
    peak = peak_mb()
    found = {"status": outcome.status, "detail": outcome.detail, "rows": len(outcome.bars), "good": good.status}
    print(json.dumps({**found, "peak_mb": peak}))  # noqa: T201
