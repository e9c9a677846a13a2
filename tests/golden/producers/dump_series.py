"""Write the series of the golden market as CSV files for the R producer: SPX, NDQ, and SPX with dividends and splits.

python -m tests.golden.producers.dump_series FOLDER
"""

import sys
from pathlib import Path

from tests.golden import market


def main(folder: Path) -> None:
    """SPX.csv, NDQ.csv and ACTIONS.csv in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (("SPX", market.sp500()), ("NDQ", market.nasdaq()), ("ACTIONS", market.actions())):
        frame.to_csv(folder / f"{name}.csv", float_format="%.17g")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
