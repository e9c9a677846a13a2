"""A market of six exchanges and five currencies, held against pandas and statsmodels: base returns, betas, NULLs.

Prices are invented. What is expected is worked out here day by day, from the definitions alone: which exchange rate had
ended when a closing price was made, and which closing prices were made within half an hour of the benchmark's.
"""

import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from orchestration.market import calendar
from orchestration.settings import DBT_PROJECT_DIR, Settings
from tests.jobs import publish_tables, published

FIRST, LAST = dt.date(2023, 6, 1), dt.date(2026, 1, 23)
NEW_YORK = ZoneInfo("America/New_York")

# symbol: exchange, currency, settlement
MARKET = {
    "SI=F": ("CMES", "USD", "13:25"),
    "SLV": ("XNYS", "USD", ""),
    "SIL": ("XNYS", "USD", ""),
    "PAAS": ("XNYS", "USD", ""),
    "ABX": ("XTSE", "CAD", ""),
    "FRES": ("XLON", "GBp", ""),
    "SVL": ("XASX", "AUD", ""),
    "HAR": ("XJSE", "ZAc", ""),
    "PE": ("XMEX", "MXN", ""),
}
FOREIGN = {symbol: currency for symbol, (_, currency, _) in MARKET.items() if currency != "USD"}
MONEY = {"GBp": "GBP", "ZAc": "ZAR"}
# As the vendor has them: dollars for one unit, or units for a dollar.
RATES = {"CAD=X": "CAD", "GBPUSD=X": "GBP", "AUDUSD=X": "AUD", "ZAR=X": "ZAR", "MXNUSD=X": "MXN", "EURUSD=X": "EUR"}
# Days on which the bank of rates was closed: the pounds' for three, the Canadian dollars' for nine.
SHUT = {"GBPUSD=X": ("2025-03-04", "2025-03-06"), "CAD=X": ("2025-06-02", "2025-06-12")}


def sessions_of(exchange: str) -> pd.DataFrame:
    held = calendar.sessions(exchange, FIRST, LAST)
    return held[held["bar_expected"]].reset_index(drop=True)


def random_walk(name: str, days: int, start: float, size: float) -> np.ndarray[Any, Any]:
    seed = sum(ord(letter) * 31**place for place, letter in enumerate(name))
    return start * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, size, days)))


def write_market(folder: Path) -> None:
    folder.mkdir(parents=True)
    for symbol, (exchange, _, _) in MARKET.items():
        days = sessions_of(exchange)["session_date"]
        closes = random_walk(symbol, len(days), 40, 0.02).round(3)
        dividends = np.where(np.arange(len(days)) % 97 == 50, 0.25, 0.0) if symbol in ("FRES", "PAAS") else 0.0
        pd.DataFrame({"Date": days, "Close": closes, "Dividends": dividends}).to_csv(
            folder / f"{symbol}.csv", index=False
        )
    for symbol in RATES:
        days = sessions_of("24/5")["session_date"]
        frame = pd.DataFrame({"Date": days, "Close": random_walk(symbol, len(days), 0.8, 0.006).round(5)})
        first, last = map(pd.Timestamp, SHUT.get(symbol, ("1970-01-01", "1970-01-01")))
        frame[~frame["Date"].between(first, last)].to_csv(folder / f"{symbol}.csv", index=False)


