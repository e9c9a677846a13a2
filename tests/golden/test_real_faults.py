"""Real vendor faults meet a rule, real extremes do not: run with OREWATCH_REAL_BAD and OREWATCH_REAL_FILES.

OREWATCH_REAL_BAD is a folder of vendors' price errors beside their repaired twins (`*-fixed.csv`), of a feed whose
close is adjusted beside a range that is not, and of a scraper stuck at one price; OREWATCH_REAL_FILES and
OREWATCH_REAL_CLOSES are drop folders of real prices. A test is skipped without its folder.
"""

import datetime as dt
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from orchestration.settings import Settings
from tests.findings import Finding, findings
from tests.jobs import INSTRUMENTS_HEADER, evaluations, published, run_job, small_seeds

BAD = os.environ.get("OREWATCH_REAL_BAD")
FILES = os.environ.get("OREWATCH_REAL_FILES")
CLOSES = os.environ.get("OREWATCH_REAL_CLOSES")

pytestmark = pytest.mark.integration

# symbol: (file, calendar, rules that must be among the findings of the file; None: the file's repaired twin)
DELIVERED: dict[str, tuple[str, str, set[str] | None]] = {
    "DIV": ("SAND-1d-bad-div.csv", "XNYS", {"adjustment_disagrees"}),
    "DIV2": ("SAND-1d-bad-div-fixed.csv", "XNYS", None),
    "UNIT": ("AET-L-1d-100x-error.csv", "XLON", {"jump", "stale_close"}),
    "UNIT2": ("AET-L-1d-100x-error-fixed.csv", "XLON", None),
    "SPLIT": ("4063-T-1d-bad-stock-split.csv", "XTKS", {"split_not_applied"}),
    "SPLIT2": ("4063-T-1d-bad-stock-split-fixed.csv", "XTKS", None),
    "MIXED": ("mixed-adjustment-GDXJ.json", "XNYS", {"impossible_range", "feeds_sound"}),
    "STUCK": ("stuck-scraper-silver.csv", "XNYS", {"malformed"}),
    "STUCK2": ("stuck-scraper-silver.csv", "XNYS", {"duplicate_session", "not_a_session"}),
}


def put(symbol: str, name: str, folder: Path) -> None:
    """The file as a user would drop it."""
    source = Path(BAD or "") / name
    if name.endswith(".json"):
        columns = {k: v for k, v in json.loads(source.read_text()).items() if isinstance(v, list)}
        pd.DataFrame(columns).rename(columns={"dates": "date"}).to_csv(folder / f"{symbol}.csv", index=False)
    elif symbol == "STUCK2":
        frame = pd.read_csv(source)[["date", "price_usd"]]
        frame.rename(columns={"price_usd": "close"}).to_csv(folder / f"{symbol}.csv", index=False)
    else:
        (folder / f"{symbol}.csv").write_bytes(source.read_bytes())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[Finding]]:
    folder = tmp_path_factory.mktemp("drop")
    for symbol, (name, _, _) in DELIVERED.items():
        put(symbol, name, folder)
    seeds = small_seeds(tmp_path_factory.mktemp("seeds"), "AAA")
    rows = (f"{s},{s},{s},etf,silver,senior,{calendar},USD,0.01,,,\n" for s, (_, calendar, _) in DELIVERED.items())
    (seeds / "instruments.csv").write_text(INSTRUMENTS_HEADER + "".join(rows))
    settings = Settings(source="files", files=folder, home=tmp_path_factory.mktemp("home"), seeds=seeds)
    result = run_job(settings)
    assert result.success
    assert not evaluations(result)["bars_plausible"].passed
    return findings(settings, result)


@pytest.mark.skipif(not BAD, reason="OREWATCH_REAL_BAD is not set: a folder of vendors' price errors")
@pytest.mark.parametrize("symbol", [s for s, (_, _, rules) in DELIVERED.items() if rules])
def test_a_real_fault_is_found_by_a_rule(symbol: str, found: dict[str, set[Finding]]) -> None:
    expected = DELIVERED[symbol][2]
    assert expected is not None
    assert expected <= {rule for _, rule in found[symbol]}


@pytest.mark.skipif(not BAD, reason="OREWATCH_REAL_BAD is not set: a folder of vendors' price errors")
def test_the_repaired_twins_are_left_alone(found: dict[str, set[Finding]]) -> None:
    # Yahoo's adjusted close counts the dividend of 2024-01-16 twice in the repaired file too.
    assert found["DIV2"] == {(dt.date(2024, 1, 16), "adjustment_disagrees")}
    # It did stand still for weeks.
    assert {rule for _, rule in found["UNIT2"]} <= {"stale_close", "not_a_session"}
    assert found["SPLIT2"] == set()


def suspicions(folder: str, home: Path) -> list[tuple[str, dt.date, str]]:
    settings = Settings(source="files", files=Path(folder), home=home)
    assert run_job(settings).success
    marked = "select symbol, session_date, suspicion as rule from daily_bars where suspicion is not null"
    withheld = "select symbol, session_date, rule from rejected_bars where severity = 'withheld'"
    return [(r["symbol"], r["session_date"], r["rule"]) for r in published(settings, f"{marked} union all {withheld}")]


@pytest.mark.skipif(not FILES, reason="OREWATCH_REAL_FILES is not set: a drop folder of real prices")
def test_real_extremes_are_left_alone(tmp_path: Path) -> None:
    # The one finding is right: Yahoo's volume of the day before the 10-for-1 split is ten times too large.
    assert suspicions(FILES or "", tmp_path) == [("SLV", dt.date(2008, 7, 23), "volume_without_move")]


@pytest.mark.skipif(not CLOSES, reason="OREWATCH_REAL_CLOSES is not set: a drop folder of long closes")
def test_long_histories_of_closes_are_left_alone(tmp_path: Path) -> None:
    assert suspicions(CLOSES or "", tmp_path) == []
