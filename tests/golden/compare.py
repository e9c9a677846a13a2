"""Hold our tables against the answers of trusted implementations, cell for cell.

    python -m tests.golden.compare      (or: make golden)

prints, for each measure, its peer, how many rows were compared, the largest relative difference, and how many rows are
unknown on one side only. A cell agrees within 1e-9 relative or 1e-12 absolute.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from orchestration.duckdb_io import rows
from orchestration.settings import Settings
from tests.golden import market
from tests.jobs import published

HERE = Path(__file__).parent
RELATIVE, ABSOLUTE = 1e-9, 1e-12

# Columns of the volatility mart that need closes alone.
CLOSE_BASED = ("close_to_close", "volatility_")

# Golden file -> (peer, symbol, mart). The file's columns are the mart's.
FILES = {
    "ttr_volatility_sp500": ("TTR::volatility, runPercentRank, runSD", "SPX", "volatility"),
    "ttr_regression_nasdaq_on_sp500": ("TTR::rollSFM, runCor", "NDQ", "sector_relative"),
    "python_peers_nasdaq_on_sp500": ("empyrical, statsmodels", "NDQ", "sector_relative"),
}


@dataclass(frozen=True)
class Comparison:
    """One measure against one peer.

    Attributes:
        measure: mart and column.
        peer: who computed the other side.
        rows: rows that both have.
        compared: rows with a value on both sides.
        largest: largest relative difference, values within 1e-3 of zero left out (there the absolute tolerance rules).
        disagreeing: rows outside the tolerance.
        unknown_mismatches: rows that are NULL on one side only.
    """

    measure: str
    peer: str
    rows: int
    compared: int
    largest: float
    disagreeing: int
    unknown_mismatches: int

    @property
    def agrees(self) -> bool:
        """Whether every cell agrees and the unknown ones are the same."""
        return self.compared > 0 and not self.disagreeing and not self.unknown_mismatches


def golden(name: str) -> pd.DataFrame:
    """A golden file by date."""
    frame = pd.read_csv(HERE / f"{name}.csv.gz", parse_dates=["date"], index_col="date")
    return frame.astype(float)


def ours(settings: Settings, mart: str, symbol: str) -> pd.DataFrame:
    """A mart's rows of one symbol by date."""
    rows = published(settings, f"select * from {mart} where symbol = ? order by session_date", symbol)  # noqa: S608
    frame = pd.DataFrame(rows)
    frame.index = pd.DatetimeIndex(frame["session_date"])
    return frame


