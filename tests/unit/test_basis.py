"""Closes that came adjusted for dividends: told by the grid of prices, put back with the dividends beside them."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestration.market.bars import raw_frame
from orchestration.market.basis import DOUBT, UnclearBasisError, establish
from orchestration.market.consistency import contradicted_sessions, other_returns
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.price_basis import PriceBasis
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.files import FilesSource
from orchestration.sources.sample import adjusted_close

DAYS = pd.bdate_range("2024-01-02", periods=500)


def company(seed: int, tick: float = 0.01, split: float = 1.0, single_precision: bool = False) -> pd.DataFrame:
    """A company as Yahoo has it unadjusted: prices on the basis of its last split, dividends, an adjusted close."""
    chance = np.random.default_rng(seed)
    after = np.arange(len(DAYS)) >= 300
    splits = np.where(np.arange(len(DAYS)) == 300, split, 1.0)
    basis = np.where(after, 1.0, split)
    paid = np.where(np.arange(len(DAYS)) % 63 == 40, np.round(chance.uniform(0.2, 0.9), 4), 0.0)
    worth = (50 * np.exp(np.cumsum(chance.normal(0, 0.015, len(DAYS)))) - np.cumsum(paid)) / np.where(after, split, 1.0)
    traded = np.round(worth / tick) * tick
    close = pd.Series(traded / basis)
    dividend = pd.Series(paid / np.where(after, split, 1.0) / basis)
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
@pytest.mark.parametrize("said", [None, PriceBasis.DIVIDEND_ADJUSTED])
def test_what_was_traded_comes_back(
    seed: int, tick: float, split: float, single_precision: bool, said: PriceBasis | None
) -> None:
    truth = company(seed, tick, split, single_precision)
    found = establish(raw(auto_adjusted(truth)), said)
    assert (found.basis, "put back" in found.note) == (PriceBasis.SPLIT_ADJUSTED, True)
    for name in ("open", "high", "low", "close", "adj_close"):
        np.testing.assert_allclose(found.bars[name], truth[name], rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("split", [1.0, 3.0, 0.1])
@pytest.mark.parametrize("columns", [("dividend", "split_ratio"), ("dividend",), ("split_ratio",), ()])
@pytest.mark.parametrize("single_precision", [False, True])
def test_what_is_not_adjusted_stays(seed: int, split: float, columns: tuple[str, ...], single_precision: bool) -> None:
    """Whatever the file says of dividends and splits: without the splits, closes before them are on no grid either."""
    frame = company(seed, 0.01, split, single_precision).assign(adj_close=np.nan)
    delivered = raw(frame.drop(columns=[name for name in ("dividend", "split_ratio") if name not in columns]))
    found = establish(delivered)
    # With dividends and closes to the cent, somebody may have rounded after adjusting.
    assert (found.basis, found.note) in [(PriceBasis.SPLIT_ADJUSTED, ""), (PriceBasis.SPLIT_ADJUSTED, DOUBT)]
    assert not found.note or "dividend" in columns
    pd.testing.assert_frame_equal(found.bars, delivered)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("split", [1.0, 3.0, 0.1])
@pytest.mark.parametrize("decimals", [4, 6, 17])
def test_adjusted_closes_without_their_dividends_are_recognised(seed: int, split: float, decimals: int) -> None:
    frame = auto_adjusted(company(seed, 0.01, split)).drop(columns="dividend")
    frame = frame.assign(**{name: frame[name].round(decimals) for name in ("open", "high", "low", "close")})
    found = establish(raw(frame))
    assert found.basis is PriceBasis.DIVIDEND_ADJUSTED
    assert found.note.startswith("closes are adjusted for dividends: returns hold the dividends")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("until", [60, 290])
def test_adjusted_closes_whose_last_dividend_is_not_theirs_are_recognised(seed: int, until: int) -> None:
    """The file ends before a dividend that its closes hold: they lie on a grid, but on none of prices."""
    frame = auto_adjusted(company(seed, single_precision=True)).iloc[:until]
    assert establish(raw(frame)).basis is PriceBasis.DIVIDEND_ADJUSTED
    assert establish(raw(frame.drop(columns="dividend"))).basis is PriceBasis.DIVIDEND_ADJUSTED


def fractions(frame: pd.DataFrame) -> pd.DataFrame:
    """As in New York until 2001: in sixteenths first, in cents later."""
    early = np.arange(len(frame)) < 250
    return frame.assign(close=np.where(early, np.round(frame["close"] * 16) / 16, frame["close"]))


def pennies(frame: pd.DataFrame) -> pd.DataFrame:
    """A hundredth of a cent below a dollar, a cent above."""
    close = frame["close"] * np.linspace(0.002, 1.0, len(frame))
    return frame.assign(close=np.where(close < 1, np.round(close, 4), np.round(close, 2)))


@pytest.mark.parametrize("former", [fractions, pennies])
def test_steps_of_former_times_are_no_adjustment(former: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    frame = former(company(1)).drop(columns=["dividend", "adj_close", "open", "high", "low"])
    assert establish(raw(frame)).basis is PriceBasis.SPLIT_ADJUSTED


@pytest.mark.parametrize("tick", [1.0, 0.05, 0.01])
def test_rounded_after_it_was_adjusted_it_comes_back_where_the_tick_is_larger(tick: float) -> None:
    truth = company(3, tick)
    prices = ["open", "high", "low", "close"]
    frame = auto_adjusted(truth).assign(**{name: auto_adjusted(truth)[name].round(3) for name in prices})
    found = establish(raw(frame))
    assert "put back" in found.note
    np.testing.assert_allclose(found.bars["close"], truth["close"], atol=0.001)
    to_the_cent = establish(raw(frame.round(dict.fromkeys(prices, 2))))
    assert ("put back" in to_the_cent.note) == (tick > 0.01)
    assert to_the_cent.note


def rising_junior(frame: pd.DataFrame) -> pd.DataFrame:
    close = frame["close"] / frame["close"].iloc[0] * np.linspace(0.15, 1.6, len(frame))
    return frame.assign(close=np.where(close < 1, np.round(close, 4), np.round(close, 2)))


def great_split(frame: pd.DataFrame) -> pd.DataFrame:
    before = np.arange(len(frame)) < 300
    close = np.where(before, np.round(frame["close"] * 50, 2) / 50, frame["close"]).astype("float32")
    return frame.assign(close=close.astype(float), split_ratio=np.where(np.arange(len(frame)) == 300, 50.0, 1.0))


def exchange_rate(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(close=np.round(frame["close"] / 50, 5))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("made", [rising_junior, great_split, exchange_rate])
def test_what_was_traded_is_not_taken_for_adjusted(seed: int, made: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    frame = made(company(seed).drop(columns=["dividend", "adj_close", "open", "high", "low"]))
    found = establish(raw(frame))
    assert (found.basis, found.note) == (PriceBasis.SPLIT_ADJUSTED, "")


@pytest.mark.parametrize("split", [2.0, 1.5, 0.1])
def test_adjusted_closes_tell_that_the_closes_beside_them_are_as_traded(split: float) -> None:
    truth = company(2, split=split)
    factor = np.where(np.arange(len(DAYS)) < 300, split, 1.0)
    prices = {name: truth[name] * factor for name in ("open", "high", "low", "close", "dividend")}
    found = establish(raw(truth.assign(**prices, volume=truth["volume"] / factor)))
    assert "as traded before each split" in found.note
    np.testing.assert_allclose(found.bars["close"], truth["close"], rtol=1e-12)
    assert establish(raw(truth)).note == ""


def payer(falls: bool, dividends: int = 60) -> pd.DataFrame:
    """A quiet fund that pays 1 % every two months, to the cent; adjusted for it or not."""
    chance = np.random.default_rng(5)
    paid = np.arange(dividends * 21) % 21 == 20
    growth = 1 + chance.normal(0.0003, 0.006, len(paid)) - np.where(paid & falls, 0.01, 0.0)
    close = np.round(1000 * np.cumprod(growth), 2)
    frame = pd.DataFrame({"session_date": pd.bdate_range("2015-01-01", periods=len(paid)), "close": close})
    dividend = np.where(paid, np.round(0.01 * frame["close"].shift(1), 4), 0.0)
    return frame.assign(dividend=dividend)


def test_closes_that_never_fall_by_a_dividend_are_adjusted() -> None:
    """Rounded to the cent after they were adjusted, they lie on the grid; many dividends tell all the same."""
    adjusted = establish(raw(payer(falls=False)))
    assert adjusted.basis is PriceBasis.DIVIDEND_ADJUSTED
    assert (adjusted.bars["dividend"] == 0).all()
    assert establish(raw(payer(falls=True))).basis is PriceBasis.SPLIT_ADJUSTED
    few = raw(payer(falls=False, dividends=4))
    pd.testing.assert_frame_equal(establish(few).bars, few)


def net_asset_value(frame: pd.DataFrame) -> pd.DataFrame:
    """Computed, and rounded to a hundredth of a cent."""
    within_a_cent = np.random.default_rng(4).uniform(-0.005, 0.005, len(frame))
    return frame.assign(close=(frame["close"] + within_a_cent).round(4))


def test_prices_that_lie_on_no_grid_must_say_what_they_are() -> None:
    frame = company(1).assign(adj_close=np.nan)
    delivered = raw(net_asset_value(frame))
    with pytest.raises(UnclearBasisError):
        establish(delivered)
    computed = raw(frame.assign(close=50 * np.cumprod(1 + np.random.default_rng(2).normal(0, 0.01, len(frame)))))
    doubtful = establish(computed)
    assert doubtful.bars is computed
    assert doubtful.note.startswith("nothing tells whether the closes hold the dividends")
    assert establish(delivered, PriceBasis.SPLIT_ADJUSTED).bars is delivered
    adjusted = establish(delivered, PriceBasis.DIVIDEND_ADJUSTED)
    assert (adjusted.basis, adjusted.bars["dividend"].sum()) == (PriceBasis.DIVIDEND_ADJUSTED, 0)
    many = establish(raw(net_asset_value(payer(falls=True))))
    assert (many.basis, many.note) == (PriceBasis.SPLIT_ADJUSTED, "")
    without = raw(net_asset_value(frame).assign(dividend=0.0))
    assert establish(without).bars is without


def test_what_is_said_to_be_traded_is_put_on_the_basis_of_the_last_split() -> None:
    """Of one split the prices alone do not tell: a vendor's fault looks the same."""
    truth = company(2, split=3.0)
    factor = np.where(np.arange(len(DAYS)) < 300, 3.0, 1.0)
    prices = {name: truth[name] * factor for name in ("open", "high", "low", "close", "dividend")}
    delivered = raw(truth.assign(**prices, volume=truth["volume"] / factor, adj_close=np.nan))
    found = establish(delivered, PriceBasis.TRADED)
    for name in ("close", "dividend", "volume"):
        np.testing.assert_allclose(found.bars[name], truth[name], rtol=1e-12)
    assert establish(delivered).bars is delivered


