"""Verdicts as calls, on cases that can be counted by hand. All prices are made up."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from orchestration.evidence.calls import CALLS, came_true, known_share, scores
from orchestration.evidence.studies import Series, study_outcomes
from orchestration.evidence.tables import table, track_records

DAYS = np.arange(np.datetime64("2020-01-01", "s"), np.datetime64("2021-03-01", "s"), np.timedelta64(1, "D"))


def test_a_call_comes_true_if_what_it_says_happens() -> None:
    changes = np.array([0.1, 0.0, -0.1, np.nan])
    assert came_true(changes, rises=True)[:3].tolist() == [1, 0, 0]
    assert came_true(changes, rises=False)[:3].tolist() == [0, 0, 1]
    assert np.isnan(came_true(changes, rises=True)[3])


def test_the_base_share_is_of_sessions_whose_end_was_known() -> None:
    is_true = np.array([1, 0, 1, 1, np.nan, np.nan])
    counts = np.array([True, True, False, True, True, True])
    assert known_share(is_true, counts, 2).tolist()[2:] == [1, 0.5, 0.5, 2 / 3]
    assert np.isnan(known_share(is_true, counts, 2)[:2]).all()
    # What comes later changes nothing.
    later = np.array([1, 0, 0, 0, np.nan, np.nan])
    assert np.array_equal(known_share(is_true, counts, 2)[:4], known_share(later, counts, 2)[:4], equal_nan=True)
    assert np.isnan(known_share(is_true[:1], counts[:1], 2)).all()


def test_a_record_is_scored_as_a_forecast() -> None:
    hits, bases = np.array([1.0, 0, 1, 1, 1, 0, 1, 1, 1, 1]), np.full(10, 0.5)
    said = [1 / 2, 2 / 3, 2 / 4, 3 / 5, 4 / 6, 5 / 7, 5 / 8, 6 / 9, 7 / 10, 8 / 11]
    own = np.mean([(p - hit) ** 2 for p, hit in zip(said, hits, strict=True)])
    assert scores(hits, bases) == pytest.approx((own, 0.25, 1 - own / 0.25))
    assert scores(hits[:9], bases[:9]) == (None, None, None)
    # The record goes on over calls of which no base share is known; they are not scored.
    assert scores(np.r_[1.0, hits], np.r_[np.nan, bases])[1] == 0.25


@pytest.mark.parametrize(
    ("signal", "direction", "hit", "base"),
    [
        ("verdict", "up", True, 1.0),
        ("verdict", "down", False, 0.0),
        ("role_flip", "down", False, 0.0),
        ("pair_widening", "up", False, 0.0),
        ("pair_widening", "down", True, 1.0),
        ("volatility_spike", "up", True, 1.0),
        ("large_move", "up", None, None),
    ],
)
def test_what_each_verdict_says(signal: str, direction: str, hit: bool | None, base: float | None) -> None:
    """Of an index that always rises, and a gap or volatility that always falls."""
    rising = np.cumprod(np.full(100, 1.01))
    series = {"A": Series(DAYS[:100], rising, rising, 1 / rising, np.ones(100, dtype=bool))}
    event = pd.DataFrame(
        {
            "study_key": "k", "study_id": signal, "signal": signal, "scope": "symbol", "scope_value": "A",
            "level_id": None, "direction": direction, "threshold": None, "event_id": "e", "series": "A", "symbol": "A",
            "session_date": DAYS[[50, 98]],
        }
    )  # fmt: skip
    found = study_outcomes(pa.Table.from_pandas(event, preserve_index=False), series, {})
    rows = table("study_outcomes", found).to_pylist()
    five = [(row["is_hit"], row["base_hit_rate"]) for row in rows if row["sessions"] == 5]
    assert five == [(hit, base), (None, base)]


def test_calls_are_held_against_their_own_base() -> None:
    about = {"signal": "verdict", "scope": "symbol", "hits": [1.0] * 6 + [0.0] * 6, "hit_bases": [0.5] * 12}
    bases = {"base_share_up": 0.6, "base_share_down": 0.4, "base_calls_up": 0.1, "base_calls_down": 0.9}
    rows = [
        {"direction": "up"},
        {"direction": "down"},
        {"direction": "down", "signal": "pair_widening", "scope": "pair"},
        {"direction": "up", "signal": "volatility_spike"},
        {"direction": "up", "scope": "tier"},
        {"direction": "up", "signal": "zone"},
    ]
    found = track_records(pd.DataFrame([about | bases | row for row in rows]))
    assert found["base_hit_rate"][:4].tolist() == [0.6, 0.4, 0.9, 0.9]
    assert found["calls"][:4].tolist() == [12] * 4
    assert found["hit_rate"][:4].tolist() == [0.5] * 4
    assert found["skill"][:4].notna().all()
    assert found[4:].isna().all(axis=None)
    assert set(CALLS) == {"verdict", "role_flip", "pair_widening", "volatility_spike"}
