"""Files as people really have them, through the job to the published tables, beside the same prices in plain form.

One refresh of a drop folder: whatever is wrong with one file, the others are published.
"""

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from orchestration.market.calendar import closed_sessions, recorded_until
from orchestration.show.brief.pages import write_brief
from tests.jobs import INSTRUMENTS_HEADER, ClockedSettings, evaluations, published, read_status, run_job, write_seeds

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 11, 28, 1, 0, tzinfo=dt.UTC)


def sessions(calendar: str) -> pd.DatetimeIndex:
    """Those of the files: the last one that has closed has not been delivered yet."""
    return pd.DatetimeIndex(closed_sessions(calendar, NOW)["session_date"])[-321:-1]


def last_closed(calendar: str) -> pd.Timestamp:
    return pd.Timestamp(closed_sessions(calendar, NOW)["session_date"].iloc[-1])


def company(calendar: str = "XNYS", seed: int = 1, start: float = 60.0) -> pd.DataFrame:
    """Prices as they were traded, to the cent, with three dividends and no split."""
    chance = np.random.default_rng(seed)
    days = sessions(calendar)
    close = np.round(start * np.exp(np.cumsum(chance.normal(0, 0.015, len(days)))), 2)
    frame = pd.DataFrame({"Date": days, "Open": close, "High": close + 0.05, "Low": close - 0.05, "Close": close})
    dividends = np.where(np.arange(len(days)) % 80 == 60, 0.45, 0.0)
    return frame.assign(**{"Volume": 1000.0 + np.arange(len(days)) % 7, "Dividends": dividends, "Stock Splits": 0.0})


def adjustment(frame: pd.DataFrame) -> pd.Series:
    factor = (1 - frame["Dividends"] / frame["Close"].shift()).fillna(1.0)
    return factor[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)


PRICES = ["Open", "High", "Low", "Close"]


def plain(frame: pd.DataFrame) -> str:
    return frame.assign(Date=frame["Date"].dt.date).to_csv(index=False)


def auto_adjusted(frame: pd.DataFrame) -> str:
    return plain(frame.assign(**{name: frame[name] * adjustment(frame) for name in PRICES}))


def adjusted_alone(frame: pd.DataFrame) -> str:
    return plain(frame.assign(**{name: frame[name] * adjustment(frame) for name in PRICES}).drop(columns="Dividends"))


def on_no_grid(frame: pd.DataFrame) -> str:
    """A net asset value with its dividends: nothing tells whether it holds them."""
    within_a_cent = np.random.default_rng(4).uniform(-0.005, 0.005, len(frame))
    adjusted = {name: ((frame[name] + within_a_cent) * adjustment(frame)).round(4) for name in PRICES}
    return plain(frame.assign(**adjusted))


def in_utc(frame: pd.DataFrame) -> str:
    stamps = pd.DatetimeIndex(frame["Date"]).tz_localize("Europe/London").tz_convert("UTC")
    return frame.assign(Date=[stamp.isoformat(sep=" ") for stamp in stamps]).to_csv(index=False)


def tiingo(frame: pd.DataFrame) -> str:
    """With a split of 3 for 1 in the middle, before which prices are three times as high."""
    before = np.arange(len(frame)) < 150
    traded = frame.assign(**{name: np.where(before, frame[name] * 3, frame[name]) for name in (*PRICES, "Dividends")})
    adjusted = frame["Close"] * adjustment(frame)
    columns = {
        "date": [f"{day.date()}T00:00:00.000Z" for day in frame["Date"]],
        "close": traded["Close"].round(2),
        "high": traded["High"].round(2),
        "low": traded["Low"].round(2),
        "open": traded["Open"].round(2),
        "volume": np.where(before, frame["Volume"] / 3, frame["Volume"]),
        "adjClose": adjusted,
        "divCash": traded["Dividends"].round(4),
        "splitFactor": np.where(np.arange(len(frame)) == 150, 3.0, 1.0),
    }
    return pd.DataFrame(columns).to_csv(index=False)


