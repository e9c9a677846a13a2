"""Evidence beside the libraries that it rests on, and on cases that can be counted by hand. All prices are made up."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import optimize, stats

from orchestration.evidence import memory as memory_module
from orchestration.evidence import outcomes, return_periods, statistics
from orchestration.evidence.memory import Memory, keys
from orchestration.evidence.studies import STUDY, Series, study_outcomes
from orchestration.evidence.tables import PERIODS, move_return_periods, study_statistics, table

DAYS = np.arange(np.datetime64("2020-01-01", "s"), np.datetime64("2021-03-01", "s"), np.timedelta64(1, "D"))


def test_episodes_do_not_overlap() -> None:
    places = [0, 5, 22, 43, 44, 70]
    assert outcomes.episodes(places, 5).tolist() == [True, False, True, False, True, True]
    assert outcomes.episodes(places, 21).tolist() == [True, False, True, False, True, True]
    assert outcomes.episodes(places, 63).tolist() == [True, False, False, False, False, True]
    assert outcomes.episodes([], 5).tolist() == []


def test_what_follows_an_event_is_of_the_sessions_after_it() -> None:
    index = np.array([8.0, 4.0, 2.0, 6.0, 8.0, 5.0])
    change, worst, best = outcomes.outcomes(index, np.array([1, 3]), 3)
    assert (change[0], worst[0], best[0]) == (1.0, -0.5, 1.0)
    assert np.isnan([change[1], worst[1], best[1]]).all()
    assert np.isnan(outcomes.outcomes(index, np.array([0]), 6)).all()
    assert outcomes.recoveries(index, np.array([0, 1, 5])).tolist() == [-1, 4, -1]


@pytest.mark.parametrize("seed", range(5))
def test_a_recovery_is_the_first_one_however_long_it_takes(seed: int) -> None:
    index = np.exp(np.cumsum(np.random.default_rng(seed).normal(-0.002, 0.02, 700)))
    places = np.arange(len(index))
    later = [np.flatnonzero(index[place:] >= index[place - 1] * (1 - 1e-12)) for place in places]
    first = [place + found[0] if place and len(found) else -1 for place, found in zip(places, later, strict=True)]
    assert outcomes.recoveries(index, places).tolist() == first
    assert 0 < first.count(-1) < 500


def test_what_is_of_several_is_the_change_alone() -> None:
    index = np.array([8.0, 4.0, np.nan, 6.0, 8.0, 5.0])
    assert np.array_equal(
        outcomes.changes(index, np.arange(6), 2), outcomes.outcomes(index, np.arange(6), 2)[0], equal_nan=True
    )


def test_a_share_has_wilsons_interval_and_a_binomial_p() -> None:
    share = statistics.Share(23, 42)
    assert share.interval == pytest.approx((0.3994911903, 0.6877660677), abs=1e-9)
    assert statistics.p_values([share], [0.5168561739]) == pytest.approx([0.7584772155], abs=1e-9)
    assert statistics.Share(3, 9).interval == (None, None)
    assert statistics.Share(0, 0).rate is None


def test_p_is_that_of_scipys_binomial_test() -> None:
    rng = np.random.default_rng(3)
    n = rng.integers(1, 200, 400)
    shares = [statistics.Share(int(rng.integers(0, size + 1)), int(size)) for size in n]
    bases = [*rng.uniform(0, 1, 396), 0.0, 1.0, 0.5, 0.25]
    exact = [stats.binomtest(share.hits, share.n, base).pvalue for share, base in zip(shares, bases, strict=True)]
    assert statistics.p_values(shares, bases) == pytest.approx(exact, rel=1e-9, abs=1e-14)
    assert statistics.p_values([statistics.Share(0, 0), shares[0], shares[1]], [0.5, None, 0.5])[:2] == [None, None]
    assert statistics.p_values([], []) == []


@pytest.mark.parametrize("n", [10, 11, 42, 500])
def test_the_interval_of_a_median_is_exact(n: int) -> None:
    changes = np.random.default_rng(n).standard_t(3, n)
    exact = stats.quantile_test(changes, q=0, p=0.5).confidence_interval(0.95)
    assert statistics.median(changes) == (np.median(changes), exact.low, exact.high)
    assert statistics.median(changes[:9])[1:] == (None, None)


@pytest.mark.parametrize(
    ("hits", "base", "q", "words"),
    [(40, 0.5, 0.01, "above"), (10, 0.5, 0.05, "below"), (40, 0.5, 0.06, "not different"), (40, 0.5, None, "too few")],
)
def test_a_difference_is_told_only_where_chance_is_unlikely(
    hits: int, base: float, q: float | None, words: str
) -> None:
    assert statistics.finding(statistics.Share(hits, 50), base, q) == words
    assert statistics.finding(statistics.Share(9, 9), base, q) == "too few"


def sizes(seed: int, n: int = 5_000) -> np.ndarray:
    return return_periods.sizes_of(np.random.default_rng(seed).standard_t(4, n) * 0.01, "down")


def test_a_tail_is_that_of_scipy() -> None:
    known = sizes(7)
    tail = return_periods.tail_of(known)
    assert tail is not None
    assert tail.threshold == np.quantile(known, 0.975)
    shape, _, scale = stats.genpareto.fit(tail.excesses, floc=0)
    assert (tail.shape, tail.scale) == pytest.approx((shape, scale), abs=1e-9)
    size = tail.threshold + 0.02
    beyond = stats.genpareto.sf(0.02, shape, scale=scale)
    assert tail.period(size) == pytest.approx(5_000 / 252 / len(tail.excesses) / beyond)
    assert tail.level(tail.period(size) or 0.0) == pytest.approx(size)
    assert tail.period(tail.threshold) is None
    assert return_periods.tail_of(known[:999]) is None
    assert return_periods.tail_of(known[:1_200]) is None  # fewer than 40 clusters


@pytest.mark.parametrize(("seed", "excess"), [(7, 0.002), (7, 0.02), (8, 0.05), (11, 0.01)])
def test_an_interval_is_that_of_the_profile_likelihood(seed: int, excess: float) -> None:
    """Beside a search with scipy over the likelihood as it stands in the book, which takes a hundred times as long."""
    tail = return_periods.tail_of(sizes(seed))
    assert tail is not None
    years, clusters = tail.returns / 252, len(tail.excesses)

    def cost(shape: float, scale: float, log_rate: float) -> float:
        density = stats.genpareto.logpdf(tail.excesses, shape, scale=scale).sum() if scale > 0 else -np.inf
        return -density - clusters * log_rate + np.exp(log_rate) * years

    def lost(log_period: float) -> float:
        def at(free: np.ndarray) -> float:
            shape, log_scale = free
            beyond = stats.genpareto.sf(excess, shape, scale=np.exp(log_scale))
            found = cost(shape, np.exp(log_scale), -log_period - np.log(beyond)) if beyond > 0 else np.inf
            return found if np.isfinite(found) else 1e12

        start = np.array([tail.shape, np.log(tail.scale)])
        best = optimize.minimize(
            at, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-8, "maxiter": 4000}
        )
        return 2 * (best.fun - cost(tail.shape, tail.scale, np.log(clusters / years)))

    lower, upper = tail.interval(tail.threshold + excess)
    assert lower is not None
    for end in (lower, upper):
        if end is not None:
            assert lost(np.log(end)) == pytest.approx(stats.chi2.ppf(0.95, 1), abs=0.02)


def test_what_lies_beyond_the_end_of_a_tail_has_a_lower_end_all_the_same() -> None:
    known = return_periods.sizes_of(np.random.default_rng(1).uniform(-0.02, 0.02, 5_000), "down")
    tail = return_periods.tail_of(known)
    assert tail is not None
    assert tail.period(0.021) == np.inf
    lower, upper = tail.interval(0.021)
    assert lower is not None
    assert lower > 10
    assert upper is None


def test_clusters_are_five_returns_apart() -> None:
    around = np.zeros(40)
    around[[3, 8, 14, 20, 21]] = [2, 3, 4, 5, 6]
    assert return_periods.cluster_maxima(around, 1.0).tolist() == [3, 4, 6]


def test_a_move_is_known_only_by_what_came_before_it_and_is_found_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_t(4, 3_000) * 0.01
    values[[2_500, 2_700]] = -0.2, 0.2
    days = np.datetime64("2010-01-01", "s") + np.arange(3_000) * np.timedelta64(1, "D")
    returns = pd.DataFrame({"symbol": "A", "session_date": days, "value": values, "multiple": np.nan})
    moves = arrow(returns.loc[[100, 2_500, 2_700], ["symbol", "session_date"]])
    memory = Memory(tmp_path / "known.parquet", PERIODS)
    found = pd.DataFrame(move_return_periods(arrow(returns), moves, memory))
    memory.save()
    assert found[["session_date", "side"]].to_numpy().tolist() == [[days[2_500], "down"], [days[2_700], "up"]]
    # What came later changes nothing.
    shorter = pd.DataFrame(
        move_return_periods(arrow(returns[:2_501]), moves, Memory(tmp_path / "none.parquet", PERIODS))
    )
    assert shorter.iloc[0].equals(found.iloc[0])
    # What is known is not looked for, and what was before makes the key.
    (tmp_path / "known.parquet").touch()
    known = Memory(tmp_path / "known.parquet", PERIODS)
    assert pd.DataFrame(move_return_periods(arrow(returns), moves, known)).equals(found)
    assert keys(values, [5, 9], "plain") == keys(values[:10], [5, 9], "plain")
    assert keys(values, [5, 9], "plain")[1] not in keys(values + 1e-16, [9], "volatility")
    values[0] += 1e-6
    assert keys(values, [5], "plain")[0] not in known


def test_what_a_long_search_has_found_is_kept_if_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "SAVED_EVERY", -1.0)
    memory = Memory(tmp_path / "known.parquet", PERIODS)
    memory[b"1" * 16] = (1.0, None, None, 2.0, 3.0)
    assert b"1" * 16 in Memory(tmp_path / "known.parquet", PERIODS)


def test_a_broken_memory_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "known.parquet").write_bytes(b"cut short")
    memory = Memory(tmp_path / "known.parquet", PERIODS)
    assert b"0" * 16 not in memory
    memory[b"0" * 16] = None
    memory[b"1" * 16] = (1.0, None, None, 2.0, 3.0)
    memory.save()
    kept = Memory(tmp_path / "known.parquet", PERIODS)
    assert kept[b"0" * 16] is None
    assert kept[b"1" * 16] == (1.0, None, None, 2.0, 3.0)


def arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def events(*rows: tuple[str, str, str, int]) -> pa.Table:
    """Scope, its value, series and place of falls of a study."""
    found = pd.DataFrame(rows, columns=["scope", "scope_value", "series", "place"])
    found = found.assign(
        study_key=found["scope"] + found["scope_value"], study_id="falls", signal="return_1d", level_id=None,
        direction="down", threshold=0.05, symbol=found["series"],
        event_id=found["series"] + found["place"].astype(str), session_date=DAYS[found["place"]],
    )  # fmt: skip
    return arrow(found)


def test_a_tier_has_one_vote_a_session() -> None:
    up, down = np.cumprod(np.full(400, 1.01)), np.cumprod(np.full(390, 0.98))
    series = {"A": Series(DAYS[:400], up, up), "B": Series(DAYS[10:400], down, down)}
    happened = events(
        ("tier", "junior", "A", 20), ("tier", "junior", "A", 100), ("tier", "junior", "B", 20), ("symbol", "A", "A", 20)
    )
    found = table("study_outcomes", study_outcomes(happened, series, {("tier", "junior"): ["A", "B"]})).to_pandas()
    after_5 = found[found["sessions"] == 5].set_index("scope")
    both, one = (1.01**5 - 1 + 0.98**5 - 1) / 2, 1.01**5 - 1
    assert after_5.loc["tier", "outcome"].tolist() == pytest.approx([both, one])
    assert after_5.loc["tier", "is_episode"].tolist() == [True, True]
    assert after_5.loc["tier", "event_id"].isna().all()
    assert after_5.loc["symbol", "outcome"] == pytest.approx(one)
    assert after_5.loc["symbol", "matured_date"] == DAYS[25].astype(object).date()
    assert after_5.loc["symbol", "recovery_date"] == DAYS[20].astype(object).date()
    assert len(found) == 9


def test_what_has_not_matured_is_no_outcome() -> None:
    flat = np.ones(30)
    found = study_outcomes(events(("symbol", "A", "A", 10)), {"A": Series(DAYS[:30], flat, flat)}, {})
    found = found.to_pandas().set_index("sessions")
    assert found["outcome"].notna().to_dict() == {5: True, 21: False, 63: False}
    assert found["matured_date"].notna().to_dict() == {5: True, 21: False, 63: False}
    assert table("study_outcomes", study_outcomes(events(("symbol", "A", "A", 10))[:0], {}, {})).num_rows == 0


def test_studies_are_judged_among_all_of_them() -> None:
    about = dict.fromkeys(STUDY, "x") | {"scope": "symbol", "threshold": 0.05, "sessions": 5, "signals": 90}
    about |= {"hits": [], "hit_bases": []}
    rows = [
        about | {"scope_value": "A", "episodes": 42, "changes": [0.1] * 23 + [-0.1] * 19},
        about | {"scope_value": "B", "episodes": 40, "changes": [0.1] * 39 + [1e-10]},
        about | {"scope_value": "C", "episodes": 3, "changes": []},
    ]
    base = pd.DataFrame(
        {"scope": "symbol", "scope_value": ["A", "B"], "sessions": 5, "base_share_up": 0.5, "base_median": 0.0}
    )
    found = table("study_statistics", study_statistics(pd.DataFrame(rows), base)).to_pandas()
    assert found["finding"].tolist() == ["not different", "above", "too few"]
    assert found["up"].tolist() == [23, 39, 0]
    assert found["share_up_lower"][0] == pytest.approx(0.3994911903)
    assert found["q_value"][1] == pytest.approx(2 * 1.5 * stats.binomtest(39, 40, 0.5).pvalue)
    assert found.loc[2, ["share_up", "median", "p_value", "base_share_up"]].isna().all()
