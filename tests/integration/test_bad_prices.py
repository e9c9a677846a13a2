"""Bad prices meet a rule that has a name; genuine extremes meet none."""

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.bad_prices import FAULTS, GENUINE, NOW, PRICES, SESSIONS, Case, file_of, history
from tests.findings import Finding, findings
from tests.jobs import ClockedSettings, evaluations, published, run_job, small_seeds

pytestmark = pytest.mark.integration

SYMBOLS = {
    case: f"{kind}{i:02d}" for kind, cases in (("BAD", FAULTS), ("GOOD", GENUINE)) for i, case in enumerate(cases)
}


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClockedSettings, dg.ExecuteInProcessResult]:
    folder = tmp_path_factory.mktemp("drop")
    for seed, (case, symbol) in enumerate(SYMBOLS.items()):
        file_of(case, seed).to_csv(folder / f"{symbol}.csv", index=False)
    settings = ClockedSettings(
        source="files",
        home=tmp_path_factory.mktemp("home"),
        files=folder,
        seeds=small_seeds(tmp_path_factory.mktemp("seeds"), *SYMBOLS.values()),
        moment=NOW,
    )
    return settings, run_job(settings)


@pytest.fixture(scope="module")
def found(refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult]) -> dict[str, set[Finding]]:
    return findings(*refreshed)


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
def test_a_fault_is_found_by_its_rule_and_nothing_else_is(case: Case, found: dict[str, set[Finding]]) -> None:
    rules = {rule for _, rule in found[SYMBOLS[case]]}
    assert set(case.rules) <= rules
    assert rules <= {*case.rules, *case.allowed}


@pytest.mark.parametrize("case", GENUINE, ids=lambda case: case.name)
def test_what_is_genuine_is_left_alone(case: Case, found: dict[str, set[Finding]]) -> None:
    assert found[SYMBOLS[case]] == set()


def test_a_wrong_unit_is_withheld_and_comes_back_when_it_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    settings = ClockedSettings(
        source="files",
        home=tmp_path / "home",
        files=folder,
        seeds=small_seeds(tmp_path / "seeds", "AAA", "BBB"),
        moment=NOW,
    )

    def refresh(first: int, last: int, known: int) -> tuple[list[dt.date], dict[str, Any]]:
        """The sessions of AAA that readers see, of which some are delivered 100 times too high, and the checks."""
        for seed, symbol in enumerate(("AAA", "BBB")):
            frame = history(seed)
            if symbol == "AAA":
                frame.loc[first:last, PRICES] *= 100
            frame.loc[: known - 1].to_csv(folder / f"{symbol}.csv", index=False)
        result = run_job(settings)
        assert result.success
        seen = published(settings, "select session_date from daily_bars where symbol = 'AAA' order by session_date")
        assert len(published(settings, "select 1 from daily_bars where symbol = 'BBB'")) == known
        return [row["session_date"] for row in seen], evaluations(result)

    # On the evening of the fault nobody knows yet what comes next: the bar waits, and a warning names it.
    seen, checks = refresh(149, 149, known=150)
    assert seen == SESSIONS[:149]
    assert not checks["bars_plausible"].passed
    assert checks["bars_plausible"].severity is dg.AssetCheckSeverity.WARN
    (offender,) = checks["bars_plausible"].metadata["offenders"].records
    assert offender.data | {"bars": 1} == {
        "symbol": "AAA",
        "session": str(SESSIONS[149]),
        "rule": "unit_error",
        "bars": 1,
        "first_session": str(SESSIONS[149]),
    }
    (waiting,) = published(settings, "select * from rejected_bars")
    assert (waiting["symbol"], waiting["session_date"], waiting["severity"]) == ("AAA", SESSIONS[149], "withheld")

    # If five sessions confirm it, it was a new basis: nothing is withheld, and the first session is marked.
    seen, checks = refresh(149, 155, known=156)
    assert seen == SESSIONS[:156]
    assert published(settings, "select 1 from rejected_bars") == []
    assert published(
        settings, "select symbol, session_date, suspicion from daily_bars where suspicion is not null"
    ) == [{"symbol": "AAA", "session_date": SESSIONS[149], "suspicion": "jump"}]

    # What readers saw is taken back when most of what surrounds it refutes it; that is no lost session.
    seen, checks = refresh(149, 150, known=160)
    assert seen == SESSIONS[:149] + SESSIONS[151:]
    assert checks["no_session_lost"].passed

    # Corrected by the vendor: all is well.
    seen, checks = refresh(0, -1, known=160)
    assert seen == SESSIONS
    assert checks["bars_plausible"].passed
    assert published(settings, "select 1 from rejected_bars") == []
