"""However the deliveries came, the lake ends with the vendor's last word: generated histories without the SQL."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestration.ingest.lake import Lake
from orchestration.market.bars import VENDOR_TOLERANCE
from tests.histories import History

VALUES = ["open", "high", "low", "close", "volume", "dividend", "split_ratio", "bar_quality"]

FEW = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))]
MANY = [pytest.param(seed, marks=pytest.mark.torture) for seed in range(6, 60)]


def newest(lake: Lake, symbols: list[str]) -> pd.DataFrame:
    frame = lake.newest_bars(symbols).to_pandas()
    return frame.set_index(["symbol", "session_date"]).sort_index()


def lived(seed: int, folder: Path, forgetful: bool) -> tuple[History, Lake]:
    """A history, every delivery of it taken."""
    history = History(seed, folder, forgetful)
    for _ in history.steps(2 + seed % 6):
        lake = history.ingest(folder)
    return history, lake


@pytest.mark.parametrize("seed", [*FEW, *MANY])
def test_the_last_word_counts(seed: int, tmp_path: Path) -> None:
    history, lake = lived(seed, tmp_path, forgetful=False)
    fresh = history.ingest(tmp_path / "fresh")
    then, now = newest(lake, history.watched), newest(fresh, history.watched)
    pd.testing.assert_frame_equal(then[VALUES], now[VALUES], check_exact=True)
    # Its noise is not stored again.
    assert (then["adj_close"] / now["adj_close"] - 1).abs().max() <= VENDOR_TOLERANCE
    # A second look finds nothing.
    rows = lake.read("bars").num_rows
    history.ingest(tmp_path)
    assert lake.read("bars").num_rows == rows


@pytest.mark.parametrize("seed", [*FEW, *MANY])
def test_what_a_vendor_leaves_out_stands_on_the_basis_of_the_others(seed: int, tmp_path: Path) -> None:
    history, lake = lived(1000 + seed, tmp_path, forgetful=True)
    for symbol, bars in newest(lake, history.watched).groupby(level="symbol"):
        vendor = history.vendors[symbol]
        closes = bars.droplevel("symbol")["close"]
        expected = {day: close / vendor.factor(day) for day, close in vendor.last_seen.items() if day in closes.index}
        wrong = {day: (closes[day], close) for day, close in expected.items() if not np.isclose(closes[day], close)}
        assert not wrong, (symbol, history.log)
