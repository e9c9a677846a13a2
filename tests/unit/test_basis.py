"""Closes that came adjusted for dividends: told by the grid of prices, put back with the dividends beside them."""

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestration.market.bars import raw_frame
from orchestration.market.basis import contradicted_sessions, other_returns, without_dividend_adjustment
from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.files import FilesSource
from orchestration.sources.sample import adjusted_close

DAYS = pd.bdate_range("2024-01-02", periods=500)


def company(seed: int, tick: float = 0.01, split: float = 1.0, single_precision: bool = False) -> pd.DataFrame:
    """A company as Yahoo has it unadjusted: prices on the basis of its last split, dividends, an adjusted close."""
    chance = np.random.default_rng(seed)
    after = np.arange(len(DAYS)) >= 300
    splits = np.where(np.arange(len(DAYS)) == 300, split, 1.0)
    worth = 50 * np.exp(np.cumsum(chance.normal(0, 0.015, len(DAYS)))) / np.where(after, split, 1.0)
    traded = np.round(worth / tick) * tick
    basis = np.where(after, 1.0, split)
    close = pd.Series(traded / basis)
    dividend = pd.Series(np.where(np.arange(len(DAYS)) % 63 == 40, np.round(chance.uniform(0.2, 0.9), 4), 0.0) / basis)
    frame = pd.DataFrame({"session_date": DAYS, "close": close, "dividend": dividend, "split_ratio": splits})
    frame = frame.assign(open=close, high=close + 2 * tick / basis, low=close, volume=1000.0)
    frame["adj_close"] = adjusted_close(close, dividend)
    prices = ["open", "high", "low", "close", "adj_close"]
    if single_precision:
        frame[prices] = frame[prices].astype("float32").astype("float64")
    return frame


def auto_adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """The same as `history()` delivers it at its defaults."""
    factor = frame["adj_close"] / frame["close"]
    return frame.assign(**{name: frame[name] * factor for name in ("open", "high", "low", "close")}, adj_close=np.nan)


def raw(frame: pd.DataFrame) -> pd.DataFrame:
    return raw_frame({str(name): frame[name].to_numpy() for name in frame})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("tick", "split"), [(0.01, 1.0), (0.005, 1.0), (0.01, 3.0), (0.01, 0.1)])
