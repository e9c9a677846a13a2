"""What minute bars cost: their size in Parquet, and the daily bars and realised volatility that DuckDB makes of them.

    python -m benchmarks.minute_bars [instruments] [months] [--rounds N]

SIMULATED minutes of regular sessions, 390 a day, a Parquet file for each month sorted by symbol and minute, as
docs/scaling.md plans them. What is measured once is what a first load costs, what one session costs reads one month.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.lake import seconds
from orchestration.ingest.parquet import write_parquet

MINUTES, SESSIONS = 390, 21
FIRST_MONTH = np.datetime64("2016-01")

DAILY = """
    select
        symbol,
        cast(minute as date) as session_date,
        first(open order by minute) as open,
        max(high) as high,
        min(low) as low,
        last(close order by minute) as close,
        sum(volume) as volume,
        sqrt(sum(power(log_return, 2))) as realised_volatility
    from (
        select *, ln(close / lag(close) over (partition by symbol, cast(minute as date) order by minute)) as log_return
        from read_parquet('{files}')
        where {wanted}
    )
    group by all
"""


def month_of_minutes(number: int, instruments: int) -> pa.Table:
    """One month: prices in cents that take a step or none each minute, volumes in lots of a hundred."""
    rng = np.random.default_rng(number)
    shape = (instruments, SESSIONS * MINUTES)
    close = 50 + np.cumsum(rng.choice([-0.01, 0.0, 0.0, 0.01], shape), axis=1)
    spread = rng.choice([0.0, 0.01, 0.02], (2, *shape))
    days = (FIRST_MONTH + number).astype("datetime64[D]") + np.arange(SESSIONS)
    minutes = days.astype("datetime64[m]")[:, None] + np.arange(870, 870 + MINUTES)
    return pa.table(
        {
            "symbol": np.repeat([f"SIM{n:05d}" for n in range(instruments)], shape[1]),
            "minute": pa.array(np.tile(minutes.ravel().astype("datetime64[us]"), instruments)),
            "open": np.roll(close, 1, axis=1).round(2).ravel(),
            "high": (close + spread[0] + 0.01).round(2).ravel(),
            "low": (close - spread[1] - 0.01).round(2).ravel(),
            "close": close.round(2).ravel(),
            "volume": (rng.geometric(0.2, shape) * 100).astype("float64").ravel(),
        }
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instruments", type=int, nargs="?", default=200)
    parser.add_argument("months", type=int, nargs="?", default=12)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        connection.execute("set memory_limit = '6GB'")
        wrote = 0.0
        for number in range(asked.months):
            table = month_of_minutes(number, asked.instruments)
            path = Path(folder) / f"{FIRST_MONTH + number}.parquet"
            wrote += seconds(lambda path=path, table=table: write_parquet(path, table))
        last_day = (FIRST_MONTH + asked.months - 1).astype("datetime64[D]") + SESSIONS - 1
        millions = asked.instruments * asked.months * SESSIONS * MINUTES / 1e6
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
        whole = DAILY.format(files=f"{folder}/*.parquet", wanted="true")
        session = DAILY.format(files=path, wanted=f"minute >= '{last_day}'")
        assert connection.sql(session).count("*").fetchall() == [(asked.instruments,)]
        of_all, of_one = (
            statistics.median(
                seconds(lambda query=query: connection.sql(query).fetchall()) for _ in range(asked.rounds)
            )
            for query in (whole, session)
        )
    print(f"\n{millions:.1f} million SIMULATED minutes, {asked.instruments} instruments, {asked.months} months\n")
    print("| | measured | for a million |\n|---|---|---|")
    print(f"| size in Parquet | {size:.0f} MB | {size / millions:.1f} MB |")
    print(f"| writing a month at a time | {wrote:.1f} s | {wrote / millions:.2f} s |")
    print(f"| daily bars and realised volatility of all | {of_all:.1f} s | {of_all / millions:.2f} s |")
    share = millions / (asked.months * SESSIONS)
    print(f"| the same of the last session | {of_one:.2f} s | {of_one / share:.2f} s |")


if __name__ == "__main__":
    main()