def appended(frame: pd.DataFrame) -> str:
    """A file to which the last ten sessions are appended every evening, adjusted anew with a vendor's noise."""
    chance = np.random.default_rng(3)
    whole = frame.assign(**{"Adj Close": frame["Close"] * adjustment(frame)})
    parts = [whole.iloc[:300], *(whole.iloc[n - 10 : n] for n in range(301, len(whole) + 1))]
    noisy = [part.assign(**{"Adj Close": part["Adj Close"] * (1 + chance.normal(0, 1e-7))}) for part in parts]
    return "".join(plain(part) for part in noisy)


REVERSE_SPLITS = [10, 10, 4, 5, 5, 5, 4, 10, 10, 5, 5, 6]


def reverse_splits(frame: pd.DataFrame) -> str:
    """On the basis of the last of twelve reverse splits, which are one share for `REVERSE_SPLITS`."""
    ratio = np.ones(len(frame))
    ratio[20 + 24 * np.arange(len(REVERSE_SPLITS))] = 1 / np.array(REVERSE_SPLITS, float)
    to_come = np.append(np.cumprod(ratio[::-1])[::-1][1:], 1.0)
    on_basis = {name: frame[name] / to_come for name in PRICES}
    splits = np.where(ratio == 1, 0.0, ratio)
    return plain(frame.assign(**on_basis, **{"Stock Splits": splits, "Dividends": 0.0}))


def standing_still(frame: pd.DataFrame) -> str:
    """A penny stock: one tick up after sixty sessions at one price, and moves again after another sixty."""
    close = np.where(np.arange(len(frame)) < 200, frame["Close"], frame["Close"][199])
    close[260:] += 0.05
    close[261:] += np.where(np.arange(len(frame) - 261) % 2, 0.05, 0.0)
    return plain(frame[["Date"]].assign(Close=close, Volume=10.0))


def a_session_ahead(frame: pd.DataFrame) -> str:
    return plain(pd.concat([frame, frame.iloc[-1:].assign(Date=last_closed("XNYS"))]))


def long_gone(frame: pd.DataFrame) -> str:
    return plain(frame.iloc[:200])


def with_special_sessions(frame: pd.DataFrame) -> str:
    """A budget Saturday and a Diwali Sunday, and a holiday that the vendor has padded with the bar before it."""
    special = frame.iloc[[100, 200, 250]].copy()
    special["Date"] = [day + pd.Timedelta(days=(5 - day.weekday()) % 7) for day in special["Date"]]
    special.loc[special.index[:2], "High"] += 0.5
    padded = frame[frame["Date"] < special["Date"].iloc[2]].iloc[-1]
    special.iloc[2, 1:] = padded.iloc[1:]
    special.iloc[2, special.columns.get_loc("Volume")] = 0.0
    special.iloc[1, 0] = special["Date"].iloc[1] + pd.Timedelta(days=1)
    return plain(pd.concat([frame, special]).sort_values("Date"))


def another_ticker(frame: pd.DataFrame) -> str:
    return plain(frame).replace("Date,", "Ticker,Date,").replace("\n20", "\nGLD,20")


def weekly(frame: pd.DataFrame) -> str:
    return plain(frame.iloc[::5])


def ambiguous(frame: pd.DataFrame) -> str:
    return "Date,Close\n3/4/2026,1.5\n"