@pytest.mark.parametrize("rows", [slice(478, 484), slice(440, 482), slice(30, 46)], ids=["short", "last day", "few"])
def test_a_recent_dividend_is_undone_too(rows: slice) -> None:
    truth = company(1).iloc[rows].reset_index(drop=True)
    truth["adj_close"] = adjusted_close(truth["close"], truth["dividend"])
    found = establish(raw(auto_adjusted(truth)))
    if truth["dividend"].to_numpy().nonzero()[0][-1] < 5:
        return  # too few before it to tell
    assert "put back" in found.note
    np.testing.assert_allclose(found.bars["close"], truth["close"], rtol=1e-9)


def test_rows_without_a_date_or_a_close_are_left_alone() -> None:
    frame = auto_adjusted(company(2))
    frame.loc[7, "close"] = np.nan
    delivered = raw(frame)
    delivered.loc[9, "session_date"] = pd.NaT
    found = establish(delivered)
    assert "put back" in found.note
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


def test_closes_that_their_dividends_do_not_explain_hold_them_all_the_same(tmp_path: Path) -> None:
    frame = auto_adjusted(company(3))
    frame.loc[frame["dividend"].ne(0).idxmax(), "dividend"] = 0.0
    frame.loc[frame["dividend"].ne(0).idxmax(), "dividend"] *= 2
    outcome = read(tmp_path, frame)
    assert (outcome.status, outcome.basis) == (FetchStatus.OK, PriceBasis.DIVIDEND_ADJUSTED)
    assert (outcome.bars["dividend"] == 0).all()
    np.testing.assert_array_equal(outcome.bars["close"], frame["close"])


