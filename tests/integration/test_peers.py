"""The programs that benchmarks compare with compute what the marts hold: every cell, on a small SIMULATED market."""

import datetime as dt
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.evening import write_seeds
from orchestration.duckdb_io import literal
from orchestration.ingest.lake import BARS, Lake
from orchestration.ingest.reference import reference_tables, store_reference
from orchestration.market.calendar import closed_sessions_of
from orchestration.market.universe import Instrument, load_universe
from orchestration.settings import DBT_PROJECT_DIR, PROJECT_ROOT, Settings
from tests.models_sql import build_models

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = 800
TABLES = ("returns", "volatility", "trend", "sector_relative", "int_move_scores")

# A SIMULATED market. symbol, class, metal, tier, calendar, compared with metal and sector fund.
INSTRUMENTS = [
    ("FUTURE", "metal", "silver", "metal", "CMES", None, None),
    ("METAL", "etf", "silver", "metal", "XNYS", None, None),
    ("FUND", "etf", "silver", "senior", "XNYS", "METAL", None),
    ("HOLES", "stock", "silver", "senior", "XNYS", "METAL", "FUND"),
    ("FLAT", "stock", "silver", "junior", "XNYS", "METAL", "FUND"),
    ("YOUNG", "stock", "silver", "junior", "XNYS", "METAL", "FUND"),
    ("ROYAL", "stock", "silver", "royalty", "XNYS", "METAL", "FLAT"),
    ("ALONE", "stock", "silver", "senior", "XNYS", None, None),
    ("GOLD", "stock", "gold", "royalty", "XNYS", None, "FUND"),
    ("INDEX", "etf", None, "benchmark", "XNYS", None, None),
]


def bars_of(symbol: str, days: np.ndarray) -> pa.Table:
    """A walk in ticks, so that some returns are equal, with dividends, and with what its name says."""
    rng = np.random.default_rng(sum(map(ord, symbol)))
    common = np.random.default_rng(7).standard_t(4, len(days)) * 0.012
    close = np.round(
        rng.uniform(8, 40) * np.exp(np.cumsum(common * rng.uniform(0.5, 1.5) + rng.normal(0, 0.01, len(days)))), 2
    )
    at = np.arange(len(days))
    flat = (at % 97 == 50) if symbol in ("HOLES", "FUTURE") else np.zeros(len(days), bool)
    dividend = np.where(at % 63 == 30, np.round(close * 0.01, 2), 0.0) if symbol != "FUTURE" else np.zeros(len(days))
    still = {"FLAT": slice(300, 440), "FUND": slice(500, 610)}.get(symbol)
    if still:
        close[still], dividend[still], flat[still] = close[still.start], 0.0, True
    opened = np.round(np.roll(close, 1) * np.exp(rng.normal(0, 0.004, len(days))), 2)
    opened = np.where(flat, close, opened)
    opened[0] = close[0]
    high = np.where(
        flat, close, np.round(np.maximum(opened, close) * (1 + np.abs(rng.normal(0, 0.01, len(days)))), 2) + 0.01
    )
    low = np.where(
        flat, close, np.round(np.minimum(opened, close) * (1 - np.abs(rng.normal(0, 0.01, len(days)))), 2) - 0.01
    )
    close_only = (at % 89 == 40) if symbol == "HOLES" else np.zeros(len(days), bool)
    volume = np.round(rng.lognormal(6, 0.4, len(days)))
    keep = np.ones(len(days), bool)
    if symbol == "HOLES":
        keep = (rng.random(len(days)) > 0.08) & ~((at >= 290) & (at < 315)) & ~((at >= 520) & (at < 530))
    if symbol in ("FUND", "FUTURE", "ROYAL"):
        keep = rng.random(len(days)) > 0.02
    if symbol == "YOUNG":
        keep = at >= 560
    columns = {
        "symbol": [symbol] * len(days),
        "session_date": days,
        "open": np.where(close_only, np.nan, opened),
        "high": np.where(close_only, np.nan, high),
        "low": np.where(close_only, np.nan, low),
        "close": close,
        "adj_close": np.full(len(days), np.nan),
        "volume": np.where((at % 101 == 60) & (symbol == "HOLES"), np.nan, volume),
        "dividend": dividend,
        "split_ratio": np.ones(len(days)),
        "bar_quality": np.where(close_only, "close_only", np.where(flat, "flat", "ok")),
        "currency": ["USD"] * len(days),
        "source": ["sample"] * len(days),
        "observed_at": np.full(len(days), np.datetime64("2026-01-31T01:00:00", "us")),
        "batch_id": ["20260131T010000000000Z-test00"] * len(days),
    }
    arrays = [
        pa.array(columns[column.name], column.type, from_pandas=pa.types.is_floating(column.type)) for column in BARS
    ]
    return pa.table(arrays, schema=BARS).filter(pa.array(keep))