def write_seeds(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = ["symbol,source_symbol,name,asset_class,metal,tier,calendar,currency,tick_size,metal_symbol,sector_symbol,"]
    rows[0] += "active_from,settlement_time"
    for symbol, (exchange, currency, settlement) in MARKET.items():
        kind = {"SI=F": "metal,silver,metal", "SLV": "etf,silver,metal", "SIL": "etf,silver,senior"}
        others = {"SI=F": ",", "SLV": "SI=F,", "SIL": "SLV,"}
        what, compared = kind.get(symbol, "stock,silver,senior"), others.get(symbol, "SLV,SIL")
        rows.append(f"{symbol},{symbol},{symbol},{what},{exchange},{currency},0.001,{compared},,{settlement}")
    rows += [
        f"{symbol},{symbol},{symbol},fx,,benchmark,24/5,{'USD' if 'USD' in symbol else symbol[:3]},0.00001,,,,"
        for symbol in RATES
        if symbol != "MXNUSD=X"  # needed, and in no row
    ]
    (folder / "instruments.csv").write_text("\n".join(rows) + "\n")
    (folder / "pairs.csv").write_text(
        "pair_id,long_symbol,short_symbol,kind,z_threshold\n"
        "toronto,ABX,PAAS,junior_senior,2\nlondon,FRES,PAAS,junior_senior,2\n"
    )
    for name in ("price_levels", "move_rules", "published_claims"):
        header = (DBT_PROJECT_DIR / "seeds" / f"{name}.csv").read_text("utf-8").splitlines()[0]
        (folder / f"{name}.csv").write_text(header + "\n")


class ByHand:
    """What is expected, worked out from the files."""

    def __init__(self, folder: Path, base: str) -> None:
        self.base = base
        self.bars, self.rates = {}, {}
        for symbol, (exchange, _, settlement) in MARKET.items():
            frame = pd.read_csv(folder / f"{symbol}.csv", parse_dates=["Date"]).set_index("Date")
            held = sessions_of(exchange).set_index("session_date")
            times = held["close_utc"].dt.tz_convert("UTC")
            if settlement:
                hour, minute = map(int, settlement.split(":"))
                local = [dt.datetime(d.year, d.month, d.day, hour, minute, tzinfo=NEW_YORK) for d in held.index]
                times = pd.Series([min(a, pd.Timestamp(b)) for a, b in zip(times, local, strict=True)], held.index)
            frame["time"] = times
            frame["r"] = (frame["Close"] + frame["Dividends"]) / frame["Close"].shift() - 1
            self.bars[symbol] = frame
        for symbol, currency in RATES.items():
            frame = pd.read_csv(folder / f"{symbol}.csv", parse_dates=["Date"])
            rate = frame["Close"] if "USD" in symbol else 1 / frame["Close"]
            ends = (frame["Date"] + pd.Timedelta(days=1)).dt.tz_localize("UTC")
            self.rates[currency] = pd.DataFrame({"day": frame["Date"], "end": ends, "rate": rate})
        for symbol in MARKET:
            self._in_base(symbol)

    def _dollars(self, currency: str, moment: pd.Timestamp) -> tuple[float, pd.Timestamp | None]:
        if currency == "USD":
            return 1.0, None
        known = self.rates[currency][self.rates[currency]["end"] <= moment]
        if known.empty or known["end"].iloc[-1] < moment - pd.Timedelta(days=5):
            return np.nan, None
        return known["rate"].iloc[-1], known["day"].iloc[-1]

    def _in_base(self, symbol: str) -> None:
        frame, quote = self.bars[symbol], MARKET[symbol][1]
        money = MONEY.get(quote, quote)
        rates, days = [], []
        for moment in frame["time"]:
            (ours, our_day), (theirs, their_day) = self._dollars(money, moment), self._dollars(self.base, moment)
            rate = ours / theirs if money != self.base else 1.0
            rates.append(rate)
            used = [day for day in (our_day, their_day) if day is not None]
            days.append(min(used) if used and not np.isnan(rate) else pd.NaT)
        frame["rate"], frame["fx_day"] = rates, days
        frame["f"] = frame["rate"] / frame["rate"].shift() - 1
        frame["base"] = (1 + frame["r"]) * (1 + frame["f"]) - 1
        index = (1 + frame["r"]).fillna(1).cumprod() * frame["rate"]
        frame["index"] = index

    def pairs(self, symbol: str, other: str) -> pd.DataFrame:
        both = self.bars[symbol].join(self.bars[other], rsuffix="_other", how="inner")
        both = both[both["base"].notna() & both["base_other"].notna()]
        apart = (both["time"] - both["time_other"]).abs() > pd.Timedelta(minutes=30)
        return pd.DataFrame(
            {
                "r": both["base"],
                "b": both["base_other"],
                "synchronous": ~apart,
                "ratio": both["index"] / both["index_other"],
            }
        )


def dimson(pairs: pd.DataFrame, n: int) -> pd.Series:
    """The sum of three slopes over the n rows up to the one before, by least squares."""
    import statsmodels.api as sm

    x = pd.DataFrame({"before": pairs["b"].shift(), "same": pairs["b"], "after": pairs["b"].shift(-1)})
    sums = {}
    for place in range(n + 1, len(pairs)):
        window = slice(place - n, place)  # ends with the pair of the session before
        if x.iloc[window].notna().all().all():
            fitted = sm.OLS(pairs["r"].iloc[window].to_numpy(), sm.add_constant(x.iloc[window].to_numpy())).fit()
            sums[pairs.index[place]] = fitted.params[1:].sum()
    return pd.Series(sums, dtype=float)


@pytest.fixture(scope="module", params=["USD", "EUR"])
def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, ByHand]:
    home = tmp_path_factory.mktemp(f"in_{request.param}")
    write_market(home / "drop")
    write_seeds(home / "seeds")
    settings = Settings(
        source="files", files=home / "drop", home=home / "home", seeds=home / "seeds", currency=request.param
    )
    publish_tables(settings)
    return settings, ByHand(home / "drop", request.param)