US = "XNYS", "USD"
LONDON = "XLON", "GBp"
FILES = {
    "PLAIN": (US, plain),
    "AUTO": (US, auto_adjusted),
    "ADJUSTED": (US, adjusted_alone),
    "SAID": (US, on_no_grid),
    "UNSAID": (US, on_no_grid),
    "TIINGO": (US, tiingo),
    "APPENDED": (US, appended),
    "PE&OLES.MX": (US, plain),
    "PLAIN.L": (LONDON, plain),
    "UTC.L": (LONDON, in_utc),
    "REVERSE": (US, reverse_splits),
    "STILL": (US, standing_still),
    "BUDGET.BO": (("XBOM", "INR"), with_special_sessions),
    "AHEAD": (US, a_session_ahead),
    "GONE": (US, long_gone),
    "WRONG": (US, another_ticker),
    "WEEKLY": (US, weekly),
    "AMBIGUOUS": (US, ambiguous),
}
REFUSED = {"WRONG", "WEEKLY", "AMBIGUOUS", "UNSAID"}


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClockedSettings, dg.ExecuteInProcessResult]:
    drop = tmp_path_factory.mktemp("drop")
    rows = INSTRUMENTS_HEADER
    for symbol, ((calendar, currency), write) in FILES.items():
        (drop / f"{symbol}.csv").write_text(write(company(calendar)), "utf-8")
        rows += f"{symbol},{symbol},{symbol} plc,stock,silver,senior,{calendar},{currency},0.01,,,\n"
    (drop / "price_basis.csv").write_text("symbol,price_basis\nSAID,dividend_adjusted\n")
    settings = ClockedSettings(
        source="files",
        home=tmp_path_factory.mktemp("home"),
        files=drop,
        seeds=write_seeds(
            tmp_path_factory.mktemp("seeds"),
            instruments=rows,
            price_levels="level_id,symbol,lower,upper,kind,active_from,note\n"
            "plain_60,PLAIN,60,60,support,2020-01-01,\nauto_60,AUTO,60,60,support,2020-01-01,\n"
            "tiingo_60,TIINGO,60,60,support,2020-01-01,\nadjusted_60,ADJUSTED,60,60,support,2020-01-01,\n",
            pairs="pair_id,long_symbol,short_symbol,kind,z_threshold\n",
            move_rules="rule_id,scope,scope_value,measure,sessions,threshold,note\nz,all,,z_ewma,1,3,\n",
            published_claims="claim_id,published_on,publisher,symbol,measure,argument,session_date,claimed,tolerance,note\n",
        ),
        moment=NOW,
    )
    return settings, run_job(settings)


def bars_of(settings: ClockedSettings, symbol: str) -> pd.DataFrame:
    table = published(settings, "select * from daily_bars where symbol = ? order by session_date", symbol)
    return pd.DataFrame(table)


def test_what_cannot_be_used_is_named_with_the_remedy_and_the_others_are_published(
    refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult],
) -> None:
    settings, result = refreshed
    assert result.success
    shown = {row["symbol"] for row in published(settings, "select distinct symbol from daily_bars")}
    assert shown == FILES.keys() - REFUSED
    outcome = evaluations(result)["fetch_outcome"]
    failed: Any = outcome.metadata["failed"]
    said = {record.data["symbol"]: str(record.data["detail"]) for record in failed.records}
    assert said.keys() == REFUSED
    assert "daily bars (interval 1d in the export)" in said["WEEKLY"]
    assert "one file for each ticker, named after it" in said["WRONG"]
    assert "dates such as 2026-01-30" in said["AMBIGUOUS"]
    assert "a row of price_basis.csv that says it" in said["UNSAID"]
    status = read_status(settings)
    assert all(symbol in status for symbol in REFUSED)


def test_every_session_is_there_and_nothing_is_marked(
    refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult],
) -> None:
    settings, _ = refreshed
    for symbol, ((calendar, _), _) in FILES.items():
        if symbol in REFUSED or symbol == "BUDGET.BO":
            continue
        bars = bars_of(settings, symbol)
        expected = list(sessions(calendar)) + [last_closed(calendar)] * (symbol == "AHEAD")
        expected = expected[:200] if symbol == "GONE" else expected
        assert list(pd.DatetimeIndex(bars["session_date"])) == expected, symbol
        # One stands still; one is worth several times as much after each of its splits: that is marked.
        if symbol not in ("STILL", "REVERSE"):
            assert bars["suspicion"].dropna().tolist() == [], symbol


