"""Prices that no exchange has, each as large or as small as is let in: whatever they are, the others are published."""

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestration.market.calendar import closed_sessions
from orchestration.market.quarantine import LARGEST_PRICE, SMALLEST_PRICE
from tests.jobs import INSTRUMENTS_HEADER, ClockedSettings, published, run_job, write_seeds

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
DAYS = pd.DatetimeIndex(closed_sessions("XNYS", NOW)["session_date"])[-300:]
PLACE = np.arange(len(DAYS))
CLOSE = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, len(DAYS)))).round(4)
LARGEST, SMALLEST = 0.99 * LARGEST_PRICE, SMALLEST_PRICE


def some(value: float, otherwise: float = 0.0) -> np.ndarray:
    return np.where(PLACE % 50 == 10, value, otherwise)


# What differs from an ordinary history of closes.
EXTREMES = {
    "ALTERNATES": {"Close": np.where(PLACE % 2, SMALLEST, LARGEST)},
    "SMALLEST": {"Close": np.full(len(DAYS), SMALLEST)},
    "LARGEST": {"Close": np.full(len(DAYS), LARGEST)},
    "RISES": {"Close": np.where(PLACE < 150, SMALLEST, LARGEST)},
    "FALLS": {"Close": np.where(PLACE < 150, LARGEST, SMALLEST)},
    "ZIGZAG": {"Close": np.where(PLACE % 3 == 0, 1e-3, 1e3)},
    "SPLITS": {"Close": CLOSE, "Stock Splits": some(1e15)},
    "REVERSE": {"Close": CLOSE, "Stock Splits": some(1e-15)},
    "GREATSPLITS": {"Close": CLOSE, "Stock Splits": some(1e300)},
    "PAYS": {"Close": CLOSE, "Dividends": np.full(len(DAYS), 1e15)},
    "PAYSONCE": {"Close": CLOSE, "Dividends": some(1e300)},
    "VOLUME": {"Close": CLOSE, "Volume": np.where(PLACE % 2, 1.7e308, 5e-324)},
    "ADJUSTED": {"Close": CLOSE, "Adj Close": np.where(PLACE % 2, 1.7e308, 5e-324)},
    "NOTADJUSTED": {"Close": CLOSE, "Adj Close": -CLOSE},
    "WIDE": {"Close": CLOSE, "Open": CLOSE, "High": np.full(len(DAYS), 1.7e308), "Low": CLOSE},
    "DEEP": {"Close": CLOSE, "Open": CLOSE, "High": CLOSE, "Low": np.full(len(DAYS), 5e-324)},
}


def test_no_price_of_one_instrument_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    instruments, symbols = INSTRUMENTS_HEADER, ["GOOD", *EXTREMES]
    for symbol in symbols:
        columns = EXTREMES.get(symbol, {"Close": CLOSE})
        pd.DataFrame({"Date": DAYS.date, **columns}).to_csv(tmp_path / "drop" / f"{symbol}.csv", index=False)
        instruments += f"{symbol},{symbol},{symbol},stock,silver,senior,XNYS,USD,0.01,GOOD,GOOD,\n"
    levels = [f"l_{symbol.lower()},{symbol},50,51,support,2020-01-01,\n" for symbol in symbols]
    pairs = [f"p_{symbol.lower()},GOOD,{symbol},junior_senior,2\n" for symbol in EXTREMES]
    settings = ClockedSettings(
        source="files",
        home=tmp_path / "home",
        files=tmp_path / "drop",
        seeds=write_seeds(
            tmp_path / "seeds",
            instruments=instruments,
            price_levels="level_id,symbol,lower,upper,kind,active_from,note\n" + "".join(levels),
            pairs="pair_id,long_symbol,short_symbol,kind,z_threshold\n" + "".join(pairs),
            move_rules="rule_id,scope,scope_value,measure,sessions,threshold,note\n"
            "z,all,,z_ewma,1,3,\nvolume,all,,volume_ratio,20,3,\n",
            published_claims="claim_id,published_on,publisher,symbol,measure,argument,session_date,claimed,tolerance,note\n",
        ),
        moment=NOW,
    )
    assert run_job(settings).success
    good = published(settings, "select close from daily_bars where symbol = 'GOOD' order by session_date")
    assert [row["close"] for row in good] == CLOSE.tolist()
    held = published(settings, "select symbol from data_coverage where held_back is not null")
    assert held == []
