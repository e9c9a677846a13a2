"""Why a value changed: corrections among thousands of re-based rows, and no reason that a later delivery alters."""

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest

from orchestration.duckdb_io import rows as query
from orchestration.ingest.lake import Lake
from orchestration.ingest.reference import reference_tables, store_reference
from orchestration.ingest.run import ingest
from orchestration.market.calendar import closed_sessions_of
from orchestration.market.universe import load_universe
from orchestration.sources.files import FilesSource
from tests.histories import EVERYTHING, NOW, SESSIONS, History, Vendor
from tests.jobs import small_seeds
from tests.models_sql import build_models

pytestmark = pytest.mark.integration

RULES = "vendor,all,,price_correction,1,0.005,\n"


def revisions(root: Path) -> list[dict]:
    """The rows of price_revisions."""
    warehouse = root / "warehouse.duckdb"
    warehouse.unlink(missing_ok=True)
    build_models(root, warehouse, "price_revisions")
    return query(warehouse, "select * from price_revisions order by symbol, changed_at, session_date, field")


class Told:
    """A lake that one vendor tells its prices to."""

    def __init__(self, folder: Path, sessions: int = len(SESSIONS)) -> None:
        self.root, self.drop = folder, folder / "drop"
        self.universe = load_universe(small_seeds(folder / "seeds", "AAA", rules=RULES))
        self.drop.mkdir()
        self.lake = Lake(folder / "lake")
        self.lake.prepare()
        closed = closed_sessions_of(["XNYS"], NOW)
        store_reference(folder / "control", reference_tables(self.universe, closed, {}))
        self.sessions = SESSIONS[-sessions:]
        self.vendor = Vendor(
            {
                day: {"open": 80.0, "high": 84.0, "low": 76.0, "close": 80.0 + i % 3, "volume": 1000.0}
                for i, day in enumerate(self.sessions)
            }
        )

    def deliver(self, through: dt.date = SESSIONS[-1], **columns: float) -> None:
        """The file as it is; columns times a factor."""
        table = self.vendor.table(through)
        for name, factor in columns.items():
            table[name] = (table[name] * factor).round(2)
        table.to_csv(self.drop / "AAA.csv", index=False)
        ingest(self.universe, FilesSource(self.drop), "files", self.lake, NOW, EVERYTHING)

    def counts(self) -> Counter[tuple[str, str]]:
        """Rows by field and reason."""
        return Counter((row["field"], row["reason"]) for row in self.rows())

    def rows(self) -> list[dict]:
        return revisions(self.root)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


PRICES = ("open", "high", "low", "close", "adj_close", "volume")


@pytest.mark.parametrize("sessions", [90, 3])
def test_a_split_is_no_correction(sessions: int, tmp_path: Path) -> None:
    told = Told(tmp_path, sessions)
    before = told.sessions[-2]
    told.deliver(before)
    told.vendor.splits[SESSIONS[-1]] = 2.0
    told.deliver()
    assert told.counts() == {(name, "rebased"): sessions - 1 for name in PRICES}
    assert not any(row["is_large"] for row in told.rows())


@pytest.mark.parametrize("sessions", [90, 3])
def test_a_dividend_named_late_is_an_action_and_moves_adjusted_closes_only(sessions: int, tmp_path: Path) -> None:
    told = Told(tmp_path, sessions)
    told.deliver()
    told.vendor.dividends[SESSIONS[-1]] = 0.2
    told.deliver()
    assert told.counts() == {("adj_close", "rebased"): sessions - 1, ("dividend", "action"): 1}
    (action,) = [row for row in told.rows() if row["field"] == "dividend"]
    assert action["corrected_by"] == pytest.approx(0.2 / told.vendor.traded[SESSIONS[-1]]["close"])
    assert not action["is_large"]  # a quarter of a percent of the close


def test_a_correction_beside_a_split_is_found_among_thousands(told: Told) -> None:
    told.deliver(SESSIONS[-2])
    told.vendor.splits[SESSIONS[-1]] = 2.0
    told.vendor.traded[SESSIONS[40]]["low"] = 76.0 * 1.02
    told.vendor.traded[SESSIONS[50]]["close"] = 81.0 * 1.03
    told.deliver()
    found = [row for row in told.rows() if row["reason"] == "correction"]
    assert [(row["session_date"], row["field"]) for row in found] == [
        (SESSIONS[40], "low"),
        (SESSIONS[50], "adj_close"),
        (SESSIONS[50], "close"),
    ]
    assert found[0]["corrected_by"] == pytest.approx(0.02)
    assert found[0]["relative_change"] == pytest.approx(1.02 / 2 - 1)
    assert found[0]["basis_factor"] == 0.5
    assert [row["is_large"] for row in found] == [True, False, True]


def test_a_vendor_that_takes_dividends_off_all_its_prices_corrects_none(told: Told) -> None:
    """As SIL's 94.30 became 94.17: no action says so, and prices are rounded to the cent again."""
    told.deliver()
    told.deliver(**dict.fromkeys(("Open", "High", "Low", "Close", "Adj Close"), 94.17 / 94.3))
    assert set(told.counts()) == {(name, "rebased") for name in PRICES if name != "volume"}


def test_a_wrong_unit_for_a_week_is_corrected_not_rebased(told: Told) -> None:
    week = SESSIONS[40:46]
    for day in week:
        told.vendor.traded[day] = {name: value * 100 for name, value in told.vendor.traded[day].items()}
    told.deliver()
    for day in week:
        told.vendor.traded[day] = {name: value / 100 for name, value in told.vendor.traded[day].items()}
    told.deliver()
    assert {reason for _, reason in told.counts()} == {"correction"}
    assert all(row["is_large"] for row in told.rows() if row["field"] == "close")


def test_what_was_unknown_is_filled_and_what_became_unknown_withdrawn(told: Told) -> None:
    day = SESSIONS[30]
    high = told.vendor.traded[day]["high"]
    told.deliver()
    told.vendor.traded[day]["high"] = 10.0  # below the close: the range is not believed
    told.deliver()
    told.vendor.traded[day]["high"] = high
    told.deliver()
    assert told.counts() == {
        (name, reason): 1 for name in ("open", "high", "low") for reason in ("withdrawn", "filled")
    }


# Histories in which something that is still watched was revised.
REVISED = (0, 2)


@pytest.mark.parametrize("seed", [*REVISED, *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(3, 18))])
def test_a_reason_never_changes(seed: int, tmp_path: Path) -> None:
    history = History(2000 + seed, tmp_path, forgetful=bool(seed % 2))
    known: dict[tuple, dict] = {}
    for _ in history.steps(5):
        history.ingest(tmp_path)
        rows = {
            (row["symbol"], row["session_date"], row["field"], row["changed_at"]): row for row in revisions(tmp_path)
        }
        # Of a symbol that is not watched any more nothing is shown.
        watched = {key: row for key, row in known.items() if key[0] in history.watched}
        assert {key: rows.get(key) for key in watched} == watched
        known = rows
    assert known or seed not in REVISED
