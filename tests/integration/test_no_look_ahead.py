"""No figure of a session knows what came later: cut the history anywhere and every earlier row stays as it was."""

import datetime as dt
import math
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import Settings
from tests.jobs import publish_tables, published

pytestmark = pytest.mark.integration

# Mart -> key of its rows beside the session, as SQL.
# What a vendor restates (adj_close) and when it was seen (observed_at) are no figures.
MARTS = {
    "daily_bars": "symbol",
    "returns": "symbol",
    "volatility": "symbol",
    "trend": "symbol",
    "sector_relative": "symbol",
    "sector_daily": "sector",
    "pair_spreads": "pair_id",
    "large_moves": "symbol",
    "move_rule_hits": "symbol || ' ' || rule_id",
    "level_events": "event_id",
    "level_daily": "level_id",
}
NOT_FIGURES = {"adj_close", "observed_at"}

# A quiet day, the eve of the crash, the crash itself.
SAMPLE = dt.date(2026, 1, 30)
CUTS = [*(pytest.param(day, marks=pytest.mark.slow) for day in (dt.date(2023, 5, 17), dt.date(2026, 1, 29))), SAMPLE]


def snapshot(settings: Settings, through: dt.date) -> dict[str, dict[Any, dict[str, Any]]]:
    """Every mart's rows up to a session, by key."""
    return {
        mart: {
            (row["key_"], row["session_date"]): {k: v for k, v in row.items() if k not in NOT_FIGURES}
            for row in published(settings, f"select *, {key} as key_ from {mart} where session_date <= ?", through)  # noqa: S608
        }
        for mart, key in MARTS.items()
    }


def differing(early: dict[str, Any], late: dict[str, Any]) -> list[str]:
    """Columns that are not the same; floats may differ in their last digits."""
    return [
        name
        for name, value in early.items()
        if value != late[name]
        and not (
            isinstance(value, float)
            and isinstance(late[name], float)
            and math.isclose(value, late[name], rel_tol=1e-12, abs_tol=1e-13)
        )
    ]


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_earlier_rows_do_not_change(cut: dt.date, sample_home: Path, later_home: Path, tmp_path: Path) -> None:
    whole = Settings(home=later_home, as_of=dt.date(2026, 3, 6))
    if cut == SAMPLE:
        settings = Settings(home=sample_home)
    else:
        settings = Settings(home=tmp_path, as_of=cut)
        publish_tables(settings)
    early, late = snapshot(settings, cut), snapshot(whole, cut)
    for mart in MARTS:
        assert early[mart].keys() == late[mart].keys(), mart
        changed = {key: names for key, row in early[mart].items() if (names := differing(row, late[mart][key]))}
        assert changed == {}, mart
    assert sum(len(found) for found in early.values()) > 100_000
