"""Golden answers of Python's peers on the same series: empyrical, ffn, arch, statsmodels, pandas.

    pip install arch empyrical-reloaded ffn statsmodels
    python tests/golden/producers/python_peers.py tests/golden

Each column names its producer and call in `python_versions.txt`.
"""

import gzip
import sys
from importlib.metadata import version
from pathlib import Path

import arch.data.nasdaq
import arch.data.sp500
import empyrical
import ffn
import numpy as np
import pandas as pd
from arch.univariate import EWMAVariance
from statsmodels.regression.linear_model import OLS
from statsmodels.regression.rolling import RollingOLS
from statsmodels.tools import add_constant

CALLS = {
    "drawdown": "ffn.core.to_drawdown_series(closes)",
    "ewma_094": "arch EWMAVariance(0.94).compute_variance, backcast = mean of the first 21 squares, from the 22nd on",
    "beta_up_252, beta_down_252": "empyrical.beta on the sessions of the window with benchmark return > 0 / < 0",
    "tracking_error_252": "numpy std(r - b, ddof=1) * sqrt(252), PerformanceAnalytics' TrackingError",
    "information_ratio_252": "(empyrical.annual_return(r) - empyrical.annual_return(b)) / tracking error,"
    " PerformanceAnalytics' InformationRatio",
    "relative_strength_252": "pandas: growth of r over growth of b since 252 sessions ago, PerformanceAnalytics'"
    " Return.relative rebased at the start of the window",
    "beta_252_without_largest": "statsmodels OLS on the window without the session of the largest |b|",
    "futures_beta_252, futures_dimson_beta_252": "statsmodels RollingOLS(window=252) of r(t) on b(t), and the sum of"
    " its slopes of r(t-1) on b(t-2), b(t-1), b(t)",
    "return_1w ... return_1y, mtd, ytd": "pandas: closes.asof(date - DateOffset), calendar periods",
}


def closes_of(module: object) -> pd.Series:
    """Closes by date."""
    return module.load()["Close"].astype(float)  # type: ignore[attr-defined]


def horizons(closes: pd.Series) -> pd.DataFrame:
    """Calendar returns through pandas date offsets."""
    table = pd.DataFrame(index=closes.index)
    for name, offset in {
        "1w": pd.DateOffset(days=7),
        "1m": pd.DateOffset(months=1),
        "3m": pd.DateOffset(months=3),
        "6m": pd.DateOffset(months=6),
        "1y": pd.DateOffset(months=12),
    }.items():
        table[f"return_{name}"] = closes / closes.asof(closes.index - offset).to_numpy() - 1
    for name, frequency in (("mtd", "M"), ("ytd", "Y")):
        period = closes.index.to_period(frequency)
        last = closes.groupby(period).last()
        table[f"return_{name}"] = closes / last.reindex(period - 1).to_numpy() - 1
    return table


def relative(r: pd.Series, b: pd.Series, n: int = 252) -> pd.DataFrame:
    """Rolling peers of the relative measures."""
    rows = {}
    for i in range(n - 1, len(r)):
        rw, bw = r.iloc[i - n + 1 : i + 1], b.iloc[i - n + 1 : i + 1]
        up, down = bw > 0, bw < 0
        error = np.std(rw.to_numpy() - bw.to_numpy(), ddof=1) * np.sqrt(252)
        premium = empyrical.annual_return(rw, annualization=252) - empyrical.annual_return(bw, annualization=252)
        largest = bw.abs().idxmax()
        rest = OLS(rw.drop(largest), add_constant(bw.drop(largest))).fit()
        rows[r.index[i]] = {
            "beta_252_without_largest": rest.params.iloc[1],
            "beta_up_252": empyrical.beta(rw[up], bw[up]),
            "beta_down_252": empyrical.beta(rw[down], bw[down]),
            "tracking_error_252": error,
            "information_ratio_252": premium / error,
        }
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(r.index)
    growth = (1 + r).cumprod() / (1 + b).cumprod()
    table["relative_strength_252"] = growth / growth.shift(n)
    table["futures_beta_252"] = RollingOLS(r, add_constant(b), window=n).fit().params.iloc[:, 1]
    lags = pd.DataFrame({"before": b.shift(2), "same": b.shift(1), "next": b}).iloc[2:]
    fit = RollingOLS(r.shift(1).iloc[2:], add_constant(lags), window=n).fit()
    table["futures_dimson_beta_252"] = fit.params[["before", "same", "next"]].sum(axis=1, skipna=False)
    return table


def ewma(closes: pd.Series) -> pd.Series:
    """RiskMetrics volatility, seeded with the first 21 squared returns and started after them."""
    x = np.log(closes).diff().dropna()
    seed = float((x.iloc[:21] ** 2).mean())
    later = x.iloc[21:].to_numpy()
    variance = np.empty_like(later)
    EWMAVariance(0.94).compute_variance(np.empty(0), later, variance, seed, np.tile([0.0, np.inf], (len(later), 1)))
    return pd.Series(np.sqrt(252 * variance), index=x.index[21:]).reindex(closes.index)


def main(folder: Path) -> None:
    """Write python_peers_sp500.csv.gz, python_peers_nasdaq_on_sp500.csv.gz and python_versions.txt."""
    sp500, nasdaq = closes_of(arch.data.sp500), closes_of(arch.data.nasdaq)
    table = horizons(sp500)
    table["drawdown"] = ffn.core.to_drawdown_series(sp500)
    table["ewma_094"] = ewma(sp500)
    r, b = nasdaq.pct_change().dropna(), sp500.pct_change().dropna()
    for name, frame in (("python_peers_sp500", table), ("python_peers_nasdaq_on_sp500", relative(r, b))):
        with gzip.GzipFile(folder / f"{name}.csv.gz", "wb", mtime=0) as target:
            target.write(frame.rename_axis("date").to_csv(float_format="%.17g").encode())
    packages = ("arch", "empyrical-reloaded", "ffn", "statsmodels", "pandas", "numpy")
    lines = [f"{name} {version(name)}" for name in packages] + [f"{k}: {v}" for k, v in CALLS.items()]
    (folder / "python_versions.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
