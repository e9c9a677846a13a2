"""The lake at scale, on a SIMULATED market: ratios measured side by side in one run.

    python -m benchmarks.lake [millions of bars: 5] [instruments: 10000] [rounds: 3] [parts: files,plan,bars,year]

- writing and reading that many bars against plain PyArrow (`write_table`, `read_table`) on the same rows
- the fetch plan of that many instruments on a lake of that many bars, and its peak memory, in a process of its own
- validating and comparing deliveries
- what a refresh does with the lake (plan, stored bars, append, scan of all versions) after 252 daily batches against
  after one: 300 instruments with twenty years of history

Single times are noise on a shared machine; the ratio of neighbours is what counts. Where there is no neighbour the
processor's time is given.
"""

import datetime as dt
import functools
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.simulated_market import NOW, universe, write_market
from orchestration.ingest.batch import FLUSH_ROWS
from orchestration.ingest.compaction import compact
from orchestration.ingest.lake import FETCHES, Lake
from orchestration.ingest.run import stored_histories
from orchestration.ingest.stored_sessions import StoredBars, read_stored_sessions
from orchestration.market import bars, calendar
from orchestration.market.fetch_plan import FetchRequest, PlanRules, plan
from orchestration.market.new_versions import is_new
from orchestration.market.universe import Universe
from orchestration.market.validation import validate
from orchestration.settings import Settings