@pytest.mark.parametrize("single_precision", [False, True])
def test_what_was_traded_comes_back(seed: int, tick: float, split: float, single_precision: bool) -> None:
    truth = company(seed, tick, split, single_precision)
    found = without_dividend_adjustment(raw(auto_adjusted(truth)))
    assert (found.was_adjusted, found.is_clear) == (True, True)
    for name in ("open", "high", "low", "close", "adj_close"):
        np.testing.assert_allclose(found.bars[name], truth[name], rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("split", [1.0, 3.0, 0.1])
def test_what_is_not_adjusted_stays(seed: int, split: float) -> None:
    delivered = raw(company(seed, 0.01, split).assign(adj_close=np.nan))
    found = without_dividend_adjustment(delivered)
    assert (found.was_adjusted, found.is_clear) == (False, True)
    pd.testing.assert_frame_equal(found.bars, delivered)


def test_prices_that_lie_on_no_grid_say_nothing() -> None:
    """A net asset value, or a rate."""
    frame = company(1).assign(adj_close=np.nan)
    delivered = raw(frame.assign(close=frame["close"] * np.pi))
    assert not without_dividend_adjustment(delivered).was_adjusted


def test_without_dividends_there_is_nothing_to_undo() -> None:
    delivered = raw(auto_adjusted(company(1)).assign(dividend=0.0))
    assert without_dividend_adjustment(delivered).bars is delivered


@pytest.mark.parametrize("rows", [slice(478, 484), slice(440, 482), slice(30, 46)], ids=["short", "last day", "few"])
def test_a_recent_dividend_is_undone_too(rows: slice) -> None:
    truth = company(1).iloc[rows].reset_index(drop=True)
    truth["adj_close"] = adjusted_close(truth["close"], truth["dividend"])
    found = without_dividend_adjustment(raw(auto_adjusted(truth)))
    if truth["dividend"].to_numpy().nonzero()[0][-1] < 5:
        return  # too few before it to tell
    assert (found.was_adjusted, found.is_clear) == (True, True)
    np.testing.assert_allclose(found.bars["close"], truth["close"], rtol=1e-9)


def test_rows_without_a_date_or_a_close_are_left_alone() -> None:
    frame = auto_adjusted(company(2))
    frame.loc[7, "close"] = np.nan
    delivered = raw(frame)
    delivered.loc[9, "session_date"] = pd.NaT
    found = without_dividend_adjustment(delivered)
    assert found.is_clear
    assert np.isnan(found.bars["close"][7])
    assert found.bars["close"][9] == delivered["close"][9]


def read(folder: Path, frame: pd.DataFrame) -> FetchOutcome:
    names = {"session_date": "Date", "dividend": "Dividends", "split_ratio": "Stock Splits"}
    frame.drop(columns="adj_close").rename(columns=names).to_csv(folder / "PAY.csv", index=False)
    (outcome,) = FilesSource(folder).fetch([FetchRequest("PAY", "PAY", None, dt.date(2026, 1, 30), "forced")])
    return outcome


def test_a_file_says_that_its_closes_were_put_back(tmp_path: Path) -> None:
    outcome = read(tmp_path, auto_adjusted(company(3)))
    assert outcome.status is FetchStatus.OK
    assert outcome.detail == (
        "PAY.csv: closes came adjusted for dividends; "
        "with the dividends of the file they were put back to what was traded"
    )
    np.testing.assert_allclose(outcome.bars["close"], company(3)["close"], rtol=1e-9)


def test_an_adjusted_close_that_is_the_close_tells_nothing(tmp_path: Path) -> None:
    frame = auto_adjusted(company(3))
    names = {"session_date": "Date", "dividend": "Dividends", "split_ratio": "Stock Splits", "adj_close": "Adj Close"}
    frame.assign(adj_close=frame["close"]).rename(columns=names).to_csv(tmp_path / "PAY.csv", index=False)
    (outcome,) = FilesSource(tmp_path).fetch([FetchRequest("PAY", "PAY", None, dt.date(2026, 1, 30), "forced")])
    np.testing.assert_allclose(outcome.bars["close"], company(3)["close"], rtol=1e-9)
    np.testing.assert_allclose(outcome.bars["adj_close"], company(3)["adj_close"], rtol=1e-9)


def test_a_file_whose_dividends_do_not_explain_its_closes_is_refused_with_the_remedy(tmp_path: Path) -> None:
    frame = auto_adjusted(company(3))
    frame.loc[frame["dividend"].ne(0).idxmax(), "dividend"] = 0.0
    frame.loc[frame["dividend"].ne(0).idxmax(), "dividend"] *= 2
    outcome = read(tmp_path, frame)
    assert outcome.status is FetchStatus.MALFORMED
    assert outcome.detail == (
        "PAY.csv: closes are adjusted for dividends, and the dividends of the file do not say how; "
        "allowed: closes that are not (auto_adjust=False in yfinance), or an Adj Close beside them"
    )


# ---- adjusted closes that contradict dividends

SESSIONS = pd.DatetimeIndex(DAYS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("split", [1.0, 3.0, 0.1])
@pytest.mark.parametrize("single_precision", [False, True])
def test_what_a_vendor_adjusts_as_we_do_contradicts_nothing(seed: int, split: float, single_precision: bool) -> None:
    assert contradicted_sessions(raw(company(seed, 0.01, split, single_precision)), SESSIONS, 0.01) == []


def test_closes_to_the_cent_beside_adjusted_ones_of_what_they_were_before_rounding() -> None:
    frame = company(1)
    exact = frame["adj_close"] * (1 + np.random.default_rng(0).uniform(-0.004, 0.004, len(frame)) / frame["close"])
    assert contradicted_sessions(raw(frame.assign(adj_close=exact)), SESSIONS, 0.01) == []
    assert contradicted_sessions(raw(frame.assign(adj_close=frame["adj_close"].round(2))), SESSIONS, 0.01) == []


def test_dividends_in_another_currency_contradict_the_adjusted_closes() -> None:
    frame = company(1)
    paid = frame.index[frame["dividend"] > 0]
    wrong = contradicted_sessions(raw(frame.assign(dividend=frame["dividend"] * 1.4)), SESSIONS, 0.01)
    assert wrong == list(frame["session_date"][paid])


def test_over_a_hole_nothing_is_compared() -> None:
    frame = company(1).assign(dividend=0.0)
    assert len(contradicted_sessions(raw(frame), SESSIONS, 0.01)) == 8
    paid = company(1)["dividend"].to_numpy() > 0
    assert contradicted_sessions(raw(frame[~np.append(paid[1:], False)]), SESSIONS, 0.01) == []


def test_without_adjusted_closes_nothing_contradicts() -> None:
    assert contradicted_sessions(raw(company(1).assign(adj_close=np.nan)), SESSIONS, 0.01) == []


# ---- the prices of another company


def test_another_company_has_returns_of_its_own() -> None:
    others, of = other_returns(company(1), company(2))
    assert of == len(DAYS) - 1
    assert others > 0.9 * of


@pytest.mark.parametrize(
    "stored",
    [
        company(1, split=3.0).assign(close=lambda f: f["close"] * 3.0),  # before the split was known
        company(1).assign(close=lambda f: f["close"] / 100),  # pence that become pounds
        company(1).assign(close=lambda f: f["adj_close"]),
        company(1).assign(close=lambda f: f["close"].where(f.index % 50 > 0, f["close"] * 1.02)),
        company(1).iloc[:300],
    ],
    ids=["split", "unit", "adjusted", "corrections", "shorter"],
)
def test_the_same_company_on_another_basis_has_the_same_returns(stored: pd.DataFrame) -> None:
    delivered = company(1, split=3.0) if stored["split_ratio"].max() > 1 else company(1)
    others, of = other_returns(delivered, stored)
    assert 0 <= others < 0.05 * of


def test_a_few_sessions_tell_nothing() -> None:
    assert other_returns(company(1).iloc[:20], company(2)) == (0, 0)
