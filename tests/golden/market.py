"""The market of the golden tests: the S&P 500 and Nasdaq series inside the PyPI package `arch`, and variants of them.

| symbol | what |
|---|---|
| SPX, NDQ | the series as they are; NDQ is compared with SPX, alone and as a pair |
| FUT | SPX as if it were the future of a metal and NDQ belonged to that metal, for Dimson's lags |
| FLAT | SPX with some bars flat (open = high = low = close) |
| CLOSES | SPX, closes alone |
| HOLES | SPX without some sessions |
| ACTIONS | SPX with made-up dividends and splits, on Yahoo's split-adjusted basis |
| ONE | one bar |
| NONE | a file with a header and no row |
"""

from pathlib import Path

import pandas as pd

from orchestration.settings import Settings
from tests.jobs import INSTRUMENTS_HEADER, publish_tables, small_seeds

SYMBOLS = ("SPX", "NDQ", "FUT", "FLAT", "CLOSES", "HOLES", "ACTIONS", "ONE", "NONE")

# Positions of the bars (0 is the first) in which a variant differs.
FLAT_BARS = (40, 41, 700, 2500)
HOLE = range(1000, 1030)
DIVIDENDS = {100: 12.5, 350: 0.25, 2001: 30.0}
SPLITS = {500: 2.0, 1500: 0.1, 3000: 1.5}


def sp500() -> pd.DataFrame:
    """Open, High, Low, Close, Volume by date."""
    import arch.data.sp500  # which loads much else: not in every process that collects tests

    return arch.data.sp500.load()[["Open", "High", "Low", "Close", "Volume"]].astype(float).rename_axis("Date")


def nasdaq() -> pd.DataFrame:
    """The same for the Nasdaq Composite."""
    import arch.data.nasdaq

    return arch.data.nasdaq.load()[["Open", "High", "Low", "Close", "Volume"]].astype(float).rename_axis("Date")


def actions() -> pd.DataFrame:
    """SPX with dividends and splits, as Yahoo would deliver it: prices and dividends divided by the splits to come."""
    frame = sp500()
    frame["Dividends"] = 0.0
    frame["Stock Splits"] = 0.0
    for position, amount in DIVIDENDS.items():
        frame.iloc[position, frame.columns.get_loc("Dividends")] = amount
    for position, ratio in SPLITS.items():
        frame.iloc[position, frame.columns.get_loc("Stock Splits")] = ratio
    return frame


def write_drop_folder(folder: Path) -> Path:
    """One CSV per symbol."""
    folder.mkdir(parents=True)
    base = sp500()
    flat = base.copy()
    for position in FLAT_BARS:
        flat.iloc[position, :3] = flat["Close"].iloc[position]
    frames = {
        "SPX": base,
        "NDQ": nasdaq(),
        "FUT": base,
        "FLAT": flat,
        "CLOSES": base[["Close"]],
        "HOLES": base.drop(base.index[list(HOLE)]),
        "ACTIONS": actions(),
        "ONE": base.iloc[[0]],
        "NONE": base.iloc[:0],
    }
    for symbol, frame in frames.items():
        frame.to_csv(folder / f"{symbol}.csv", float_format="%.17g")
    return folder


def build(home: Path) -> Settings:
    """The tables of the golden market, published."""
    # A threshold so low that nearly every return is a move: the scores are compared on all of them.
    seeds = small_seeds(home / "seeds", *SYMBOLS, rules="any,all,,return_1d,1,0.000001,\n")
    rows = [f"{s},{s},{s},index,,benchmark,XNYS,USD,0.01,,,\n" for s in SYMBOLS if s not in ("FUT", "NDQ")]
    rows.append("FUT,FUT,FUT,metal,silver,metal,XNYS,USD,0.01,,,\n")
    rows.append("NDQ,NDQ,NDQ,index,silver,benchmark,XNYS,USD,0.01,SPX,,\n")
    (seeds / "instruments.csv").write_text(INSTRUMENTS_HEADER + "".join(rows))
    pair = "ndq_spx,NDQ,SPX,junior_senior,2\n"
    (seeds / "pairs.csv").write_text("pair_id,long_symbol,short_symbol,kind,z_threshold\n" + pair)
    settings = Settings(source="files", files=write_drop_folder(home / "drop"), home=home / "home", seeds=seeds)
    publish_tables(settings)
    return settings