@pytest.mark.parametrize("symbol", ["AUTO", "TIINGO", "APPENDED", "PE&OLES.MX"])
def test_it_is_the_same_company_in_whatever_form(
    symbol: str, refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult]
) -> None:
    settings, _ = refreshed
    here, there = bars_of(settings, "PLAIN"), bars_of(settings, symbol)
    for name in ("close", "total_return_index"):
        # Tiingo's closes are to the cent, of three times the price.
        np.testing.assert_allclose(there[name], here[name], rtol=1e-4 if symbol == "TIINGO" else 1e-9, err_msg=name)
    events = "select session_date, event from level_events where symbol = ? and level_id like '%60' order by 1, 2"
    if symbol in ("AUTO",):
        assert published(settings, events, symbol) == published(settings, events, "PLAIN") != []


@pytest.mark.parametrize("symbol", ["ADJUSTED", "SAID"])
def test_dividends_in_the_closes_count_once_and_no_level_is_watched(
    symbol: str, refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult]
) -> None:
    settings, result = refreshed
    here, there = bars_of(settings, "PLAIN"), bars_of(settings, symbol)
    # Yahoo's adjustment and ours differ on the days of dividends by their square.
    np.testing.assert_allclose(there["total_return_index"], here["total_return_index"], rtol=1e-3)
    assert there["close_as_traded"].isna().all()
    assert (there["dividend"].fillna(0) == 0).all()
    rows = published(settings, "select price_basis from instruments where symbol = ?", symbol)
    assert rows == [{"price_basis": "dividend_adjusted"}]
    assert published(settings, "select * from level_events where symbol = ?", symbol) == []
    assert published(settings, "select distinct side from level_status where symbol = ?", symbol) in (
        [],
        [{"side": None}],
    )
    summary = published(settings, "select close from market_summary where symbol = ?", symbol)
    assert summary[0]["close"] == pytest.approx(here["close"].iloc[-1], abs=0.01)
    notes: Any = evaluations(result)["delivered_as_declared"].metadata["symbols"]
    assert any(r.data["symbol"] == symbol and "no level is watched" in str(r.data["note"]) for r in notes.records)
    assert f"{symbol}'s prices came adjusted for dividends" in write_brief(settings.paths).brief.markdown


def test_stamps_in_utc_are_londons_dates(refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult]) -> None:
    settings, _ = refreshed
    same = ["session_date", "close", "total_return_index"]
    pd.testing.assert_frame_equal(bars_of(settings, "UTC.L")[same], bars_of(settings, "PLAIN.L")[same])


def test_a_session_that_the_calendar_lacks_is_kept_and_marked(
    refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult],
) -> None:
    settings, _ = refreshed
    bars = bars_of(settings, "BUDGET.BO")
    marked = bars[bars["suspicion"] == "unlisted_session"]
    assert [day.weekday() for day in pd.DatetimeIndex(marked["session_date"])] == [5, 6]
    assert len(bars) == len(sessions("XBOM")) + 2
    assert (bars["sessions_since_previous"].iloc[1:] == 1).all()
    rejected = published(settings, "select rule from rejected_bars where symbol = 'BUDGET.BO'")
    assert rejected == [{"rule": "not_a_session"}]
    coverage = published(settings, "select missing_sessions from data_coverage where symbol = 'BUDGET.BO'")
    assert coverage == [{"missing_sessions": 0}]


