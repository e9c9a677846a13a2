"""No figure of a session knows what came later: cut the history anywhere and every earlier row stays as it was."""

import datetime as dt
from pathlib import Path

import pytest

from orchestration.cli.compare import compare
from orchestration.publish.marts import mart_grains
from orchestration.settings import Settings
from tests.jobs import publish_tables, published

pytestmark = pytest.mark.integration

MARTS = (
    "daily_bars",
    "returns",
    "volatility",
    "trend",
    "sector_relative",
    "sector_daily",
    "pair_spreads",
    "gap_parts",
    "large_moves",
    "move_rule_hits",
    "level_events",
    "level_daily",
    "market_signals",
    "move_return_periods",
)
# What a vendor restates and when it was seen; and collected contracts: of what has expired nothing comes later.
NOT_FIGURES = {"adj_close", "observed_at", "is_roll"}

# A quiet day, the eve of the crash, the crash itself.
SAMPLE = dt.date(2026, 1, 30)
CUTS = [*(pytest.param(day, marks=pytest.mark.slow) for day in (dt.date(2023, 5, 17), dt.date(2026, 1, 29))), SAMPLE]


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_earlier_rows_do_not_change(cut: dt.date, sample_home: Path, later_home: Path, tmp_path: Path) -> None:
    whole = Settings(home=later_home, as_of=dt.date(2026, 3, 6))
    if cut == SAMPLE:
        settings = Settings(home=sample_home)
    else:
        settings = Settings(home=tmp_path, as_of=cut)
        publish_tables(settings)
    early, late = (each.paths.published_file.resolve() for each in (settings, whole))
    compared = compare(early, late, {mart: mart_grains()[mart] for mart in MARTS}, ignored=NOT_FIGURES)
    for table in compared:
        (known,) = published(whole, f"select count(*) as n from {table.table} where session_date <= ?", cut)  # noqa: S608
        assert (table.problem, table.differing_cells, table.only_left) == ("", 0, 0), (table.table, table.examples)
        assert table.rows == known["n"], table.table
        # Nine years of the simulated market are few for a tail.
        assert table.rows > 0 or (table.table == "move_return_periods" and cut.year < 2026), table.table
        # Of the larger one, or of 1: floats may differ in their last digits.
        assert table.largest_difference <= 1e-13, table.table
    assert sum(table.rows for table in compared) > 100_000
    # What was known of an event is what is known of it later, but for whether a fall has been regained.
    matured = """
        select event_id, sessions, is_episode, round(outcome, 12) as outcome, round(worst, 12) as worst,
            round(best, 12) as best, matured_date
        from signal_outcomes where matured_date <= ? order by event_id, sessions
    """
    known = published(settings, matured, cut)
    assert known == published(whole, matured, cut)
    assert len(known) > 10_000