def compared(measure: str, peer: str, left: pd.Series, right: pd.Series) -> Comparison:
    """Our values against the peer's, on the dates that the peer has."""
    left = pd.to_numeric(left.reindex(right.index)).astype(float)
    difference = (left - right).abs()
    relative = difference / right.abs()
    outside = (relative > RELATIVE) & (difference > ABSOLUTE)
    noticeable = relative[right.abs() > ABSOLUTE / RELATIVE]
    return Comparison(
        measure,
        peer,
        len(right),
        int((left.notna() & right.notna()).sum()),
        float(noticeable.max()) if len(noticeable) else 0.0,
        int(outside.sum()),
        int((left.isna() != right.isna()).sum()),
    )


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Every measure that has a trusted peer."""
    for file, (peer, symbol, mart) in FILES.items():
        mine = ours(settings, mart, symbol)
        for column, values in golden(file).items():
            yield compared(f"{mart}.{column}", peer, mine[column], values)

    peers = golden("python_peers_sp500")
    returns, trend = ours(settings, "returns", "SPX"), ours(settings, "trend", "SPX")
    volatility = ours(settings, "volatility", "SPX")
    for column in [name for name in peers if name.startswith("return_")]:
        yield compared(f"returns.{column}", "pandas DateOffset", returns[column], peers[column])
    yield compared("trend.drawdown", "ffn", trend["drawdown"], peers["drawdown"])
    yield compared("volatility.ewma_094", "arch EWMAVariance", volatility["ewma_094"], peers["ewma_094"])

    scores = golden("ttr_scores_sp500")
    for column, peer in (("sma_50", "SMA"), ("sma_200", "SMA"), ("high_52w", "runMax"), ("low_52w", "runMin")):
        yield compared(f"trend.{column}", f"TTR::{peer}", trend[column], scores[column])
    closes = ours(settings, "daily_bars", "SPX")["close"]
    yield compared("trend.drawdown", "TTR::runMax, cumulative", trend["drawdown"], closes / scores["peak"] - 1)
    yield from _moves(settings, scores)
    yield from _pairs(settings)
    yield from _variants(settings)


def _moves(settings: Settings, scores: pd.DataFrame) -> Iterator[Comparison]:
    """Scores of the moves that broke a rule: large_moves holds no others."""
    moves = ours(settings, "large_moves", "SPX")
    peers = {
        "z_21": "TTR::runSD",
        "z_63": "TTR::runSD",
        "robust_z_252": "TTR::runMedian, runMAD",
        "percentile_252": "TTR::runPercentRank",
    }
    for column, peer in peers.items():
        yield compared(f"large_moves.{column}", f"{peer}, lagged", moves[column], scores[column].reindex(moves.index))


def _pairs(settings: Settings) -> Iterator[Comparison]:
    """The Nasdaq against the S&P 500."""
    rows = pd.DataFrame(published(settings, "select * from pair_spreads order by session_date"))
    rows.index = pd.DatetimeIndex(rows["session_date"])
    for column, values in golden("ttr_pair_nasdaq_sp500").items():
        yield compared(f"pair_spreads.{column}", "TTR::runSum, runMean, runSD, runPercentRank", rows[column], values)


def _variants(settings: Settings) -> Iterator[Comparison]:
    """Flat bars, closes alone, holes and actions: the same peers, and unknown exactly where they have to be."""
    answers = golden("ttr_volatility_sp500")
    flat, closes = ours(settings, "volatility", "FLAT"), ours(settings, "volatility", "CLOSES")
    for column, values in answers.items():
        window = int(str(column).rsplit("_", 1)[1])
        if str(column).startswith(CLOSE_BASED):
            expected_flat = expected_closes = values
        else:
            hit = [i for p in market.FLAT_BARS for i in range(p, min(p + window, len(values)))]
            expected_flat, expected_closes = values.copy(), values * float("nan")
            expected_flat.iloc[hit] = float("nan")
        yield compared(f"volatility.{column} with flat bars", "TTR::volatility", flat[column], expected_flat)
        if str(column).startswith(CLOSE_BASED):
            yield compared(f"volatility.{column}, closes alone", "TTR::volatility", closes[column], expected_closes)

    holes = market.sp500()["Close"].drop(market.sp500().index[list(market.HOLE)])
    r = holes.pct_change()
    yield compared("returns.return_1d with a hole", "pandas", ours(settings, "returns", "HOLES")["return_1d"], r)

    frame = market.actions()
    splits_to_come = frame["Stock Splits"].replace(0.0, 1.0)[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)
    as_traded = frame["Close"] * splits_to_come
    dividend = frame["Dividends"] * splits_to_come
    ratio = frame["Stock Splits"].replace(0.0, 1.0)
    # CRSP: what a share of yesterday has become, with its dividend on the new shares.
    crsp = (as_traded * ratio + dividend * ratio) / as_traded.shift() - 1
    bars = ours(settings, "daily_bars", "ACTIONS")
    yield compared("daily_bars.close_as_traded", "pandas", bars["close_as_traded"], as_traded)
    yield compared(
        "returns.return_1d with actions", "CRSP's formula", ours(settings, "returns", "ACTIONS")["return_1d"], crsp
    )
    # What the data test `vendor_adjustment_agrees` holds against the vendor's.
    growth = "select session_date, close / (previous_close - dividend) as growth from int_bars where symbol = 'ACTIONS'"
    adjusted = pd.DataFrame(rows(settings.paths.warehouse, f"{growth} order by session_date"))
    adjusted.index = pd.DatetimeIndex(adjusted["session_date"])
    theirs = golden("ttr_adjusted_close_actions")["adj_close"]
    yield compared("growth of the adjusted close", "TTR::adjRatios", adjusted["growth"], theirs / theirs.shift())
    index = (1 + crsp.fillna(0.0)).cumprod()
    yield compared("daily_bars.total_return_index", "pandas cumprod", bars["total_return_index"], index)


def main() -> int:
    """Build the golden market, print the table; exit code 1 if anything disagrees."""
    with tempfile.TemporaryDirectory() as home:
        with contextlib.redirect_stdout(sys.stderr):
            settings = market.build(Path(home))
        results = list(comparisons(settings))
    table = Table(title="Ours against trusted implementations")
    for name in ("measure", "peer", "rows", "compared", "largest rel. difference", "NULL mismatches", ""):
        table.add_column(name, justify="left" if name in ("measure", "peer", "") else "right")
    for c in results:
        verdict = "ok" if c.agrees else "[red]differs[/]"
        table.add_row(
            c.measure, c.peer, f"{c.rows:,}", f"{c.compared:,}", f"{c.largest:.1e}", str(c.unknown_mismatches), verdict
        )
    Console(width=170).print(table)
    return 0 if all(c.agrees for c in results) else 1


if __name__ == "__main__":
    sys.exit(main())
