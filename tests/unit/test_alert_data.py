"""What of an ended run is news: a failure that lasts, day after day, by clocks that are right and wrong."""

import datetime as dt

import dagster as dg
import pytest

from orchestration.alerts.data_alerts import judge_run
from orchestration.alerts.outbox import Judgement

STEP = "data_checks"
DAYS = [dt.date(2028, 2, 29), dt.date(2026, 12, 31), dt.date(2026, 7, 1)]


def evaluation(passed: bool = False, blocking: bool = True, symbol: str = "SIL") -> dg.AssetCheckEvaluation:
    rows = dg.MetadataValue.table([dg.TableRecord({"symbol": symbol})])
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("daily_bars"),
        check_name="complete",
        passed=passed,
        metadata={"rows": rows},
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        blocking=blocking,
    )


class Story:
    """One run after the other; each is told what was failing before."""

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}
        self.runs = 0

    def check(self, day: dt.date, **how: object) -> int:
        return self._told(False, day, [(STEP, evaluation(**how))], ())  # type: ignore[arg-type]

    def run(self, day: dt.date, cause: str = "disk full") -> int:
        return self._told(True, day, [], (cause,))

    def _told(self, failed: bool, day: dt.date, evaluations: list, causes: tuple[str, ...]) -> int:
        self.runs += 1
        judged: Judgement = judge_run(f"run{self.runs}", failed, day, evaluations, causes, self.failing)
        self.failing = dict(judged.failing)
        return len(judged.alerts)


@pytest.mark.parametrize("kind", ["check", "run"])
@pytest.mark.parametrize("today", DAYS)
def test_what_stops_a_publication_is_told_once_a_day_whatever_the_clock_did(kind: str, today: dt.date) -> None:
    told = getattr(Story(), kind)
    assert [told(today), told(today)] == [1, 0]
    for days in (3, 366, -1, -400):
        # A day that was not told yet, by a clock that is wrong; then it is today again, which was told.
        wrong = today + dt.timedelta(days)
        assert [told(wrong), told(wrong), told(today), told(today)] == [1, 0, 0, 0]
    # And when the days come that were called too early, they are told.
    assert [told(today + dt.timedelta(days)) for days in (1, 2, 3, 4)] == [1, 1, 1, 1]


def test_a_warning_lasts_over_wrong_clocks() -> None:
    story = Story()
    days = [DAYS[0] + dt.timedelta(n) for n in (0, 3, 0, -3, 1)]
    assert [story.check(day, blocking=False) for day in days] == [1, 0, 0, 0, 0]
    assert story.check(DAYS[0], blocking=False, symbol="GDX") == 1
    assert story.check(DAYS[0], passed=True) == 0
    assert story.check(DAYS[0], blocking=False) == 1


def test_a_failure_that_lasts_for_months_is_remembered_in_a_few_words() -> None:
    story = Story()
    assert all(story.run(DAYS[0] + dt.timedelta(n)) for n in range(100))
    assert len(story.failing["run"]) < 400


def test_what_an_earlier_version_has_told_today_is_not_told_again() -> None:
    story = Story()
    story.run(DAYS[0])
    story.failing = {name: state.rpartition(":")[2] for name, state in story.failing.items()}
    assert [story.run(DAYS[0]), story.run(DAYS[0] + dt.timedelta(1))] == [0, 1]
