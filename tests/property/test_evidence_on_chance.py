"""Evidence on histories in which nothing follows from anything: it has to say so. All prices are made up."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from orchestration.evidence.level_statistics import level_statistics
from orchestration.evidence.return_periods import sizes_of, tail_of
from orchestration.evidence.studies import STUDY, Series, study_outcomes
from orchestration.evidence.tables import study_statistics

pytestmark = pytest.mark.slow

PATHS, SESSIONS = 1_000, 4_000


def returns_without_memory_in_the_mean(rng: np.random.Generator) -> np.ndarray:
    """GARCH(1,1) with Student's t of 5: volatility comes in clusters, directions do not."""
    noise = rng.standard_t(5, (SESSIONS, PATHS)) / np.sqrt(5 / 3)
    variance, returns = np.full(PATHS, 0.02**2), np.empty((SESSIONS, PATHS))
    for day in range(SESSIONS):
        returns[day] = np.sqrt(variance) * noise[day]
        variance = 0.02**2 * 0.03 + 0.9 * variance + 0.07 * returns[day] ** 2
    return np.clip(returns, -0.6, 1.5).T


def test_what_follows_large_moves_is_what_follows_any_session() -> None:
    """2,000 studies: falls and rises of 1,000 instruments; 5 of 100 intervals miss, q finds next to nothing."""
    returns = returns_without_memory_in_the_mean(np.random.default_rng(20260130))
    days = np.datetime64("2010-01-01", "s") + np.arange(SESSIONS) * np.timedelta64(1, "D")
    index = np.cumprod(1 + returns, axis=1)
    series = {f"S{n:04}": Series(days, path, path) for n, path in enumerate(index)}
    events = []
    for direction, path_and_day in (("down", np.nonzero(returns <= -0.05)), ("up", np.nonzero(returns >= 0.05))):
        paths, places = path_and_day
        names = np.array(list(series))[paths]
        events.append(pd.DataFrame({"series": names, "session_date": days[places], "direction": direction}))
    happened = pd.concat(events).assign(
        study_id="x", signal="return_1d", scope="symbol", level_id=None, threshold=0.05, event_id=None
    )
    happened = happened.assign(scope_value=happened["series"], symbol=happened["series"])
    happened = happened.assign(study_key=happened["direction"] + happened["series"])
    outcomes = study_outcomes(pa.Table.from_pandas(happened, preserve_index=False), series, {}).to_pandas()
    kept = outcomes[(outcomes["sessions"] == 21) & outcomes["is_episode"] & outcomes["outcome"].notna()]
    studies = kept.groupby([*STUDY, "sessions"], dropna=False)["outcome"].agg(list).rename("changes").reset_index()
    after = index[:, 21:] / index[:, :-21] - 1
    base = pd.DataFrame(
        {
            "scope": "symbol",
            "scope_value": list(series),
            "sessions": 21,
            "base_share_up": (after > 1e-9).mean(axis=1),
            "base_median": np.median(after, axis=1),
        }
    )
    found = study_statistics(studies.assign(signals=0, episodes=0), base)
    found = found[found["matured"] >= 10]
    assert len(found) > 1_900
    missed = (found["base_share_up"] < found["share_up_lower"]) | (found["base_share_up"] > found["share_up_upper"])
    assert 0.02 < missed.mean() <= 0.07
    assert (found["finding"] != "not different").mean() <= 0.01


def test_levels_that_anybody_might_have_named_hold_as_often_as_any() -> None:
    """Of 1,000 instruments the close after 1,000 sessions, named then; and round numbers."""
    returns = returns_without_memory_in_the_mean(np.random.default_rng(54))
    days = np.datetime64("2010-01-01") + np.arange(SESSIONS) * np.timedelta64(1, "D")
    rows = []
    for path in returns:
        close = 50 * np.cumprod(1 + path)
        if not 1e-3 < close.min() <= close.max() < 1e6:
            continue
        prices = pa.table(
            {"symbol": ["A"] * SESSIONS, "session_date": pa.array(days), "low": close, "high": close, "close": close,
             "atr_14": np.full(SESSIONS, np.nan), "splits_to_come": np.ones(SESSIONS)}
        )  # fmt: skip
        level = {
            "level_id": "l", "symbol": "A", "lower": close[1_000], "upper": close[1_000], "kind": "support",
            "active_from": days[0].astype(object), "known_since": days[1_001].astype(object),
        }  # fmt: skip
        rows += [row for row in level_statistics(prices, [level]) if not row["in_hindsight"]]
    found = pd.DataFrame(rows)
    # A grid that is moved twice has its own chance: more of round numbers differ than of 20 moved levels.
    for scope, most in (("level", 0.08), ("round_numbers", 0.12)):
        of_scope = found[found["scope"] == scope]
        judged = of_scope[of_scope["finding"] != "too few"]
        assert len(judged) > 400
        assert (judged["finding"] != "not different").mean() <= most
        held, placebo = (
            of_scope[hits].sum() / of_scope[n].sum()
            for hits, n in (("held", "tests"), ("placebo_held", "placebo_tests"))
        )
        assert held == pytest.approx(placebo, abs=0.02)


@pytest.mark.parametrize("years", [25, 100])
def test_the_interval_of_a_period_covers_the_truth(years: int) -> None:
    """500 histories of 20 years of Student's t of 4, whose period is known."""
    rng = np.random.default_rng(years)
    size = float(stats.t.isf(1 / (252 * years), 4)) * 0.01
    covered = []
    for _ in range(500):
        tail = tail_of(sizes_of(np.expm1(rng.standard_t(4, 5_040) * 0.01), "up"))
        if tail is None or tail.period(size) is None:
            continue
        lower, upper = tail.interval(size)
        covered.append((lower or 0) <= years <= (upper or np.inf))
    assert len(covered) > 490
    assert np.mean(covered) >= 0.87
