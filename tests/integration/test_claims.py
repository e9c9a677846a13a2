"""Claims of a market note against the tables, and a claim of one's own."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.cli.refresh import is_current
from orchestration.settings import DBT_PROJECT_DIR, Settings
from tests.jobs import publish_tables, published, refresh, run_job, small_seeds, write_seeds

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("claims")
    shipped = (DBT_PROJECT_DIR / "seeds" / "published_claims.csv").read_text("utf-8")
    own = (
        "own_auau_year,2026-02-01,me,AUAU,return_1y,,2026-01-30,0.5,0.01,it is not a year old\n"
        "own_zone_reached,2026-02-01,me,SI=F,broke_level_up,silver_54_56_zone,2026-01-30,,,it was left in November\n"
        "own_once_in_a_year,2026-02-01,me,SI=F,return_period,1,2026-01-30,,,a fall that comes less than once a year\n"
        "own_every_year,2026-02-01,me,SI=F,return_period,1,2025-12-19,,,an ordinary day\n"
        "own_rises_after_falls,2026-02-01,me,SI=F,share_up_after,silver_falls_of_5_percent 21,2026-01-30,0.5,0.5,any\n"
    )
    settings = Settings(home=folder / "home", seeds=write_seeds(folder / "seeds", published_claims=shipped + own))
    publish_tables(settings)
    return settings


def orewatch(settings: Settings, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "orewatch", command],
        env={
            **os.environ,
            "COLUMNS": "120",
            "OREWATCH_HOME": str(settings.home),
            "OREWATCH_SEEDS": str(settings.seeds),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_claim_has_its_verdict(settings: Settings) -> None:
    verdicts = {r["claim_id"]: r["verdict"] for r in published(settings, "select * from claim_checks")}
    assert verdicts == {
        "note_sil_fall": "confirmed",
        "note_sil_close": "confirmed",
        "note_auau_fall": "confirmed",
        "note_auau_close": "confirmed",
        "note_sil_year_to_date": "refuted",
        "note_silver_above_100": "confirmed",
        "note_silver_above_54": "confirmed",
        "note_silver_above_zone": "confirmed",
        "note_juniors_beta": "confirmed",
        "note_spike_in_uptrend": "confirmed",
        "note_silver_record_fall": "confirmed",
        "own_auau_year": "not computable",
        "own_zone_reached": "refuted",
        "own_once_in_a_year": "confirmed",
        "own_every_year": "refuted",
        "own_rises_after_falls": "confirmed",
    }


def test_the_year_to_date_figure_of_the_note(settings: Settings) -> None:
    (row,) = published(settings, "select * from claim_checks where claim_id = 'note_sil_year_to_date'")
    assert (row["claimed"], round(row["computed"], 3), row["base_date"]) == (1.8045, 0.129, dt.date(2025, 12, 31))


def test_a_young_fund_has_no_figure_that_it_cannot_have(settings: Settings) -> None:
    question = "select * from {} where symbol = 'AUAU' and session_date = '2026-01-30'"
    (volatility,) = published(settings, question.format("volatility"))
    assert volatility["close_to_close_21"] is not None
    assert {volatility[n] for n in volatility if n.endswith(("_63", "_252")) or n == "is_volatility_spike"} == {None}
    (returns,) = published(settings, question.format("returns"))
    assert {returns[n] for n in ("return_3m", "return_6m", "return_1y", "base_date_1y")} == {None}
    (relative,) = published(settings, question.format("sector_relative"))
    assert {relative[n] for n in ("beta_63", "beta_252", "relative_strength_252", "sector_beta_63")} == {None}
    (trend,) = published(settings, question.format("trend"))
    assert {trend[n] for n in ("high_52w", "is_52w_low", "sma_50", "sma_200", "trend_state", "verdict")} == {None}


def test_the_command_prints_them(settings: Settings) -> None:
    run = orewatch(settings, "verify-claims")
    assert run.returncode == 0
    (line,) = [line for line in run.stdout.splitlines() if "note_sil_year_to_date" in line]
    assert "+180.45%" in line
    assert "+12.91%" in line
    assert "refuted" in line
    assert "SIMULATED" in run.stdout


def test_a_claim_that_is_added_has_its_verdict_after_the_next_refresh(tmp_path: Path) -> None:
    """The prices are the same, yet the command must not stop at "nothing new"."""
    level = "slv_100,SLV,100,100,psychological,2026-01-01,\n"
    settings = Settings(home=tmp_path / "home", seeds=small_seeds(tmp_path / "seeds", "SIL", "SLV", levels=level))
    assert run_job(settings).success
    assert published(settings, "select * from claim_checks") == []
    assert is_current(settings.paths)
    with (settings.seeds / "published_claims.csv").open("a", encoding="utf-8") as stream:
        stream.write("own_sil_close,2026-02-01,me,SIL,close,,2026-01-30,94.3,0.005,\n")
        stream.write("own_slv_up,2026-02-01,me,SLV,return_1d,,2026-01-30,0.01,0.005,\n")
    assert refresh(settings)
    verdicts = {row["claim_id"]: row["verdict"] for row in published(settings, "select * from claim_checks")}
    assert verdicts == {"own_sil_close": "confirmed", "own_slv_up": "refuted"}