def test_past_the_end_of_a_calendar_bars_go_on_being_asked_for_and_kept(tmp_path: Path) -> None:
    last = recorded_until("XSHG")
    assert last is not None
    now = dt.datetime.combine(last + dt.timedelta(days=20), dt.time(12), dt.UTC)
    days = pd.bdate_range(last - dt.timedelta(days=30), now.date())
    days = days[(days <= pd.Timestamp(last)) | (days > pd.Timestamp(last) + pd.Timedelta(days=4))]
    days = days[days.isin(pd.DatetimeIndex(closed_sessions("XSHG", now)["session_date"]))]
    (tmp_path / "drop").mkdir()
    lines = [f"{day.date()},{30 + n / 100:.2f},{n + 1}" for n, day in enumerate(days)]
    (tmp_path / "drop" / "SHAN.SS.csv").write_text("Date,Close,Volume\n" + "\n".join(lines[:-1]) + "\n")
    settings = ClockedSettings(
        source="files",
        home=tmp_path / "home",
        files=tmp_path / "drop",
        seeds=write_seeds(
            tmp_path / "seeds",
            instruments=f"{INSTRUMENTS_HEADER}SHAN,SHAN.SS,Shan,stock,gold,senior,XSHG,CNY,0.01,,,\n",
            price_levels="level_id,symbol,lower,upper,kind,active_from,note\n",
            pairs="pair_id,long_symbol,short_symbol,kind,z_threshold\n",
            move_rules="rule_id,scope,scope_value,measure,sessions,threshold,note\nz,all,,z_ewma,1,3,\n",
            published_claims="claim_id,published_on,publisher,symbol,measure,argument,session_date,claimed,tolerance,note\n",
        ),
        moment=now,
    )
    result = run_job(settings)
    assert result.success
    assert not evaluations(result)["calendars_known"].passed
    (tmp_path / "drop" / "SHAN.SS.csv").write_text("Date,Close,Volume\n" + "\n".join(lines) + "\n")
    assert run_job(settings).success
    bars = bars_of(settings, "SHAN")
    assert list(pd.DatetimeIndex(bars["session_date"])) == list(days)
    beyond = pd.DatetimeIndex(bars["session_date"]) > pd.Timestamp(last)
    assert set(bars["suspicion"][beyond]) == {"unlisted_session"}
    assert bars["suspicion"][~beyond].isna().all()
    assert f"Calendar XSHG is recorded until {last}" in read_status(settings)


def test_closes_as_they_were_traded_after_twelve_reverse_splits(
    refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult],
) -> None:
    settings, _ = refreshed
    traded = bars_of(settings, "REVERSE")["close_as_traded"]
    assert np.abs(traded - company()["Close"]).max() < 0.005


def test_a_price_that_stood_still_has_no_score_until_it_has_moved(
    refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult],
) -> None:
    settings, _ = refreshed
    moves = published(settings, "select session_date, z_ewma from large_moves where symbol = 'STILL'")
    scores = {row["session_date"]: row["z_ewma"] for row in moves}
    assert sessions("XNYS")[260].date() not in scores
    assert max(map(abs, scores.values()), default=0) < 100


def test_the_markets_session_is_the_latest_that_at_least_half_have(
    refreshed: tuple[ClockedSettings, dg.ExecuteInProcessResult],
) -> None:
    settings, _ = refreshed
    summary = {row["symbol"]: row for row in published(settings, "select * from market_summary")}
    market = sessions("XNYS")[-1].date()
    assert {row["market_session"] for row in summary.values()} == {market}
    peers = {symbol for symbol, row in summary.items() if row["session_date"] == market}
    # London and Bombay had one session more.
    assert peers == FILES.keys() - REFUSED - {"AHEAD", "GONE", "PLAIN.L", "UTC.L", "BUDGET.BO"}
    assert summary["AHEAD"]["session_date"] == last_closed("XNYS").date()
    written = write_brief(settings.paths)
    assert written.session == market
    brief = written.brief
    assert f"AHEAD has a later bar, of {last_closed('XNYS').date()}, than the market" in brief.markdown
    assert f"GONE has no bar for this session; its latest is of {sessions('XNYS')[199].date()}" in brief.markdown
