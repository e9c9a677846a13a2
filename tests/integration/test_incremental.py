"""After every kind of news, an incremental build holds what a whole one does, in every table, cell by cell.

And a publication holds what was built, though its parts are linked as far as the build says that nothing has changed.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.increments import incremental_build
from benchmarks.simulated_market import NOW, write_market
from orchestration.cli.compare import compare
from orchestration.cli.rebuild_report import differences
from orchestration.duckdb_io import identifier, reading, rows
from orchestration.ingest.lake import BARS, Lake
from orchestration.ingest.reference import SCHEMAS
from orchestration.publish.content_hash import table_hash
from orchestration.publish.manifest import version_file, version_folder
from orchestration.publish.marts import mart_grains, marts
from orchestration.publish.partitions import file_of
from orchestration.publish.versions import publish
from orchestration.settings import Settings
from tests.forked_dbt import ForkedDbt
from tests.models_sql import build_models

pytestmark = pytest.mark.integration

INSTRUMENTS, YEARS = 64, 3
# A table with more rows is published in parts.
LARGE_ROWS = 1000
# What an incremental build notes of its own way.
OWN_NOTES = ("build_number", "is_revision", "is_split_changed")
PRICES = ["open", "high", "low", "close", "adj_close", "dividend"]
PER_BAR = (
    "stg_delivered_bars",
    "int_unit_errors",
    "int_bar_anomalies",
    "int_bars",
    "int_missing_sessions",
    "int_ewma",
    "int_traded_bars",
    "int_extremes",
    "int_round_numbers",
    "int_move_scores",
    "int_move_history",
    "int_return_ranks",
    "int_member_days",
)
GRAINS = {
    **dict.fromkeys(PER_BAR, ("symbol", "session_date")),
    "int_horizon_bases": ("symbol", "day"),
    "int_revised_bars": ("symbol", "session_date", "changed_at"),
}
Bars = pd.DataFrame


class Home:
    """A home into whose lake news arrive, built incrementally, beside what a whole build of the same lake holds.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = Settings(home=folder / "source", source="sample")
        write_market(source, INSTRUMENTS, YEARS, abroad=True)
        self.market = Lake(source.paths.lake).newest_bars().to_pandas()
        self.days = sorted(self.market["session_date"].unique())
        self.instruments = pq.read_table(source.paths.reference / "instruments.parquet").to_pandas()
        self.symbols = list(self.instruments["symbol"])
        self.settings = Settings(home=folder / "home", source="sample")
        self.settings.paths.root.mkdir(parents=True)
        source.paths.reference.rename(self.settings.paths.reference)
        self.lake = Lake(self.settings.paths.lake)
        self.lake.prepare()
        self.lake.append("fetches", Lake(source.paths.lake).read("fetches"), "first", 0)
        self.deliveries = 0
        self.dbt = ForkedDbt(self.settings, folder / "target")

    def watch(self, instruments: pd.DataFrame) -> None:
        """Replace the table of instruments."""
        table = pa.Table.from_pandas(instruments, schema=SCHEMAS["instruments"], preserve_index=False)
        pq.write_table(table, self.settings.paths.reference / "instruments.parquet")

    def of(self, *days: dt.date, without: str = "") -> Bars:
        """What the market holds of some sessions, but for one instrument."""
        bars = self.market
        return bars[bars["session_date"].isin(days) & (bars["symbol"] != without)].copy()

    def deliver(self, *bars: Bars) -> None:
        """These bars arrive, one batch."""
        self.deliveries += 1
        moment = NOW.replace(tzinfo=None) + dt.timedelta(days=self.deliveries)
        arrived = pd.concat(bars).assign(observed_at=moment, batch_id=f"{self.deliveries:04d}")
        table = pa.Table.from_pandas(arrived, schema=BARS, preserve_index=False)
        self.lake.append("bars", table, f"{self.deliveries:04d}", 0)

    def build(self) -> None:
        """Run dbt as a refresh does that need not build everything."""
        with incremental_build(self.settings.paths.build_state, self.settings.paths.warehouse):
            self.dbt.run("--quiet", "run")

    def publish(self) -> dict[str, list[int]]:
        """Publish, and hold the version against the warehouse; returns the years written anew by large table."""
        settings, known = self.settings, marts()
        manifest = publish(
            *(settings.paths.warehouse, known, settings.paths.published, "f", "sample", True),
            build_state=settings.paths.build_state,
            large_rows=LARGE_ROWS,
        )
        before, now = (version_folder(settings.paths.published, manifest.version - n) for n in (1, 0))
        with (
            reading(settings.paths.warehouse) as built,
            reading(version_file(before.parent.parent, manifest.version)) as seen,
        ):
            for name, mart in known.items():
                stored, published = (connection.table(identifier(name)) for connection in (built, seen))
                # To the last bit, times of runs included.
                assert table_hash(published) == table_hash(stored), name
                assert manifest.hashes[name] == table_hash(stored, mart.run_times), name
                assert manifest.rows[name] == stored.count("*").fetchall()[0][0]
        written = {}
        for table, parts in manifest.partitions.items():
            files = [(year, file_of(now, table, year), file_of(before, table, year)) for year in parts.years]
            written[table] = [year for year, file, old in files if not (old.exists() and file.samefile(old))]
        return written

    def changes(self) -> dict[str, tuple[dt.date, dt.date]]:
        """From which session on rows of each symbol were replaced, and bars were read."""
        found = rows(self.settings.paths.warehouse, "select symbol, changed_from, long_lookback_from from int_changes")
        return {row["symbol"]: (row["changed_from"], row["long_lookback_from"]) for row in found}

    def joins_what_is_looked_back_on(self) -> bool:
        """Whether the last build asked for the few rows that it replaced, and not by frames for all that it read."""
        (compiled,) = (self.folder / "target" / "compiled").rglob("int_move_scores.sql")
        return "as looking_back" in compiled.read_text("utf-8")

    def check(self, what: str) -> dict[str, list[int]]:
        """Build, compare every table with a whole build's, and publish; returns what `publish` does."""
        self.build()
        whole = self.folder / "whole.duckdb"
        whole.unlink(missing_ok=True)
        build_models(self.settings.paths.root, whole, source="sample")
        compared = compare(self.settings.paths.warehouse, whole, mart_grains() | GRAINS, ignored=OWN_NOTES)
        wrong = [line for table in compared for line in differences(table)]
        assert not wrong, (what, wrong)
        assert sum(table.cells for table in compared) > 1_000_000
        written = self.publish()
        assert written.keys() >= {"daily_bars", "returns", "volatility", "trend", "sector_relative", "level_events"}
        return written