def table(settings: Settings, sql: str) -> pd.DataFrame:
    frame = pd.DataFrame(published(settings, sql))
    frame["session_date"] = pd.to_datetime(frame["session_date"])
    return frame.set_index("session_date").sort_index()


def assert_equal(ours: pd.Series, expected: pd.Series) -> None:
    expected = expected.reindex(ours.index)
    np.testing.assert_array_equal(ours.isna().to_numpy(), expected.isna().to_numpy())
    np.testing.assert_allclose(ours.astype(float), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("symbol", MARKET)
def test_returns_in_the_base_currency(market: tuple[Settings, ByHand], symbol: str) -> None:
    settings, by_hand = market
    found = published(settings, "select * from currencies where symbol = ? order by session_date", symbol)
    if MARKET[symbol][1] == by_hand.base:
        assert found == []
        return
    ours = pd.DataFrame(found)
    ours.index = pd.to_datetime(ours["session_date"])
    ours = ours.sort_index()
    assert set(ours["quote_currency"]) == {MARKET[symbol][1]}
    assert set(ours["base_currency"]) == {by_hand.base}
    expected = by_hand.bars[symbol]
    assert list(ours.index) == list(expected.index)
    assert_equal(ours["fx_return_1d"], expected["f"])
    assert_equal(ours["return_1d_base"], expected["base"])
    assert_equal(ours["total_return_index_base"].pct_change(21), expected["index"].pct_change(21))
    days = pd.to_datetime(ours["fx_session_date"])
    np.testing.assert_array_equal(days.to_numpy("datetime64[D]"), expected["fx_day"].to_numpy("datetime64[D]"))


@pytest.mark.parametrize("symbol", [s for s in MARKET if s not in ("SI=F", "SLV", "SIL")])
def test_compared_with_the_metal_in_one_currency_and_of_one_moment(
    market: tuple[Settings, ByHand], symbol: str
) -> None:
    settings, by_hand = market
    ours = table(settings, f"select * from sector_relative where symbol = '{symbol}'")  # noqa: S608
    pairs = by_hand.pairs(symbol, "SLV")
    synchronous = pairs[pairs["synchronous"]]
    assert_equal(ours["excess_return_metal_1d"], synchronous["r"] - synchronous["b"])
    assert_equal(ours["relative_strength_252"], pairs["ratio"] / pairs["ratio"].shift(252))
    methods = pairs["synchronous"].map({True: "ols", False: "dimson"}).reindex(ours.index)
    assert ours["beta_method"].fillna("").tolist() == methods.fillna("").tolist()
    for n in (63, 252):
        slope = synchronous["r"].rolling(n).cov(synchronous["b"]) / synchronous["b"].rolling(n).var()
        apart = dimson(pairs, n).reindex(pairs.index)[~pairs["synchronous"]]
        assert_equal(ours[f"beta_{n}"], pd.concat([slope, apart]).sort_index())
        assert_equal(ours[f"correlation_{n}"], synchronous["r"].rolling(n).corr(synchronous["b"]))


def test_which_exchanges_close_together(market: tuple[Settings, ByHand]) -> None:
    settings, _ = market
    found = published(
        settings,
        "select symbol, beta_method, count(*) as sessions from sector_relative where beta_method > '' group by all",
    )
    counts = {(row["symbol"], row["beta_method"]): row["sessions"] for row in found}
    # The future settles hours before the fund closes; London, Sydney and Johannesburg are hours away.
    assert {symbol for symbol, method in counts if method == "dimson"} == {"SLV", "ABX", "FRES", "SVL", "HAR", "PE"}
    assert not {"FRES", "SVL", "HAR"} & {symbol for symbol, method in counts if method == "ols"}
    # On New York's half days it settles 25 minutes after the fund has closed.
    assert counts["SLV", "ols"] < 10
    # Toronto closes with New York but on New York's half days; Mexico keeps no summer time.
    assert counts["ABX", "dimson"] < 12 < counts["ABX", "ols"]
    assert 200 < counts["PE", "ols"] < counts["PE", "dimson"]


def test_daily_ranks_hold_who_closes_with_the_sector_fund(market: tuple[Settings, ByHand]) -> None:
    settings, by_hand = market
    ours = table(settings, "select symbol, session_date, rank_1d, rank_21d from sector_relative where rank_21d > 0")
    day = pd.Timestamp("2025-12-04")
    rows = ours[ours.index == day].set_index("symbol")
    together = ["PAAS", "ABX", "PE", "SIL"]
    growth = {s: by_hand.bars[s]["index"].pct_change(21)[day] for s in rows.index}
    daily = {s: by_hand.bars[s]["base"][day] for s in together}
    assert set(rows.index) == {"PAAS", "ABX", "PE", "SIL", "FRES", "SVL", "HAR"}
    assert rows["rank_21d"].to_dict() == pd.Series(growth).rank(ascending=False).to_dict()
    assert rows["rank_1d"].dropna().to_dict() == pd.Series(daily).rank(ascending=False).to_dict()


def test_the_mean_of_a_sector_holds_who_closes_with_its_fund(market: tuple[Settings, ByHand]) -> None:
    settings, by_hand = market
    ours = table(settings, "select * from sector_daily where sector = 'silver_senior'")
    returns = pd.DataFrame(
        {
            symbol: by_hand.bars[symbol]["base"].where(
                (by_hand.bars[symbol]["time"] - by_hand.bars["SIL"]["time"]).abs() <= pd.Timedelta(minutes=30)
            )
            for symbol in ("PAAS", "ABX", "PE", "FRES", "SVL", "HAR")
        }
    )
    expected = returns[returns.notna().any(axis=1)]
    known = ours["equal_weight_return"].dropna()
    np.testing.assert_allclose(known.astype(float), expected.mean(axis=1).reindex(known.index), rtol=1e-9, atol=1e-12)
    assert len(known) > 600


def test_the_gap_of_a_pair_is_one_of_money_and_moments(market: tuple[Settings, ByHand]) -> None:
    settings, by_hand = market
    for pair, symbol in (("toronto", "ABX"), ("london", "FRES")):
        ours = table(settings, f"select * from pair_spreads where pair_id = '{pair}'")  # noqa: S608
        both = by_hand.bars[symbol].join(by_hand.bars["PAAS"], rsuffix="_other", how="inner")
        strength = np.log(both["index"] / both["index_other"])
        apart = (both["time"] - both["time_other"]).abs() > pd.Timedelta(minutes=30)
        assert_equal(ours["spread_1d"], strength.diff().where(~apart))
        assert_equal(ours["spread_21d"], strength.diff().rolling(21).sum())
        pence = 100 if symbol == "FRES" else 1
        assert_equal(ours["value"], both["Close"] * both["rate"] / pence / (both["Close_other"] * both["rate_other"]))
