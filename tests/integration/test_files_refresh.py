"""The whole job on a drop folder: faults among good files, gaps, corrections, splits, new instruments."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from orchestration.market.calendar import closed_sessions
from orchestration.publish.manifest import current_manifest
from orchestration.settings import Settings
from tests.jobs import ClockedSettings, evaluations, published, run_job, small_seeds, steps

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = [d.date() for d in closed_sessions("XNYS", NOW)["session_date"]][-60:]


def prices(start: float) -> pd.DataFrame:
    closes = [start + (i % 7) * 0.25 for i in range(len(SESSIONS))]
    return pd.DataFrame(
        {
            "Date": [d.isoformat() for d in SESSIONS],
            "Open": closes,
            "High": [c + 0.5 for c in closes],
            "Low": [c - 0.5 for c in closes],
            "Close": closes,
            "Volume": 1000,
            "Dividends": 0.0,
            "Stock Splits": 0.0,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "drop it's here"  # a quote and spaces in a path are data
    folder.mkdir()
    for symbol, start in (("AAA", 100.0), ("BBB", 50.0)):
        prices(start).to_csv(folder / f"{symbol}.csv", index=False)
    return folder


@pytest.fixture
def settings(tmp_path: Path, folder: Path) -> ClockedSettings:
    return ClockedSettings(
        source="files",
        home=tmp_path / "ho'me",
        files=folder,
        seeds=small_seeds(
            tmp_path / "seeds", "AAA", "BBB", levels=f"a_100,AAA,100.9,100.9,resistance,{SESSIONS[0]},\n"
        ),
        moment=NOW,
    )


def closes(settings: Settings, symbol: str) -> list[float]:
    rows = published(settings, "select close from daily_bars where symbol = ? order by session_date", symbol)
    return [row["close"] for row in rows]


def version(settings: Settings) -> int:
    manifest = current_manifest(settings.paths.published)
    return manifest.version if manifest else 0


def test_what_a_drop_folder_goes_through(settings: ClockedSettings, folder: Path, tmp_path: Path) -> None:
    first = run_job(settings)
    assert first.success
    assert closes(settings, "AAA") == prices(100.0)["Close"].tolist()

    # A gap, a correction, a bad row and a file that is no CSV, all at once.
    data = prices(50.0)
    data.loc[30, "Close"] = data.loc[30, "Open"] = 50.4
    data["Close"] = data["Close"].astype(object)
    data.loc[40, "Close"] = "12,x"
    data.drop(index=10).to_csv(folder / "BBB.csv", index=False)
    (folder / "AAA.csv").write_bytes(b"Date,Close\n2026-01-05,\xff\n")
    second = run_job(settings)
    assert second.success
    checks = evaluations(second)
    outcome = checks["fetch_outcome"]
    assert not outcome.passed
    assert outcome.severity is dg.AssetCheckSeverity.WARN
    (failed,) = outcome.metadata["failed"].records  # type: ignore[union-attr]
    assert failed.data["symbol"] == "AAA"
    assert "AAA.csv" in str(failed.data["detail"])
    assert "UTF-8" in str(failed.data["detail"])
    (rejected,) = published(settings, "select * from rejected_bars")
    assert (rejected["symbol"], rejected["rule"], rejected["severity"]) == ("BBB", "malformed_value", "rejected")
    assert "BBB.csv" in rejected["detail"]
    assert "12,x" in rejected["detail"]
    # Nothing that had been stored went away: the missing row, the bad row's session and the broken file's bars.
    assert closes(settings, "AAA") == prices(100.0)["Close"].tolist()
    assert len(closes(settings, "BBB")) == len(SESSIONS)
    (revision,) = published(settings, "select * from price_revisions where field = 'close'")
    assert revision["session_date"] == SESSIONS[30]
    assert (revision["old_value"], revision["new_value"]) == (data.loc[30, "High"] - 0.5, 50.4)

    # Repaired by hand: the next refresh needs nothing else.
    for symbol, start in (("AAA", 100.0), ("BBB", 50.0)):
        prices(start).to_csv(folder / f"{symbol}.csv", index=False)
    third = run_job(settings)
    assert third.success
    assert evaluations(third)["fetch_outcome"].passed
    assert closes(settings, "BBB") == prices(50.0)["Close"].tolist()
    (kept,) = published(settings, "select is_resolved from rejected_bars")
    assert kept["is_resolved"] is False  # the stored bar is older than the rejected row, and was never in doubt

    # A new row in instruments.csv is all it takes.
    prices(10.0).rename(columns={"Date": "session_date", "Close": "close"})[["session_date", "close"]].to_parquet(
        folder / "CCC.parquet"
    )
    small_seeds(tmp_path / "seeds", "AAA", "BBB", "CCC")
    fourth = run_job(settings)
    assert fourth.success
    assert closes(settings, "CCC") == prices(10.0)["Close"].tolist()
    assert {
        r["bar_quality"] for r in published(settings, "select bar_quality from daily_bars where symbol = 'CCC'")
    } == {"close_only"}
    assert "a_100" not in evaluations(fourth)
    assert version(settings) == 4


def test_a_split_moves_no_history_across_a_level(settings: ClockedSettings, folder: Path) -> None:
    assert run_job(settings).success
    question = (
        "select event_id, session_date, event, direction, level, close from level_events"
        " where session_date < ? order by all"
    )
    before = published(settings, question, SESSIONS[-1])
    assert len(before) > 5

    # The vendor delivers everything on the basis of a 2-for-1 split that is effective at the last session.
    data = prices(100.0)
    for column in ("Open", "High", "Low", "Close"):
        data[column] = data[column] / 2
    data.loc[len(data) - 1, "Stock Splits"] = 2.0
    data.to_csv(folder / "AAA.csv", index=False)
    assert run_job(settings).success
    rows = published(
        settings, "select close, close_as_traded from daily_bars where symbol = 'AAA' order by session_date"
    )
    assert [r["close_as_traded"] for r in rows[:-1]] == prices(100.0)["Close"].tolist()[:-1]
    assert rows[-1]["close_as_traded"] == rows[-1]["close"] == prices(100.0)["Close"].iloc[-1] / 2
    assert published(settings, question, SESSIONS[-1]) == before
    assert published(settings, "select distinct level from level_events where session_date = ?", SESSIONS[-1]) in (
        [],
        [{"level": 50.45}],
    )


def test_when_nothing_arrives_the_run_fails_and_readers_keep_the_last_version(
    settings: ClockedSettings, folder: Path
) -> None:
    assert run_job(settings).success
    for path in folder.iterdir():
        path.write_bytes(b"")
    result = run_job(settings)
    assert not result.success
    assert steps(result, "STEP_FAILURE") == {"ingest"}
    assert evaluations(result)["fetch_outcome"].severity is dg.AssetCheckSeverity.ERROR
    assert version(settings) == 1
    assert len(closes(settings, "AAA")) == len(SESSIONS)


def test_a_failing_data_check_withholds_the_publication(settings: ClockedSettings, folder: Path) -> None:
    assert run_job(settings).success
    # The lake of another source was copied in by hand: rows that do not belong here.
    import pyarrow.parquet as pq

    bars = next((settings.paths.lake / "bars").glob("2*.parquet"))
    table = pq.read_table(bars)
    foreign = table.set_column(
        table.schema.get_field_index("source"), "source", [["sample"] * table.num_rows]
    ).set_column(table.schema.get_field_index("batch_id"), "batch_id", [["zzz"] * table.num_rows])
    pq.write_table(foreign, bars.with_name("99990101-foreign.parquet"))
    result = run_job(settings)
    assert not result.success
    assert not evaluations(result)["one_source_only"].passed
    assert "published__market" not in steps(result, "STEP_SUCCESS")
    assert version(settings) == 1
