"""What is said of evidence."""

from typing import Any

import pytest

from orchestration.signals.evidence import followed, rarity, record
from orchestration.signals.registry import signals

STUDY = {
    "signal": "return_1d", "scope": "symbol", "scope_value": "SLV", "symbol": "SLV", "level_id": None,
    "direction": "down", "threshold": 0.05, "sessions": 21, "episodes": 42, "matured": 42, "up": 23,
    "share_up_lower": 0.3995, "share_up_upper": 0.6877, "base_share_up": 0.5169, "finding": "not different",
    "since": 2006, "period_years": 136.7, "period_lower": 15.58, "period_upper": None,
}  # fmt: skip
COUNTS = {name: counts for kind in signals() for name, counts in kind.studied.items()}
RIGHT = "Its record over 21 sessions: right in 14 of 23"
FALLS = "Falls of 5% or more in SLV: 42 separate ones since 2006"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {},
            f"{FALLS}; 21 sessions later higher in 23 of 42 (.40 to .69); any session .52: not different.",
        ),
        (
            {"finding": "above"},
            f"{FALLS}; 21 sessions later higher in 23 of 42 (.40 to .69); any session .52: above it.",
        ),
        (
            {"finding": "too few", "episodes": 1, "matured": 0},
            "Falls of 5% or more in SLV: 1 separate one since 2006, too few to say what usually followed.",
        ),
        (
            {"signal": "pair_widening", "scope": "pair", "scope_value": "silj_sil", "direction": "up"},
            (
                "Widening gaps of silj sil upward: 42 separate ones since 2006; 21 sessions later the first had gained "
                "on the second in 23 of 42 (.40 to .69); any session .52: not different."
            ),
        ),
    ],
)
def test_what_usually_followed(change: dict[str, Any], text: str) -> None:
    assert followed(STUDY | change, COUNTS[change.get("signal", "return_1d")](STUDY | change)) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"signal": "large_move", "direction": "up"}, "Large rises of SLV"),
        ({"threshold": 0.125}, "Falls of 12.5% or more in SLV"),
        ({"signal": "level_cross", "level_id": "silver_54", "direction": "up"}, "Closes across silver 54 upward"),
        ({"signal": "extreme"}, "New lows of SLV"),
        ({"signal": "round_number"}, "Round numbers that SLV crossed downward"),
        ({"signal": "volatility_spike", "direction": "up"}, "Volatility spikes of SLV"),
    ],
)
def test_what_is_counted(change: dict[str, Any], text: str) -> None:
    assert COUNTS[change.get("signal", "return_1d")](STUDY | change) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, f"{RIGHT} (.41 to .78); any session .51; as a forecast better by 2% than that."),
        ({"skill": -0.1}, f"{RIGHT} (.41 to .78); any session .51; as a forecast no better than that."),
        ({"skill": None}, f"{RIGHT} (.41 to .78); any session .51."),
        ({"hit_lower": None}, f"{RIGHT}, too few to judge it."),
        ({"calls": 0}, ""),
        ({"calls": None}, ""),
    ],
)
def test_a_record_is_told_whatever_it_says(change: dict[str, Any], text: str) -> None:
    about = {"calls": 23, "hits": 14, "hit_lower": 0.408, "hit_upper": 0.778, "base_hit_rate": 0.51, "skill": 0.022}
    assert record(STUDY | about | change) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "SLV: rarer than once in 15 years (best guess 137, upper end beyond 1,000)."),
        (
            {"period_lower": 2.89, "period_years": 6.26, "period_upper": 16.01},
            "SLV: rarer than once in 2.8 years (best guess 6.3, upper end 16).",
        ),
        (
            {"period_lower": 1e6, "period_years": None},
            "SLV: rarer than once in 1,000 years (best guess no end, upper end beyond 1,000).",
        ),
        (
            {"period_lower": 0.44, "period_years": 0.7, "period_upper": 1.25},
            "SLV: as far about once in 0.7 years (0.4 to 1.2).",
        ),
        ({"period_lower": None}, ""),
    ],
)
def test_how_rare_a_move_is(change: dict[str, Any], text: str) -> None:
    assert rarity(STUDY | change) == text
