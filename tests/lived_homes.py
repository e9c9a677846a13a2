"""The two promises that a home must keep after a generated history."""

from pathlib import Path

from orchestration.cli.compare import TableComparison, compare
from orchestration.cli.rebuild_report import differences
from orchestration.cli.verify import verify
from orchestration.publish.marts import mart_grains
from tests.histories import History
from tests.jobs import evaluations, run_job
from tests.models_sql import build_models

# What tells how the data came, not what they are.
ABOUT_THE_WAY = ("price_revisions", "rejected_bars")
WHEN_SEEN = ("observed_at", "last_fetch_at")

# The vendor's adjusted close is kept while it moves by less than its own noise (`bars.VENDOR_TOLERANCE`).
TOLERANCES = {"adj_close": 2e-6}


def check_refreshed_equals_rebuilt(seed: int, folder: Path, forgetful: bool, deliveries: int) -> None:
    """Live a history through the real job, then compare what is published with a full rebuild."""
    history = History(seed, folder, forgetful)
    for number, _ in enumerate(history.steps(deliveries), 1):
        # Deliveries are taken with or without a build behind them; a fetch may well be killed before it.
        if number == deliveries or history.random.random() < 0.4:
            incremental = history.settings.model_copy(update={"full_refresh_below_bars": 0})
            result = run_job(incremental, real_dbt=True)
            stopped = [name for name, e in evaluations(result).items() if not e.passed and e.severity.value == "ERROR"]
            if history.offers_nothing:
                # It says so, and the next one goes on.
                assert (result.success, stopped) == (False, ["fetch_outcome"]), (history.log, stopped)
                continue
            assert result.success, (history.log, stopped)
        else:
            history.ingest(history.settings.paths.root)
    found = verify(history.settings)
    assert found.equal, (history.log, _differences(found.tables))
    assert sum(table.cells for table in found.tables) > 10_000


def check_piecemeal_equals_at_once(seed: int, folder: Path, deliveries: int) -> None:
    """Live a history, then compare with a home that got its last delivery and nothing else."""
    history = History(seed, folder)
    piecemeal, once = folder / "piecemeal", folder / "once"
    for _ in history.steps(deliveries):
        history.ingest(piecemeal)
    history.ingest(once)
    for root in (piecemeal, once):
        build_models(root, root / "warehouse.duckdb")
    tables = {name: grain for name, grain in mart_grains().items() if name not in ABOUT_THE_WAY}
    compared = compare(
        piecemeal / "warehouse.duckdb",
        once / "warehouse.duckdb",
        tables,
        ignored=WHEN_SEEN,
        tolerances=TOLERANCES,
    )
    assert all(table.equal for table in compared), (history.log, _differences(compared))
    assert sum(table.cells for table in compared) > 10_000


def _differences(tables: "tuple[TableComparison, ...] | list[TableComparison]") -> list[str]:
    return [line for table in tables for line in differences(table)]
