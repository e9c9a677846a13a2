"""A build may be incremental only if nothing but bars, instruments and sessions has been added."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.ingest.lake import BARS, Lake
from orchestration.ingest.reference import SCHEMAS, store_reference
from orchestration.transform.build_inputs import build_inputs, full_refresh_reason

# UTC, as the lake has it.
NOON = dt.datetime(2026, 1, 8, 12, tzinfo=dt.UTC).replace(tzinfo=None)


class Home:
    """Control tables, a dbt project and what the last build was made with."""

    def __init__(self, folder: Path) -> None:
        self.control, self.project = folder / "control", folder / "project"
        self.rows = {
            "instruments": [self.instrument("AAA"), self.instrument("BBB")],
            "price_levels": [{"level_id": "aaa_100", "symbol": "AAA", "lower": 100.0, "upper": 100.0}],
            "move_rules": [{"rule_id": "large", "scope": "all", "measure": "return_1d", "sessions": 1}],
            "pairs": [],
            "published_claims": [],
            "sessions": [self.session(day) for day in (5, 6, 7)],
            "held": [],
            "dollar_prices": [],
        }
        for name, text in (
            ("dbt_project.yml", "name: x"),
            ("models/a.sql", "select 1"),
            ("macros/m.sql", "{# #}"),
            ("models/a.yml", "models: []"),
        ):
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            (self.project / name).write_text(text)
        self.lake = Lake(folder / "lake")
        self.lake.prepare()
        self.observe(1, 2, 2)
        self.store()
        self.built()

    def observe(self, *hours: int, batch: str = "first") -> None:
        """Versions of bars arrive, one for each hour of the day."""
        rows = [
            {"symbol": "AAA", "session_date": dt.date(2026, 1, 5 + n), "observed_at": NOON + dt.timedelta(hours=hour)}
            for n, hour in enumerate(hours)
        ]
        self.lake.append("bars", pa.Table.from_pylist(rows, schema=BARS), batch, 0)

    @staticmethod
    def instrument(symbol: str, tick_size: float = 0.01) -> dict[str, object]:
        known = {"symbol": symbol, "asset_class": "stock", "calendar": "XNYS", "tick_size": tick_size}
        return {**known, "base_currency": "USD"}

    @staticmethod
    def session(day: int, calendar: str = "XNYS", bar_expected: bool = True) -> dict[str, object]:
        return {"calendar": calendar, "session_date": dt.date(2026, 1, day), "bar_expected": bar_expected}

    def store(self) -> None:
        tables = {name: pa.Table.from_pylist(rows, schema=SCHEMAS[name]) for name, rows in self.rows.items()}
        store_reference(self.control, tables)

    def built(self) -> None:
        self.before = build_inputs(self.lake, self.control, self.project)

    def why_full_refresh(self) -> str:
        self.store()
        now = build_inputs(self.lake, self.control, self.project)
        return full_refresh_reason(self.before, now, self.lake, self.control)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_nothing_has_changed(home: Home) -> None:
    assert home.why_full_refresh() == ""


def test_instruments_sessions_pairs_and_claims_may_be_added(home: Home) -> None:
    home.rows["instruments"].insert(0, home.instrument("CCC"))
    home.rows["sessions"] += [home.session(8), home.session(8, "XTSE")]
    home.rows["pairs"].append({"pair_id": "a_b", "long_symbol": "AAA", "short_symbol": "BBB"})
    home.rows["published_claims"].append({"claim_id": "said", "symbol": "AAA", "measure": "close"})
    assert home.why_full_refresh() == ""
    home.built()
    home.rows["sessions"].append(home.session(9))
    assert home.why_full_refresh() == ""


def test_no_build_has_ended(home: Home) -> None:
    home.before = None
    assert home.why_full_refresh() == "no finished build is on record"


def test_another_engine(home: Home) -> None:
    home.before = home.before.model_copy(update={"engine": "duckdb 1.0.0"})
    assert home.why_full_refresh() == "the last build was one of duckdb 1.0.0"


@pytest.mark.parametrize("name", ["dbt_project.yml", "models/a.sql", "macros/m.sql", "models/b.sql"])
def test_other_models(home: Home, name: str) -> None:
    (home.project / name).write_text("something else")
    assert home.why_full_refresh() == "the models have changed"


def test_a_description_is_no_model(home: Home) -> None:
    (home.project / "models" / "a.yml").write_text("models: [{name: a, description: better}]")
    assert home.why_full_refresh() == ""


def test_another_level(home: Home) -> None:
    home.rows["price_levels"][0]["upper"] = 101.0
    assert home.why_full_refresh() == "price_levels.csv has changed"


def test_another_rule(home: Home) -> None:
    home.rows["move_rules"] = []
    assert home.why_full_refresh() == "move_rules.csv has changed"


def test_other_exchange_rates(home: Home) -> None:
    home.rows["dollar_prices"] = [{"currency": "CAD", "symbol": "CAD=X", "is_inverse": True}]
    assert home.why_full_refresh() == "other exchange rates are used than before"


def test_another_currency(home: Home) -> None:
    for row in home.rows["instruments"]:
        row["base_currency"] = "EUR"
    assert home.why_full_refresh() == "instruments are compared in EUR now"


def test_other_bars_that_are_held_back(home: Home) -> None:
    home.rows["held"] = [{"symbol": "AAA", "observed_until": NOON, "reason": "ohlc_is_possible (1)"}]
    assert home.why_full_refresh() == "other bars are held back than before"


def test_an_instrument_that_is_another_or_gone(home: Home) -> None:
    home.rows["instruments"][1] = home.instrument("BBB", tick_size=0.005)
    assert home.why_full_refresh() == "BBB is watched otherwise than before, or no more"
    del home.rows["instruments"][1]
    assert home.why_full_refresh() == "BBB is watched otherwise than before, or no more"


@pytest.mark.parametrize(
    "sessions",
    [
        [Home.session(4), Home.session(5), Home.session(6), Home.session(7)],
        [Home.session(5), Home.session(7), Home.session(8)],
        [Home.session(5), Home.session(6, bar_expected=False), Home.session(7)],
        [Home.session(5), Home.session(6)],
        [Home.session(5, "XTSE")],
    ],
    ids=["earlier", "one less", "no bar expected", "shorter", "none"],
)
def test_another_past(home: Home, sessions: list[dict[str, object]]) -> None:
    home.rows["sessions"] = sessions
    assert home.why_full_refresh() == "the calendar of past sessions has changed"


def test_later_bars_are_news(home: Home) -> None:
    home.observe(3, 4, batch="second")
    assert home.why_full_refresh() == ""


@pytest.mark.parametrize("hour", [0, 1, 2])
def test_bars_that_were_not_there_then(home: Home, hour: int) -> None:
    home.observe(hour, batch="copied in by hand")
    assert home.why_full_refresh() == "the lake holds other bars of the time before the last build"


def test_bars_that_are_there_no_more(home: Home) -> None:
    for path in home.lake.paths("bars"):
        if path.name.startswith("first"):
            path.unlink()
    assert home.why_full_refresh() == "the lake holds other bars of the time before the last build"


def test_the_first_bars_of_all(home: Home) -> None:
    for path in home.lake.paths("bars"):
        if path.name.startswith("first"):
            path.unlink()
    home.built()
    assert home.why_full_refresh() == ""
    home.observe(1, batch="later")
    assert home.why_full_refresh() != ""
