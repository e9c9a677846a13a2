"""What a move check and the terminal say about the rules that moves broke."""

import datetime as dt
import io
import re
from typing import Any

import pytest
from rich.console import Console

from orchestration.cli.status import signal_table
from orchestration.market.universe import MOVE_MEASURES, MoveRule
from orchestration.signals.moves import alert, describe, summary, table

DAY = dt.date(2026, 1, 30)


def rule(measure: str, sessions: int, threshold: float, scope: str = "all", value: str | None = None) -> MoveRule:
    return MoveRule(
        rule_id="rule",
        scope=scope,  # type: ignore[arg-type]
        scope_value=value,
        measure=measure,
        sessions=sessions,
        threshold=threshold,
        note="",
    )


def hit(symbol: str, measure: str, sessions: int, score: float, return_1d: float, **more: Any) -> dict[str, Any]:
    return {
        "session_date": DAY,
        "symbol": symbol,
        "rule_id": f"{measure}_{sessions}",
        "measure": measure,
        "sessions": sessions,
        "score": score,
        "return_1d": return_1d,
        "rank_since_inception": 2,
        "returns_since_inception": 4096,
        "largest_since": dt.date(2020, 3, 13),
        "largest_since_return": -0.171,
        "is_record": False,
        "sessions_since_previous": 1,
        "bridges_gap": False,
        **more,
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (rule("return_1d", 1, 0.06, "tier", "senior"),
         "A daily total return of 6.0% or more, up or down, in tier senior."),
        (rule("opening_gap", 1, 0.05), "An opening gap of 5.0% or more, up or down, in any instrument."),
        (rule("cumulative_return", 5, 0.17, "symbol", "SIL"),
         "A total return over 5 sessions reached 17.0%, up or down, in symbol SIL."),
        (rule("drawdown", 1, 0.2),
         "The total return fell to 20.0% or more below its peak, in any instrument."),
        (rule("distance_from_52w_high", 1, 0.3),
         "A close fell to 30.0% or more below the highest of 52 weeks, in any instrument."),
        (rule("point_change", 1, 0.15, "symbol", "^TNX"),
         "A daily change of 0.15 points or more, up or down, in symbol ^TNX."),
        (rule("z_score", 21, 4),
         "A return of 4 or more standard deviations of the 21 returns before it, in any instrument."),
        (rule("percentile", 252, 0.998),
         ("A return at or beyond the percentile 0.998, or 1 less it, of the 252 returns before it, "
          "in any instrument.")),
    ],
)  # fmt: skip
def test_a_rule_in_words(given: MoveRule, words: str) -> None:
    assert describe(given) == words


@pytest.mark.parametrize("measure", MOVE_MEASURES)
def test_every_measure_has_words(measure: str) -> None:
    facts = MOVE_MEASURES[measure]
    given = rule(measure, facts.sessions[0], facts.at_most)
    assert re.match("(An?|The) [a-z]", describe(given))
    assert summary([hit("SIL", measure, facts.sessions[0], -0.25, -0.125)]).startswith("2026-01-30: SIL ")


def test_the_summary_names_the_scores_that_broke_the_rule_largest_first() -> None:
    week = [hit("SIL", "cumulative_return", 5, -0.172, 0.001), hit("AG", "cumulative_return", 5, -0.25, -0.002)]
    assert summary(week) == ("2026-01-30: AG -25.00% in 5 sessions, SIL -17.20% in 5 sessions")
    extreme = [hit("SIL", "percentile", 252, 0.0, -0.07), hit("AG", "percentile", 252, 1.0, 0.08)]
    assert summary(extreme) == "2026-01-30: AG +8.00%, SIL -7.00%"
    volume = [hit("SIL", "volume_ratio", 20, 2.4, -0.1478)]
    assert summary(volume) == "2026-01-30: SIL -14.78% on 2.4 times its usual volume"


def test_what_is_below_its_peak_or_moves_in_points_is_said_so() -> None:
    assert summary([hit("SIL", "drawdown", 1, -0.203, -0.01)]) == "2026-01-30: SIL 20.30% below its peak"
    far = [hit("SIL", "distance_from_52w_high", 1, -0.3, -0.01)]
    assert summary(far) == "2026-01-30: SIL 30.00% below its 52-week high"
    points = hit("^TNX", "point_change", 1, -0.25, None, point_change_1d=-0.25, largest_since_return=-0.3)  # type: ignore[arg-type]
    assert summary([points]) == "2026-01-30: ^TNX -0.25 points"
    more = {"rules_hit": "yield", "severity": "warning"}
    assert alert([points | more]).title == "^TNX -0.25 points"
    assert alert([points | more]).lines[0] == "the largest fall since 2020-03-13 (-0.3 points), number 2 of all"
    below = alert([far[0] | more])
    assert below.title == "SIL 30.00% below its 52-week high (-1.00% on the day)"


def test_the_terminal_shows_what_moves_in_points_behind_returns() -> None:
    points = hit("^VIX", "point_change", 1, 8.0, None, point_change_1d=8.0, largest_since_return=9.5)  # type: ignore[arg-type]
    deep = hit("SIL", "drawdown", 1, -0.203, -0.01)
    cells = table([points, deep], "{:g}".format).rows
    assert [row[1] for row in cells] == ["SIL", "^VIX"]
    assert [row[2] for row in cells] == ["-1.00%", "+8 points"]
    assert [row[4] for row in cells] == ["2020-03-13 -17.10%", "2020-03-13 +9.5 points"]
    assert [row[5] for row in cells] == ["drawdown-20%", ""]


def test_the_terminal_shows_a_move_once_with_all_that_it_broke() -> None:
    shown = signal_table(
        "Large moves",
        table(
            [
                hit("SIL", "return_1d", 1, -0.1478, -0.1478),
                hit("SIL", "z_score", 21, -5.84, -0.1478),
                hit("SIL", "robust_z", 252, -6.84, -0.1478),
                hit("SIL", "percentile", 252, 0.0, -0.1478),
                hit("SIL", "cumulative_return", 2, -0.16, -0.1478),
                hit("SIL", "cumulative_return", 5, -0.172, -0.1478),
                hit("SIL", "opening_gap", 1, -0.061, -0.1478),
                hit("SIL", "volume_ratio", 20, 2.4, -0.1478),
                hit("SLV", "return_1d", 1, -0.2854, -0.2854, largest_since=None, is_record=True),
                hit("AUAU", "cumulative_return", 3, 0.15, -0.05, bridges_gap=True),
                hit("GDX", "percentile", 252, 0.0, -0.08, bridges_gap=True, sessions_since_previous=3),
            ],
            "{:g}".format,
        ),
    )
    screen = io.StringIO()
    Console(file=screen, width=100).print(shown)
    lines = [" ".join(line.split()) for line in screen.getvalue().splitlines() if "2026-01-30" in line]
    assert lines == [
        "2026-01-30 SLV -28.54% 2 of 4,096 record",
        "2026-01-30 SIL -14.78% 2 of 4,096 2020-03-13 -17.10% z-7 5d-17% open-6% volume",
        "2026-01-30 GDX -8.00%* 2 of 4,096 2020-03-13 -17.10% extreme",
        "2026-01-30 AUAU -5.00% 2 of 4,096 2020-03-13 -17.10% 3d+15%*",
    ]
    assert "* spans missing sessions" in screen.getvalue()