def write_market(settings: Settings) -> None:
    """Lake and control tables of the market; the last weeks of every bar lie in a file of their own."""
    instruments = tuple(
        Instrument(
            symbol=symbol,
            source_symbol=symbol,
            name=f"SIMULATED {symbol}",
            asset_class=asset_class,
            metal=metal,
            tier=tier,
            calendar=calendar,
            currency="USD",
            tick_size=0.01,
            metal_symbol=metal_symbol,
            sector_symbol=sector_symbol,
            active_from=None,
        )
        for symbol, asset_class, metal, tier, calendar, metal_symbol, sector_symbol in INSTRUMENTS
    )
    sessions = closed_sessions_of({i.calendar for i in instruments}, NOW)
    universe = replace(load_universe(DBT_PROJECT_DIR / "seeds"), instruments=instruments)
    store_reference(settings.paths.reference, reference_tables(universe, sessions, {}))
    lake = Lake(settings.paths.lake)
    lake.prepare()
    for part, instrument in enumerate(instruments):
        days = sessions.loc[sessions["calendar"] == instrument.calendar, "session_date"].to_numpy()[-SESSIONS:]
        bars = bars_of(instrument.symbol, days.astype("datetime64[D]"))
        lake.append("bars", bars.slice(0, len(bars) - 30), "20260131T010000000000Z-test00", part)
        lake.append("bars", bars.slice(len(bars) - 30), "20260131T010000000000Z-test00", 100 - part)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The market, and its tables as the dbt project makes them."""
    home = tmp_path_factory.mktemp("peers")
    settings = Settings(home=home / "home")
    write_market(settings)
    build_models(settings.paths.root, settings.paths.warehouse, *TABLES, source="sample")
    return settings


# Of what is quoted in points, and of futures whose contracts are collected: the market of the peers has neither.
OF_OTHERS = {"point_change_1d", "is_roll"}


@pytest.mark.parametrize("peer", ["polars_program", "pandas_program"])
def test_a_peer_computes_the_cells_of_the_marts(peer: str, settings: Settings, tmp_path: Path) -> None:
    program = PROJECT_ROOT / "benchmarks" / "peers" / f"{peer}.py"
    said = subprocess.run(
        [sys.executable, program, settings.home, tmp_path], check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    with duckdb.connect(str(settings.paths.warehouse), read_only=True) as connection:
        found = {
            table: [
                connection.sql(f"select * from {place} order by symbol, session_date").to_arrow_table()  # noqa: S608
                for place in (table, literal(tmp_path / f"{table}.parquet"))
            ]
            for table in TABLES
        }
    assert {table: differences(*sides) for table, sides in found.items()} == {table: {} for table in TABLES}
    rows = sum(len(ours) for ours, _ in found.values())
    assert said.stdout.startswith(f"{rows} rows in ")
    assert rows > 30_000


def differences(ours: pa.Table, theirs: pa.Table) -> dict[str, str]:
    """Columns that are not the same, with the first row in which they are not; types, NULLs and rows must be."""
    for name in set(ours.column_names) & OF_OTHERS:
        assert ours[name].null_count == len(ours)
        ours = ours.drop_columns(name)
    assert ours.schema == theirs.schema
    assert len(ours) == len(theirs)
    found = {}
    for name, a, b in zip(ours.column_names, ours.columns, theirs.columns, strict=True):
        same = np.array(a.is_null()) == np.array(b.is_null())
        if pa.types.is_floating(a.type):
            x, y = a.fill_null(0).to_numpy(), b.fill_null(0).to_numpy()
            same &= np.abs(x - y) <= np.maximum(1e-9 * np.abs(x), 1e-12)
        else:
            same &= np.array(pc.equal(a, b).fill_null(True))
        if not same.all():
            row = int(np.argmin(same))
            key = f"{ours['symbol'][row]} {ours['session_date'][row]}"
            found[name] = f"{(~same).sum()} rows, such as {key}: {a[row]} instead of {b[row]}"
    return found


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (1.0, 1 + 9e-10, True),
        (1.0, 1 + 2e-9, False),
        (1e-6, 1e-6 + 9e-13, True),
        (1e-6, 1e-6 + 2e-12, False),
        (0.0, None, False),
        (None, 0.0, False),
        (None, None, True),
        (1.0, math.nan, False),
        (1.0, math.inf, False),
        ("up", "up", True),
        ("up", "down", False),
        ("up", None, False),
        (None, "up", False),
    ],
)
def test_what_differs_is_found(ours: object, theirs: object, same: bool) -> None:
    kind = pa.string() if "up" in (ours, theirs) else pa.float64()
    sides = [
        pa.table({"symbol": ["A"], "session_date": ["2026-01-30"], "value": pa.array([value], kind)})
        for value in (ours, theirs)
    ]
    assert list(differences(*sides)) == ([] if same else ["value"])


def test_the_market_has_what_peers_could_get_wrong(settings: Settings) -> None:
    with duckdb.connect(str(settings.paths.warehouse), read_only=True) as connection:

        def count(sql: str) -> int:
            row = connection.execute(f"select count(*) from {sql}").fetchone()  # noqa: S608
            assert row is not None
            return int(row[0])

        assert count("returns where sessions_since_previous > 20") == 1
        assert count("returns where sessions_since_previous is null") == len(INSTRUMENTS)
        # no bar in the last week of 2024
        after = "symbol = 'HOLES' and session_date >= date '2025-01-01'"
        assert count(f"returns where return_ytd is null and {after}") > 200
        assert count(f"returns where return_mtd is null and {after}") > 5
        assert count("volatility where close_to_close_63 = 0") > 50
        assert count("volatility where is_volatility_spike") > 10
        assert count("sector_relative where symbol = 'HOLES' and sector_beta_63 is null and sector_beta_252 > 0") > 5
        assert count("sector_relative where futures_dimson_beta_252 is not null") > 1000
        assert count("(select session_date from sector_relative group by all having max(rank_1d) = 6)") > 100
        assert count("int_move_scores where robust_z_252 is null and percentile_252 is not null") > 10
        assert count("int_move_scores where symbol = 'FLAT' and z_21 is null and z_ewma is null") > 50
        assert count("trend where verdict = 'reversal'") > 50
        assert count("trend where verdict = 'consolidation'") > 50


def test_the_market_of_the_evenings_has_seeds_that_hold(tmp_path: Path) -> None:
    write_seeds(tmp_path, 60)
    market = load_universe(tmp_path)
    assert len(market.instruments) >= 60
    # What the programs do not know: other currencies, points, contracts.
    assert {i.currency for i in market.instruments} == {"USD"}
    assert not any(i.contract_months for i in market.instruments)
    assert len(market.move_rules) > 20
