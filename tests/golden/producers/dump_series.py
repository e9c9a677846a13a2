"""Write the S&P 500 and Nasdaq series of the Python package `arch` as CSV files for the R producer."""

import sys
from pathlib import Path

import arch.data.nasdaq
import arch.data.sp500


def main(folder: Path) -> None:
    """SPX.csv and NDQ.csv in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in (("SPX", arch.data.sp500), ("NDQ", arch.data.nasdaq)):
        module.load().rename_axis("Date").to_csv(folder / f"{name}.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