def test_the_folder_says_what_cannot_be_told(tmp_path: Path) -> None:
    frame = net_asset_value(company(3))
    refused = read(tmp_path, frame)
    assert refused.status is FetchStatus.MALFORMED
    assert refused.detail == (
        "PAY.csv: whether closes are adjusted for the dividends beside them cannot be told; allowed: an Adj Close "
        "beside them, or a row of price_basis.csv that says it: traded, split_adjusted, dividend_adjusted"
    )
    for basis, kept in (("split_adjusted", frame["dividend"].sum()), ("dividend_adjusted", 0.0)):
        (tmp_path / "price_basis.csv").write_text(f"Symbol;Price_Basis\npay;{basis}\n")
        assert read(tmp_path, frame).bars["dividend"].sum() == pytest.approx(kept)
    (tmp_path / "price_basis.csv").write_text("symbol,price_basis\nPAY,adjusted\n")
    refused = read(tmp_path, frame)
    assert refused.status is FetchStatus.MALFORMED
    assert refused.detail == (
        "price_basis.csv, row 2, column price_basis: 'adjusted' is not allowed; "
        "allowed: traded, split_adjusted, dividend_adjusted"
    )
    # Who is not named in it is not concerned.
    (tmp_path / "Price_Basis.csv").write_text("symbol,price_basis\nOTHER,adjusted\n")
    (tmp_path / "price_basis.csv").unlink()
    assert read(tmp_path, company(3)).status is FetchStatus.OK


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
