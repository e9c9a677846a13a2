"""A generated history lived by a home through the real job, and the two promises that it must keep."""

from pathlib import Path

from orchestration.assets.models import mart_grains
from orchestration.rebuild_report import differences
from orchestration.storage.compare import compare
from orchestration.storage.lake import Lake
from orchestration.verify import verify
from tests.histories import History
from tests.jobs import evaluations, run_job

# What tells how the data came, not what they are.
ABOUT_THE_WAY = ("price_revisions", "rejected_bars")
WHEN_SEEN = ("observed_at", "last_fetch_at")

# The vendor's adjusted close is kept while it moves by less than its own noise (`bars.ADJ_CLOSE_TOLERANCE`).
TOLERANCES = {"adj_close": 2e-6}


def check_promises(seed: int, folder: Path, forgetful: bool, deliveries: int) -> None:
    """Live a history, then compare with a full rebuild and, if nothing was forgotten, with one single delivery."""
    history = History(seed, folder, forgetful)
    lake = Lake(history.settings.lake_dir)
    for number, _ in enumerate(history.steps(deliveries), 1):
        # Deliveries are taken with or without a build behind them; a fetch may well be killed before it.
        if number == deliveries or history.random.random() < 0.4:
            result = run_job(history.settings)
            stopped = [name for name, e in evaluations(result).items() if not e.passed and e.severity.value == "ERROR"]
            assert result.success, (history.log, stopped)
        else:
            history.ingest(lake)

    found = verify(history.settings)
    assert found.equal, (history.log, [line for table in found.tables for line in differences(table)])
    assert sum(table.cells for table in found.tables) > 10_000
    if forgetful:
        return

    once = history.settings.model_copy(update={"home": folder / "once"})
    assert run_job(once).success
    tables = {name: grain for name, grain in mart_grains().items() if name not in ABOUT_THE_WAY}
    compared = compare(
        history.settings.published_file, once.published_file, tables, ignored=WHEN_SEEN, tolerances=TOLERANCES
    )
    assert all(table.equal for table in compared), (
        history.log,
        [line for table in compared for line in differences(table)],
    )
