"""What both peers share: where the market lies, how it is cut into batches, where tables go, and medians of windows.

What the peers take for granted is what `benchmarks/simulated_market.py` writes: one version of every bar, none
withheld, every bar on a session of its calendar, prices on the split-adjusted basis. Nothing else: bars may be missing
anywhere, be flat, pay dividends or begin late, and a symbol may lie in several files.
"""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Where simulated prices live below a home, and what every row says of them.
SOURCE = "sample"

# Half a million bars at a time: 50 million do not fit into memory beside what is computed from them.
SYMBOLS_A_BATCH = 100

MINERS = ("senior", "junior", "royalty")
WINDOWS = (21, 63, 252)
CUMULATIVE = (2, 3, 5, 10, 21)
RANGE_ESTIMATORS = ("parkinson", "garman_klass", "rogers_satchell", "gk_yz", "yang_zhang")
# A base is at most this many days older than the day that a horizon starts at.
BASE_AGE = 7
# Variances below are what rounding has left of larger ones that are out of the window by now: a ten-millionth a session
# is no movement.
NO_VARIANCE = 1e-14

BARS = ("symbol", "session_date", "open", "high", "low", "close", "volume", "dividend", "bar_quality")

RELATIVE_MEASURES = (
    *(f"{measure}_{n}" for measure in ("beta", "alpha", "r_squared", "correlation") for n in (63, 252)),
    *("beta_up_252", "beta_down_252", "beta_252_without_largest", "tracking_error_252", "information_ratio_252"),
)

_KEYS = ("symbol", "session_date")
COLUMNS = {
    "returns": (
        *(*_KEYS, "return_1d", "price_return_1d", "log_return_1d", "overnight_return", "intraday_return"),
        *("return_5d", "return_21d"),
        *(f"{what}_{name}" for name in ("1w", "1m", "3m", "6m", "1y", "mtd") for what in ("return", "base_date")),
        *("return_ytd", "price_return_ytd", "base_date_ytd", "return_since_inception", "sessions_since_previous"),
        "source",
    ),
    "volatility": (
        *(*_KEYS, *(f"close_to_close_{n}" for n in WINDOWS), "ewma_094"),
        *(f"{estimator}_{n}" for estimator in RANGE_ESTIMATORS for n in WINDOWS),
        *("volatility_percentile_252", "volatility_of_volatility_63", "volatility_ratio_21_252"),
        *("is_volatility_spike", "spike_began", "source"),
    ),
    "trend": (
        *(*_KEYS, "drawdown", "peak_date", "sessions_under_water", "days_under_water", "high_52w", "low_52w"),
        *("distance_from_52w_high", "distance_from_52w_low", "is_52w_high", "is_52w_low", "sma_50", "sma_200"),
        *("trend_state", "verdict", "peak", "previous_high_52w", "previous_low_52w", "source"),
    ),
    "sector_relative": (
        *(*_KEYS, "metal_symbol", "sector_symbol", "excess_return_metal_1d", "excess_return_sector_1d"),
        *("metal_session_date", "beta_method", "relative_strength_252", *RELATIVE_MEASURES, "sector_session_date"),
        *(f"sector_{name}" for name in ("beta_method", "relative_strength_252", *RELATIVE_MEASURES)),
        *("futures_symbol", "futures_beta_252", "futures_dimson_beta_252", "rank_1d", "rank_21d", "source"),
    ),
    "int_move_scores": (
        *(*_KEYS, "return_1d", *(f"return_{n}d" for n in CUMULATIVE), "overnight_return", "volume_ratio_20"),
        *("z_21", "z_63", "z_ewma", "robust_z_252", "percentile_252", "returns_since_gap"),
    ),
}


@dataclass(frozen=True)
class Market:
    """The files of a home."""

    home: Path

    @property
    def bars(self) -> list[Path]:
        """The files of the lake that hold bars."""
        return sorted((self.home / SOURCE / "lake" / "bars").glob("*.parquet"))

    def control(self, name: str) -> pa.Table:
        """A control table: instruments or sessions."""
        return pq.read_table(self.home / SOURCE / "control" / f"{name}.parquet")

    def batches(self) -> Iterator[list[str]]:
        """The symbols of all instruments, in alphabetical order, some at a time."""
        symbols = sorted(self.control("instruments")["symbol"].to_pylist())
        for first in range(0, len(symbols), SYMBOLS_A_BATCH):
            yield symbols[first : first + SYMBOLS_A_BATCH]


@dataclass
class Tables:
    """One Parquet file per table, written batch by batch."""

    folder: Path
    _rows: dict[str, int] = field(default_factory=dict)
    _writers: dict[str, pq.ParquetWriter] = field(default_factory=dict)

    def write(self, name: str, table: pa.Table) -> None:
        """Add rows to a table; one thread at a time for each."""
        if name not in self._writers:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A dictionary of floats costs three times what it saves.
            dictionaries = [column.name for column in table.schema if not pa.types.is_floating(column.type)]
            path = self.folder / f"{name}.parquet"
            self._writers[name] = pq.ParquetWriter(path, table.schema, use_dictionary=dictionaries)
        self._writers[name].write_table(table)
        self._rows[name] = self._rows.get(name, 0) + table.num_rows

    @property
    def rows(self) -> int:
        """How many were written, of all tables."""
        return sum(self._rows.values())

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers.values():
            writer.close()


def main(program: Callable[[Market, Tables], None]) -> None:
    """Run a peer as the command line says, `HOME OUT`, and print rows and seconds."""
    home, out = map(Path, sys.argv[1:])
    tables = Tables(out)
    begin = time.perf_counter()
    program(Market(home), tables)
    tables.close()
    print(f"{tables.rows} rows in {time.perf_counter() - begin:.1f} seconds")


def yang_zhang_k(n: int) -> float:
    """The weight of open-to-close variance that Yang and Zhang (2000) derive for n sessions."""
    return 0.34 / (1.34 + (n + 1) / (n - 1))


def scores_among_previous(values: np.ndarray, n: int, threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, median absolute deviation and percentile of the n values before each; neither library rolls the second.

    Args:
        values: float64, in order.
        n: an even number of values; the first n results are NaN, those with a NaN among the n + 1 mean nothing.
        threads: how many run side by side; sorting releases the lock of the interpreter.

    Returns:
        Three arrays as long as `values`. In the percentile equal values count half.
    """
    results = tuple(np.full(len(values), np.nan) for _ in range(3))
    block = 256  # windows that fit into the cache together

    def compute(first: int) -> None:
        rows = slice(first, min(first + block, len(values)))
        before = np.lib.stride_tricks.sliding_window_view(values, n)[rows.start - n : rows.stop - n].copy()
        now = values[rows, None]
        at_most, below = np.count_nonzero(before <= now, axis=1), np.count_nonzero(before < now, axis=1)
        before.sort(axis=1)
        half = n // 2
        median = (before[:, half - 1 : half] + before[:, half : half + 1]) / 2
        # The k values nearest to the median stand side by side: the k-th smallest distance is the smallest reach of k
        # neighbours.
        under, over = median - before, before - median
        nearest = [np.maximum(under[:, : n - k + 1], over[:, k - 1 :]).min(axis=1) for k in (half, half + 1)]
        results[0][rows] = median[:, 0]
        results[1][rows] = (nearest[0] + nearest[1]) / 2
        results[2][rows] = (below + at_most) / (2 * n)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compute, range(n, len(values), block)))
    return results
