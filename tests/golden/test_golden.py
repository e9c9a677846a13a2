"""Our tables equal trusted implementations on every row, and are unknown exactly where they are.

`make golden` prints the same comparisons as a table. Producers and versions: `ttr_versions.txt`,
`python_versions.txt`; how the files are made: `producers/`.
"""

import pytest

from orchestration.settings import Settings
from tests.golden import market
from tests.golden.compare import comparisons
from tests.jobs import published

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return market.build(tmp_path_factory.mktemp("golden"))


def test_every_measure_equals_its_peer(settings: Settings) -> None:
    results = list(comparisons(settings))
    assert [c for c in results if not c.agrees] == []
    assert len(results) == 88
    assert sum(c.compared for c in results) > 330_000


def test_range_estimators_are_unknown_without_ranges(settings: Settings) -> None:
    for estimator in ("parkinson", "garman_klass", "rogers_satchell", "gk_yz", "yang_zhang"):
        (row,) = published(
            settings,
            f"select count({estimator}_21) as n from volatility where symbol = 'CLOSES'",  # noqa: S608
        )
        assert row["n"] == 0


def test_one_bar_has_a_row_and_nothing_that_needs_two(settings: Settings) -> None:
    (bar,) = published(settings, "select * from returns where symbol = 'ONE'")
    unknown = {name for name, value in bar.items() if value is None}
    assert unknown >= {"return_1d", "log_return_1d", "return_1w", "return_ytd", "return_since_inception"}
    (volatility,) = published(
        settings, "select * exclude (symbol, session_date, source) from volatility where symbol = 'ONE'"
    )
    assert set(volatility.values()) == {None}
    (trend,) = published(settings, "select * from trend where symbol = 'ONE'")
    assert (trend["drawdown"], trend["sma_50"], trend["high_52w"], trend["trend_state"]) == (0, None, None, None)


def test_no_bar_has_no_row_but_is_accounted_for(settings: Settings) -> None:
    for mart in ("daily_bars", "returns", "volatility", "trend", "large_moves"):
        assert published(settings, f"select * from {mart} where symbol = 'NONE'") == []  # noqa: S608
    (row,) = published(settings, "select * from data_coverage where symbol = 'NONE'")
    assert (row["stored_sessions"], row["last_fetch_status"]) == (0, "empty")


def test_the_return_across_a_hole_says_so(settings: Settings) -> None:
    (row,) = published(settings, "select max(sessions_since_previous) as widest from returns where symbol = 'HOLES'")
    assert row["widest"] == len(market.HOLE) + 1