YEAR = 252
HISTORY_YEARS, INSTRUMENTS_OF_A_YEAR = 20, 300
READ = ["symbol", "session_date", "open", "high", "low", "close", "volume", "observed_at"]


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one run."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def line(name: str, ours: Iterable[float], peer: Iterable[float]) -> None:
    """Print medians and the median ratio of neighbours."""
    pairs = list(zip(ours, peer, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    print(
        f"{name:<62} {statistics.median(a for a, _ in pairs):7.2f} s {statistics.median(b for _, b in pairs):7.2f} s"
        f"  x{statistics.median(ratios):.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )


def written(folder: Path, parts: Iterable[Path]) -> tuple[float, float]:
    """Write the rows of some files below `folder`: as `mine`, as an ingestion would, and plainly as `plain`."""
    mine, plain = Lake(folder / "mine"), folder / "plain"
    mine.prepare()
    plain.mkdir(parents=True)
    ours = theirs = 0.0
    number = 0
    for path in parts:
        table = pq.read_table(path, partitioning=None)
        for begin in range(0, table.num_rows, FLUSH_ROWS):
            rows = table.slice(begin, FLUSH_ROWS)
            ours += seconds(functools.partial(mine.append, "bars", rows, "b", number))
            theirs += seconds(functools.partial(pq.write_table, rows, plain / f"{number:04d}.parquet"))
            number += 1
    return ours, theirs


def read(folder: Path) -> tuple[float, float]:
    """Read both, in turn; the best of three, because a file that has just been written may still be on its way."""
    ours = functools.partial(Lake(folder / "mine").read, "bars", READ)
    theirs = functools.partial(pq.read_table, folder / "plain", columns=READ)
    times = [(seconds(ours), seconds(theirs)) for _ in range(3)]
    return min(a for a, _ in times), min(b for _, b in times)


def write_and_read(lake: Lake, folder: Path, rounds: int) -> None:
    """The rows of `lake`, written and read by us and by plain PyArrow."""
    parts = [path for path in lake.paths("bars") if path.name != "schema.parquet"]
    writes, reads, again, merging = [], [], [], []
    for number in range(rounds):
        here = folder / f"round{number}"
        writes.append(written(here, parts))
        reads.append(read(here))
        merging.append(seconds(functools.partial(compact, Lake(here / "mine"), "bars", small_files=0)))
        again.append(read(here))
        shutil.rmtree(here)
    line(f"write in parts of {FLUSH_ROWS:,} rows, synced / plain PyArrow", *zip(*writes, strict=True))
    line("read / plain PyArrow", *zip(*reads, strict=True))
    line("read what has been compacted / plain PyArrow", *zip(*again, strict=True))
    line("compaction of all of it / writing it plainly", merging, [b for _, b in writes])


def planned(home: Path, instruments: int) -> None:
    """The plan of all instruments; run in a process of its own, for its peak memory."""
    watched = universe(instruments)
    lake = Lake(Settings(home=home).paths.lake)
    closed = {name: calendar.closed_sessions(name, NOW) for name in {i.calendar for i in watched.instruments}}
    expected = {name: pd.DatetimeIndex(f.loc[f["bar_expected"], "session_date"]) for name, f in closed.items()}
    before = peak_megabytes()
    begin = time.process_time()
    held = read_stored_sessions(lake, watched.symbols)
    reading = time.process_time() - begin
    known = stored_histories(lake, held)
    requests = plan(watched.instruments, expected, known, NOW, PlanRules(10))
    total = time.process_time() - begin
    print(
        f"{f'plan of {len(requests):,} requests, processor time':<62} {total:7.2f} s, {reading:.2f} s of it reading"
        f" sessions; peak {peak_megabytes():,.0f} MB, {before:,.0f} MB of it before",
        flush=True,
    )


def peak_megabytes() -> float:
    """Peak memory of this program, without that of the process that started it."""
    (text,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(text) / 1024


def validation(lake: Lake) -> None:
    """Whole histories and everyday deliveries of a hundred instruments: validated, compared with what is stored."""
    symbols = [i.symbol for i in universe(200).instruments[-100:]]
    closed = pd.DatetimeIndex(calendar.closed_sessions("XNYS", NOW)["session_date"])
    held = read_stored_sessions(lake, symbols)
    frames = StoredBars(lake, held, [FetchRequest(s, s, None, NOW.date(), "whole_history") for s in symbols])
    histories = {s: frames.of(s) for s in symbols}
    for what, rows in (("whole histories", None), ("the last twelve sessions", 12)):
        raw = {
            s: bars.raw_frame({c: h[c].to_numpy()[-(rows or len(h)) :] for c in ("session_date", *bars.VALUE_COLUMNS)})
            for s, h in histories.items()
            if h is not None
        }

        def judge(raw: dict[str, pd.DataFrame] = raw) -> None:
            for symbol, delivery in raw.items():
                known = histories[symbol]
                accepted = validate(delivery, closed, closed[-9:], known).accepted
                assert known is not None
                # A bar without movement is marked as flat, which the generator does not do.
                assert is_new(accepted, known).mean() < 0.1

        judge()
        begin = time.process_time()
        judge()
        taken = time.process_time() - begin
        count = sum(map(len, raw.values()))
        name = f"validate and compare {what}, processor time"
        print(f"{name:<62} {taken / len(raw) * 1e3:7.2f} ms a symbol, {count / taken:,.0f} bars/s")


def daily_batches(lake: Lake, days: int) -> Iterator[tuple[pa.Table, str]]:
    """The last sessions of a lake, a table for each."""
    table = lake.read("bars")
    sessions = np.unique(table["session_date"].to_numpy())[-days:]
    for number, session in enumerate(sessions):
        rows = table.filter(pc.equal(table["session_date"], pa.scalar(session.astype("datetime64[D]").item())))
        batch = f"{str(session).replace('-', '')}T220000000000Z-{number:06x}"
        moment = pa.scalar(dt.datetime.combine(session.astype("datetime64[D]").item(), dt.time(22)), pa.timestamp("us"))
        place = rows.schema.get_field_index("observed_at")
        rows = rows.set_column(place, "observed_at", pa.repeat(moment, rows.num_rows))
        yield rows, batch


def refreshed(lake: Lake, watched: Universe, expected: dict[str, pd.DatetimeIndex], batch: int) -> None:
    """What a refresh does with the lake, without the deliveries: plan, look at stored bars, append, scan it all."""
    held = read_stored_sessions(lake, watched.symbols)
    # The evening of the lake's own last session: the same number of sessions is asked for, whatever its age.
    last = held.sessions(watched.symbols[-1])[-1]
    today = {name: days[days <= last] for name, days in expected.items()}
    requests = plan(watched.instruments, today, stored_histories(lake, held), NOW, PlanRules(10))
    frames = StoredBars(lake, held, requests)
    newest = [frames.of(r.symbol, r.start) for r in requests]
    assert all(frame is not None for frame in newest)
    lake.append("bars", lake.newest_bars(since=last.astype("datetime64[D]").item()), f"99990101-{batch:06d}", 0)
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.read_parquet(f"{lake.root}/bars/*.parquet").create_view("bars")
        connection.execute(
            "select count(*), sum(close) from (select close, row_number() over (partition by symbol, session_date"
            " order by observed_at desc, batch_id desc) as back from bars) where back = 1"
        ).fetchall()


def a_year(folder: Path, rounds: int) -> None:
    """The same lake after one daily batch, and after 252 of them, with and without compaction."""
    whole = Lake(Settings(home=folder / "whole").paths.lake)
    settings = Settings(home=folder / "whole")
    write_market(settings, INSTRUMENTS_OF_A_YEAR, HISTORY_YEARS)
    batches = list(daily_batches(whole, YEAR))
    first_day = pc.min(batches[0][0]["session_date"])
    history = whole.read("bars")
    history = history.filter(pc.less(history["session_date"], first_day))
    log = whole.read("fetches")
    lakes = {}
    for name, days in (("one", 1), ("year", YEAR), ("never compacted", YEAR)):
        lake = lakes[name] = Lake(folder / name)
        lake.prepare()
        for number, begin in enumerate(range(0, history.num_rows, FLUSH_ROWS)):
            lake.append("bars", history.slice(begin, FLUSH_ROWS), "00000000T000000000000Z-000000", number)
        lake.append("fetches", log, "00000000T000000000000Z-000000", 0)
        for rows, batch in batches[:days]:
            lake.append("bars", rows, batch, 0)
            lake.append(
                "fetches",
                log.set_column(
                    FETCHES.get_field_index("batch_id"), "batch_id", pa.repeat(pa.scalar(batch), log.num_rows)
                ),
                batch,
                0,
            )
            if name != "never compacted":
                compact(lake, "bars")
                compact(lake, "fetches")
    watched = universe(INSTRUMENTS_OF_A_YEAR)
    closed = {name: calendar.closed_sessions(name, NOW) for name in {i.calendar for i in watched.instruments}}
    expected = {name: pd.DatetimeIndex(f.loc[f["bar_expected"], "session_date"]) for name, f in closed.items()}
    times: dict[str, list[float]] = {name: [] for name in lakes}
    work: dict[str, list[float]] = {name: [] for name in lakes}
    for number in range(-1, 2 * rounds):
        for name, lake in lakes.items():
            begin = time.process_time()
            taken = seconds(functools.partial(refreshed, lake, watched, expected, number + 1))
            if number >= 0:
                times[name].append(taken)
                work[name].append(time.process_time() - begin)
    for name in ("year", "never compacted"):
        what = f"lake of a refresh, {YEAR} batches{', never compacted' if name != 'year' else ''} / one"
        line(f"{what} ({len(lakes[name].paths('bars'))} files)", times[name], times["one"])
        line("  its processor time", work[name], work["one"])


def main(millions: float, instruments: int, rounds: int, parts: Sequence[str]) -> None:
    """Measure and print."""
    years = max(1, round(millions * 1e6 / instruments / YEAR))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(home=folder / "home")
        if {"files", "plan", "bars"} & set(parts):
            count = write_market(settings, instruments, years)
            print(f"{count:,} bars of {instruments:,} instruments, SIMULATED; {rounds} rounds", flush=True)
        lake = Lake(settings.paths.lake)
        if "files" in parts:
            write_and_read(lake, folder, rounds)
        if "plan" in parts:
            subprocess.run(
                [sys.executable, "-m", "benchmarks.lake", "plan", settings.home, str(instruments)], check=True
            )
        if "bars" in parts:
            validation(lake)
        if "year" in parts:
            shutil.rmtree(settings.home, ignore_errors=True)
            a_year(folder, rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["plan"]:
        planned(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        asked = dict(enumerate(sys.argv[1:]))
        main(
            float(asked.get(0, 5)),
            int(asked.get(1, 10_000)),
            int(asked.get(2, 3)),
            asked.get(3, "files,plan,bars,year").split(","),
        )