ALWAYS = dt.date(1, 1, 1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    with home.dbt:
        yield home


def test_news_of_an_evening_equal_whole(home: Home) -> None:
    """What comes any evening, in one build; the long test below looks at every kind of news by itself."""
    days, symbols = home.days, home.symbols
    # Of a benchmark every other bar is missing: a year has too few pairs to look back on.
    sparse = (home.market["symbol"] == "SI=F") & home.market["session_date"].isin(days[:-20:2])
    home.market = market = home.market[~sparse]
    newcomer, corrected, gone, turning = symbols[-1], symbols[5], symbols[1], symbols[12]
    # It turns on a round number right before the rows that the next build replaces.
    of_one = market[market["symbol"] == turning].sort_values("session_date")
    last = int((of_one["session_date"] < days[-6]).sum()) - 1
    step = 10.0 ** np.floor(np.log10(of_one["close"].iloc[last - 9]))
    number = np.ceil(of_one["close"].iloc[last - 9] / step) * step
    for back, close in ((8, number - step / 10), (7, number), (6, number - step / 10)):
        market.loc[of_one.index[last - back], ["open", "high", "low", "close"]] = close
    known = market["symbol"] != newcomer
    home.watch(home.instruments[home.instruments["symbol"] != newcomer])
    home.deliver(market[(market["session_date"] < days[-6]) & known])
    build_models(home.settings.paths.root, home.settings.paths.warehouse, source="sample")
    home.publish()

    # A session that one lacks and where one is in another unit, a correction long ago, last bars that are revised.
    session = home.of(days[-6], without=newcomer)
    session = session[session["symbol"] != gone]
    in_cents = session["symbol"] == symbols[3]
    session.loc[in_cents, "close"] *= 100
    session.loc[in_cents, ["open", "high", "low"]] = None
    session.loc[in_cents, "bar_quality"] = "range_rejected"
    bar = home.of(days[250])[lambda b: b["symbol"] == corrected]
    late = home.of(days[-7], without=newcomer).iloc[9:16]
    home.deliver(session, *(bars.assign(close=bars["low"]) for bars in (bar, late)))
    home.check("a session and corrections")
    withheld = rows(home.settings.paths.warehouse, "select symbol from int_bar_anomalies where is_withheld")
    assert withheld == [{"symbol": symbols[3]}]
    assert days[240] < home.changes()[corrected][0] < days[250]
    others = home.changes().keys() - {corrected, gone, "SI=F"}
    assert all(days[-360] < home.changes()[symbol][1] for symbol in others)
    assert newcomer not in home.changes()
    from_the_first = "select symbol from int_relative_changes where long_lookback_from = '0001-01-01'"
    is_compared = (home.instruments["metal"] == "silver") & (home.instruments["asset_class"] != "metal")
    silver = set(home.instruments.loc[is_compared, "symbol"])
    assert {row["symbol"] for row in rows(home.settings.paths.warehouse, from_the_first)} == silver - {newcomer}
    # What is new is no revision: or all of it would be built again from long before.
    revised = rows(
        home.settings.paths.warehouse, "select symbol, session_date from stg_delivered_bars where is_revision"
    )
    assert {(row["symbol"], row["session_date"]) for row in revised} == {
        *zip(bar["symbol"], bar["session_date"], strict=True),
        *zip(late["symbol"], late["session_date"], strict=True),
    }


@pytest.mark.slow
def test_incremental_equals_whole(home: Home) -> None:
    market, days, symbols = home.market, home.days, home.symbols
    newcomer, corrected, split, gone = symbols[-1], symbols[5], symbols[8], symbols[1]
    known = market["symbol"] != newcomer
    home.watch(home.instruments[home.instruments["symbol"] != newcomer])
    home.deliver(market[(market["session_date"] < days[-11]) & known])
    home.build()
    assert home.changes() == {}
    home.publish()

    home.deliver(home.of(days[-11], without=newcomer))
    written = home.check("one new session")
    incremental = {name for name, mart in marts().items() if mart.changed_ranges} & written.keys()
    assert {year for name in incremental for year in written[name]} == {2026}
    assert home.joins_what_is_looked_back_on()
    assert set(home.changes()) == set(symbols) - {newcomer}
    # What is quoted abroad: what its exchange rate can change begins earlier.
    foreign = set(home.instruments.loc[~home.instruments["money"].isin(["USD", "XXX"]), "symbol"])
    assert {"FRES", "AYA", "NST", "IMP"} < foreign
    assert {since for symbol, (since, _) in home.changes().items() if symbol not in foreign} == {days[-17]}
    assert all(days[-375] < back < days[-320] for _, back in home.changes().values())

    written = home.check("nothing new")
    assert not {name: years for name, years in written.items() if years}

    bar = home.of(days[250])
    home.deliver(bar[bar["symbol"] == corrected].assign(close=lambda b: b["low"]))
    written = home.check("one corrected bar long ago")
    assert {written[name][0] for name in incremental if written[name]} == {days[250].year}
    assert set(home.changes()) == {corrected}
    assert days[240] < home.changes()[corrected][0] < days[250]

    late = home.of(days[-11], without=newcomer).iloc[:7].assign(close=lambda b: b["low"])
    home.deliver(late, home.of(*days[-10:-7], without=newcomer))
    home.check("the last bar of some instruments is revised, and new sessions")

    home.watch(home.instruments)
    home.deliver(market[(market["session_date"] < days[-7]) & ~known])
    home.check("a new instrument with its whole history")
    assert not home.joins_what_is_looked_back_on()
    assert home.changes() == {newcomer: (ALWAYS, ALWAYS)}

    in_cents = home.of(days[-7])
    of_one = in_cents["symbol"] == symbols[3]
    in_cents.loc[of_one, "close"] *= 100
    in_cents.loc[of_one, ["open", "high", "low"]] = None
    in_cents.loc[of_one, "bar_quality"] = "range_rejected"
    home.deliver(in_cents)
    home.check("a bar in another unit, which is withheld")
    withheld = rows(home.settings.paths.warehouse, "select symbol from int_bar_anomalies where is_withheld")
    assert withheld == [{"symbol": symbols[3]}]

    alone = home.of(days[-7])[lambda b: b["symbol"] == symbols[6]].assign(close=lambda b: b["close"] * 100)
    home.deliver(alone.assign(open=None, high=None, low=None, bar_quality="range_rejected"))
    home.check("a bar that turns out to be in another unit, without any other news")
    withheld = rows(home.settings.paths.warehouse, "select symbol from int_bar_anomalies where is_withheld order by 1")
    assert withheld == [{"symbol": symbol} for symbol in sorted([symbols[3], symbols[6]])]

    before = market["symbol"] == split
    market.loc[before, PRICES] /= 2
    market.loc[before & (market["session_date"] == days[-4]), "split_ratio"] = 2.0
    rebased = market[before & (market["session_date"] <= days[-4])]
    home.deliver(rebased, home.of(*days[-6:-3], without=split))
    home.check("a split, and new sessions")
    assert home.changes()[split] == (ALWAYS, ALWAYS)

    first = market[(market["symbol"] == symbols[10]) & (market["session_date"] <= days[2])]
    home.deliver(home.of(days[-3], without=gone), first.assign(close=first["low"]))
    home.check("a session that one lacks, and the first bars of another are revised")
    assert gone not in home.changes()

    filled = home.of(days[-3])[lambda b: b["symbol"] == gone]
    benchmark = home.of(*days[-400:-398])[lambda b: b["symbol"] == "SLV"]
    home.deliver(filled, benchmark.assign(close=benchmark["high"]), home.of(days[-2]))
    home.check("a hole is filled, a benchmark corrected, and a new session")

    # London is quoted in pence, and compared in dollars.
    rate, pence, contract = "GBPUSD=X", {"FRES", "HOC", "EDV"}, "SIH26.CMX"
    home.deliver(home.of(days[-1], without=rate)[lambda b: b["symbol"] != contract])
    home.check("a session without its exchange rate, and without the contract that is the front month")
    home.deliver(home.of(*days[-3:])[lambda b: b["symbol"] == rate])
    home.check("an exchange rate that comes late")
    assert set(home.changes()) == {rate, *pence}
    home.deliver(home.of(days[-1])[lambda b: b["symbol"] == contract])
    home.check("a contract that comes late")
    assert "SI=F" in home.changes()
    home.deliver(home.of(*days[300:302])[lambda b: b["symbol"] == rate].assign(close=lambda b: b["high"]))
    home.check("an exchange rate that is corrected")
    assert all(days[280] < home.changes()[symbol][0] < days[300] for symbol in pence)
    # Gold over silver is watched: silver's bar changes what a level of gold has seen.
    home.deliver(home.of(days[420])[lambda b: b["symbol"] == "SLV"].assign(close=lambda b: b["low"]))
    home.check("a corrected bar of the short instrument of a ratio")
    assert {"SLV", "GLD"} <= set(home.changes())


@pytest.mark.slow
def test_a_clock_that_was_set_back_hides_nothing(home: Home) -> None:
    symbols = home.symbols[:2]
    ours = home.market["symbol"].isin(symbols)
    home.watch(home.instruments[home.instruments["symbol"].isin(symbols)])
    last = home.market["session_date"] == home.days[-1]
    home.deliver(home.market[ours & ~last & (home.market["symbol"] == symbols[0])])
    home.build()
    # The lake stamps each symbol's versions in order, and each symbol for itself.
    home.deliveries -= 30
    home.deliver(home.market[ours & ~last & (home.market["symbol"] == symbols[1])])
    home.build()
    bars = rows(home.settings.paths.warehouse, "select symbol, count(*) as bars from int_bars group by symbol")
    delivered = home.market[ours & ~last].groupby("symbol").size()
    assert {row["symbol"]: row["bars"] for row in bars} == delivered.to_dict()
