"""The ingest run on a lake of its own with a source under the test's hand: versions, bases, holes and notes."""

import datetime as dt
import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from orchestration.ingest import run, stored_sessions
from orchestration.ingest.checks import delivered_as_declared
from orchestration.ingest.compaction import SMALL_FILES, compact
from orchestration.ingest.deliveries import Deliveries
from orchestration.ingest.lake import BARS, FETCHES, Lake
from orchestration.ingest.report import IngestReport
from orchestration.ingest.run import ingest
from orchestration.market.bars import empty_raw, raw_frame
from orchestration.market.calendar import sessions
from orchestration.market.errors import LakeError
from orchestration.market.fetch_plan import FetchRequest, PlanRules
from orchestration.market.universe import load_universe
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.files import FilesSource
from tests.jobs import small_seeds

pytestmark = pytest.mark.integration

DAYS = [d.date() for d in sessions("XNYS", dt.date(2026, 1, 5), dt.date(2026, 2, 27))["session_date"]]
FRIDAY = dt.datetime(2026, 2, 20, 23, 0, tzinfo=dt.UTC)
MONDAY = dt.datetime(2026, 2, 23, 23, 0, tzinfo=dt.UTC)
RULES = PlanRules(3, whole_history_days=10_000)  # the machine's clock stamps the log


@dataclass
class Vendor:
    """A remote source that has these rows: by day close, dividend, split and volume."""

    rows: dict[dt.date, dict[str, float]]
    currency: str | None = "USD"
    detail: str = ""
    status: FetchStatus = FetchStatus.OK
    asked: list[FetchRequest] = field(default_factory=list)
    local: bool = False

    def fetch(self, requests: Sequence[FetchRequest]) -> Iterator[FetchOutcome]:
        """Everything in the range."""
        for request in requests:
            self.asked.append(request)
            if self.status is not FetchStatus.OK:
                yield FetchOutcome(request, self.status, empty_raw(), detail=self.detail)
                continue
            start = request.start or dt.date.min
            rows = {day: row for day, row in sorted(self.rows.items()) if start <= day <= request.end}
            names = ("close", "adj_close", "volume", "dividend", "split_ratio")
            columns = {name: [row.get(name, float("nan")) for row in rows.values()] for name in names}
            bars = raw_frame({"session_date": pd.to_datetime(list(rows)), **columns})
            yield FetchOutcome(request, FetchStatus.OK, bars, self.currency, self.detail)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.prepare()
    return lake


@pytest.fixture
def vendor() -> Vendor:
    return Vendor({day: {"close": 100.0 + i, "volume": 50.0, "dividend": 0.0} for i, day in enumerate(DAYS)})


def refresh(vendor: Vendor, lake: Lake, tmp_path: Path, now: dt.datetime = FRIDAY) -> IngestReport:
    return ingest(load_universe(small_seeds(tmp_path / "seeds", "AAA")), vendor, "yahoo", lake, now, RULES)


def stored(lake: Lake) -> dict[dt.date, Mapping]:
    return {row["session_date"]: row for row in lake.newest_bars().to_pylist()}


def split(vendor: Vendor, day: dt.date, ratio: float) -> None:
    for each, row in vendor.rows.items():
        if each < day:
            row["close"] /= ratio
            row["volume"] *= ratio
    vendor.rows[day]["split_ratio"] = ratio


def test_a_dividend_without_a_close_reaches_the_next_bar(vendor: Vendor, lake: Lake, tmp_path: Path) -> None:
    last, before = DAYS.index(dt.date(2026, 2, 20)), dt.date(2026, 2, 19)
    vendor.rows[before] = {"dividend": 0.5}
    refresh(vendor, lake, tmp_path)
    assert before not in stored(lake)
    assert stored(lake)[DAYS[last]]["dividend"] == 0.5
    (row,) = lake.read("rejected_bars").to_pylist()
    assert (row["rule"], row["detail"]) == (
        "missing_close",
        "the row has no close; its dividend of 0.5 went to 2026-02-20",
    )
    # However often it is asked again, also when the window has left the hole behind, nothing comes of it.
    for day in range(21, 28):
        report = refresh(vendor, lake, tmp_path, dt.datetime(2026, 2, day, 23, 0, tzinfo=dt.UTC))
        assert {r.reason for r in report.results} <= {"restatement", "new_sessions"}
        assert report.new_rows <= 1
    assert stored(lake)[DAYS[last]]["dividend"] == 0.5
    # The vendor finds the close: the dividend moves to where it belongs.
    vendor.rows[before] |= {"close": 90.0, "volume": 50.0}
    whole = PlanRules(3, full=True)
    ingest(load_universe(tmp_path / "seeds"), vendor, "yahoo", lake, MONDAY, whole)
    assert (stored(lake)[before]["dividend"], stored(lake)[DAYS[last]]["dividend"]) == (0.5, 0.0)


def test_a_stored_dividend_stays_when_the_vendor_loses_the_close(vendor: Vendor, lake: Lake, tmp_path: Path) -> None:
    day = dt.date(2026, 2, 19)
    vendor.rows[day]["dividend"] = 0.5
    refresh(vendor, lake, tmp_path)
    vendor.rows[day] = {"dividend": 0.5}
    refresh(vendor, lake, tmp_path)
    assert {d: row["dividend"] for d, row in stored(lake).items() if row["dividend"]} == {day: 0.5}


def test_a_shorter_history_after_a_split_leaves_one_basis(vendor: Vendor, lake: Lake, tmp_path: Path) -> None:
    vendor.rows[DAYS[2]]["dividend"] = 0.4
    refresh(vendor, lake, tmp_path)
    before = stored(lake)
    split(vendor, dt.date(2026, 2, 23), 4)
    for day in DAYS[:5]:
        del vendor.rows[day]
    report = refresh(vendor, lake, tmp_path, MONDAY)
    (result,) = report.results
    assert (result.reason, result.rebased, result.new) == ("new_action", 5, len(before) + 1)
    after = stored(lake)
    assert {day: row["close"] * 4 for day, row in after.items() if day in before} == {
        day: row["close"] for day, row in before.items()
    }
    oldest = after[DAYS[2]]
    assert (oldest["volume"], oldest["dividend"], oldest["adj_close"]) == (200.0, 0.1, None)
    assert (oldest["batch_id"], oldest["bar_quality"]) == (report.batch_id, "close_only")
    assert oldest["observed_at"] > before[DAYS[2]]["observed_at"]

    ingest(load_universe(tmp_path / "seeds"), vendor, "yahoo", lake, MONDAY, PlanRules(3, full=True))
    assert stored(lake) == after  # the split is known now


def test_a_version_is_newer_than_the_one_before_whatever_the_clock_says(
    vendor: Vendor, lake: Lake, tmp_path: Path
) -> None:
    refresh(vendor, lake, tmp_path)
    ahead = dt.datetime(2100, 1, 1)  # noqa: DTZ001
    rows = [row | {"observed_at": ahead, "batch_id": "z"} for row in lake.newest_bars().to_pylist()]
    lake.append("bars", pa.Table.from_pylist(rows, schema=BARS), "z", 0)
    day = dt.date(2026, 2, 19)
    vendor.rows[day]["close"] = 77.0
    refresh(vendor, lake, tmp_path)
    assert (stored(lake)[day]["close"], stored(lake)[day]["observed_at"]) == (77.0, ahead.replace(microsecond=1))


def test_a_clock_that_was_ahead_hides_neither_an_answer_nor_a_correction(
    vendor: Vendor, lake: Lake, tmp_path: Path
) -> None:
    """A year ahead once: the log then says that the whole history has been read, and that it failed, in the future."""
    refresh(vendor, lake, tmp_path)
    ahead = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(365)
    log = lake.read("fetches").to_pylist()
    for number, status in enumerate(("ok", "timeout")):
        moment = ahead + dt.timedelta(seconds=number)
        rows = [row | {"observed_at": moment, "status": status, "whole_history": True} for row in log]
        lake.append("fetches", pa.Table.from_pylist(rows, schema=FETCHES), f"z{number}", 0)
    assert lake.latest_statuses() == {"AAA": "timeout"}
    vendor.rows[DAYS[0]]["close"] = 77.0
    report = refresh(vendor, lake, tmp_path)
    assert [r.reason for r in report.results] == ["whole_history"]
    assert stored(lake)[DAYS[0]]["close"] == 77.0
    assert lake.latest_statuses() == {"AAA": "ok"}


def test_a_hole_of_the_vendor_drags_no_request_back(vendor: Vendor, lake: Lake, tmp_path: Path) -> None:
    hole = DAYS[10]
    lost = vendor.rows.pop(hole)
    refresh(vendor, lake, tmp_path)
    vendor.asked.clear()
    refresh(vendor, lake, tmp_path, MONDAY)
    assert [(r.reason, r.start) for r in vendor.asked] == [("new_sessions", dt.date(2026, 2, 18))]
    vendor.rows[hole] = lost
    refresh(vendor, lake, tmp_path, MONDAY)
    assert hole not in stored(lake)
    # A week after the machine's clock, which stamps the log.
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=7)
    ingest(load_universe(tmp_path / "seeds"), vendor, "yahoo", lake, later, PlanRules(3))
    assert hole in stored(lake)


def test_a_gap_that_nobody_was_asked_about_is_filled_at_once(vendor: Vendor, lake: Lake, tmp_path: Path) -> None:
    early = dt.datetime(2026, 1, 9, 23, 0, tzinfo=dt.UTC)
    refresh(vendor, lake, tmp_path, early)
    vendor.status = FetchStatus.TIMEOUT
    refresh(vendor, lake, tmp_path)
    vendor.status = FetchStatus.OK
    only = PlanRules(3, start=dt.date(2026, 2, 19))
    ingest(load_universe(tmp_path / "seeds"), vendor, "yahoo", lake, FRIDAY, only)
    vendor.asked.clear()
    refresh(vendor, lake, tmp_path)
    assert [(r.reason, r.start) for r in vendor.asked] == [("gap", dt.date(2026, 1, 9))]
    assert set(stored(lake)) == {day for day in DAYS if day <= FRIDAY.date()}


@pytest.mark.parametrize(
    ("detail", "simulated", "passed", "words"),
    [
        ("", False, True, "0 symbols with a note"),
        ("why", False, False, "1 symbols with a note"),
        ("SIMULATED prices", True, True, "0 symbols with a note"),
    ],
)
def test_notes_are_told(
    detail: str, simulated: bool, passed: bool, words: str, vendor: Vendor, lake: Lake, tmp_path: Path
) -> None:
    vendor.detail = detail
    report = refresh(vendor, lake, tmp_path)
    assert [r.note for r in report.results] == [detail]
    check = delivered_as_declared(report, simulated)
    assert (check.passed, check.description) == (passed, words)
    if not passed:
        (row,) = check.metadata["symbols"].records  # type: ignore[union-attr]
        assert row.data == {"symbol": "AAA", "note": detail}


@pytest.mark.parametrize("currency", ["CAD", "GBp"])
def test_prices_in_another_currency_are_not_taken(currency: str, vendor: Vendor, lake: Lake, tmp_path: Path) -> None:
    refresh(vendor, lake, tmp_path, dt.datetime(2026, 2, 18, 23, tzinfo=dt.UTC))
    before = stored(lake)
    vendor.currency = currency
    (failure,) = refresh(vendor, lake, tmp_path).failures
    assert failure.status == "inconsistent"
    assert f"prices are in {currency}, and instruments.csv says USD: correct the row" in failure.detail
    assert stored(lake) == before
    vendor.currency = None  # a source that names none is believed
    assert not refresh(vendor, lake, tmp_path).failures
    assert stored(lake) != before


def test_the_cause_of_a_failure_is_no_note(vendor: Vendor, lake: Lake, tmp_path: Path) -> None:
    vendor.status, vendor.detail = FetchStatus.TIMEOUT, "no answer"
    report = refresh(vendor, lake, tmp_path)
    assert [r.note for r in report.failures] == [""]
    assert delivered_as_declared(report, False).passed


def test_weeks_of_daily_refreshes_leave_few_files_and_every_version(vendor: Vendor, lake: Lake, tmp_path: Path) -> None:
    for day in DAYS:
        # Every evening the close of the session before turns out to have been a little different.
        vendor.rows[day]["close"] += 0.25
        refresh(vendor, lake, tmp_path, dt.datetime.combine(day, dt.time(23), dt.UTC))
        vendor.rows[day]["close"] -= 0.25
    assert len(DAYS) > SMALL_FILES
    for dataset in ("bars", "fetches"):
        assert len(lake.paths(dataset)) < len(DAYS)
    assert {day: row["close"] for day, row in stored(lake).items()} == {
        day: row["close"] + 0.25 * (day == DAYS[-1]) for day, row in vendor.rows.items()
    }
    assert lake.read("bars").num_rows == 2 * len(DAYS) - 1
    assert lake.read("fetches").num_rows == len(DAYS)


def test_a_refresh_that_stores_nothing_leaves_the_files_of_bars_alone(
    vendor: Vendor, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh(vendor, lake, tmp_path)
    refresh(vendor, lake, tmp_path, MONDAY)
    monkeypatch.setattr(run, "compact", functools.partial(compact, small_files=0))
    before = [f for f in lake.files() if not f[0].startswith("fetches/")]
    assert refresh(vendor, lake, tmp_path, MONDAY).new_rows == 0
    assert [f for f in lake.files() if not f[0].startswith("fetches/")] == before
    assert len(lake.paths("fetches")) == 2
    vendor.rows[DAYS[-6]]["close"] += 1
    assert refresh(vendor, lake, tmp_path, MONDAY).new_rows == 1
    assert len(lake.paths("bars")) == 2


def test_compaction_that_fails_is_a_warning(
    vendor: Vendor, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise LakeError("bars: small files cannot be merged (No space left on device); they stay as they are")

    monkeypatch.setattr(run, "compact", full)
    report = refresh(vendor, lake, tmp_path)
    assert report.new_rows == len(stored(lake)) > 0
    assert (
        report.warnings == ("bars: small files cannot be merged (No space left on device); they stay as they are",) * 3
    )


def test_a_vendor_that_delivers_more_than_was_asked_for_stores_nothing_twice(
    vendor: Vendor, lake: Lake, tmp_path: Path
) -> None:
    refresh(vendor, lake, tmp_path)
    before = lake.read("bars").num_rows
    asked = vendor.fetch

    def everything(requests: Sequence[FetchRequest]) -> Iterator[FetchOutcome]:
        for request in requests:
            (outcome,) = asked([replace(request, start=None)])
            yield replace(outcome, request=request)

    vendor.fetch = everything  # type: ignore[method-assign]
    report = refresh(vendor, lake, tmp_path, MONDAY)
    assert (report.results[0].reason, report.new_rows) == ("new_sessions", 1)
    assert lake.read("bars").num_rows == before + 1


def test_a_delivery_is_compared_with_all_that_is_stored_however_small_the_blocks(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_sessions, "BLOCK_ROWS", 40)
    monkeypatch.setattr(stored_sessions, "BLOCKS_KEPT", 1)
    symbols = [f"A{letter}" for letter in "QWERTYUIOP"]
    vendor = Vendor({day: {"close": 100.0 + i, "volume": 50.0} for i, day in enumerate(DAYS)})
    universe = load_universe(small_seeds(tmp_path / "seeds", *symbols))
    ingest(universe, vendor, "yahoo", lake, FRIDAY, RULES)
    # Answers in another order than they were asked for: blocks are read more than once.
    in_order = vendor.fetch
    vendor.fetch = lambda requests: iter(list(in_order(requests))[::-1])  # type: ignore[method-assign]
    assert ingest(universe, vendor, "yahoo", lake, FRIDAY, RULES).new_rows == 0
    assert ingest(universe, vendor, "yahoo", lake, FRIDAY, PlanRules(3, full=True)).new_rows == 0
    report = ingest(universe, vendor, "yahoo", lake, MONDAY, RULES)
    assert {r.symbol: r.new for r in report.results} == dict.fromkeys(symbols, 1)


def test_a_ticker_that_passed_to_another_company_is_told_and_joins_nothing(
    lake: Lake, vendor: Vendor, tmp_path: Path
) -> None:
    refresh(vendor, lake, tmp_path)
    before = stored(lake)
    chance = np.random.default_rng(1)
    other = {day: {"close": float(20 + chance.normal()), "volume": 50.0, "dividend": 0.0} for day in vendor.rows}
    report = refresh(replace(vendor, rows=other), lake, tmp_path, MONDAY)
    (result,) = report.results
    assert result.status is FetchStatus.INCONSISTENT
    assert "the ticker may have passed to another company" in result.detail
    assert "source_symbol" in result.detail
    assert stored(lake) == before
    # Its company's own ticker is found, and history goes on.
    assert refresh(vendor, lake, tmp_path, MONDAY).results[0].status is FetchStatus.OK
    assert len(stored(lake)) == len(before) + 1
    # Who knows better asks for everything anew.
    universe = load_universe(small_seeds(tmp_path / "seeds", "AAA"))
    forced = ingest(universe, replace(vendor, rows=other), "yahoo", lake, MONDAY, replace(RULES, full=True))
    assert forced.results[0].status is FetchStatus.OK


def test_contradictions_that_come_one_by_one_are_told_when_they_are_too_many(
    lake: Lake, vendor: Vendor, tmp_path: Path
) -> None:
    """Each delivery brings one, which is marked; of one instrument there are never more than two in the tables."""
    for place, row in enumerate(vendor.rows.values()):
        # The vendor's adjusted closes know of dividends that it does not name.
        row["adj_close"] = row["close"] * 0.99 ** sum(place >= jump for jump in (12, 18, 24))
    statuses = []
    for place in (10, 14, 20, 26):
        evening = dt.datetime.combine(DAYS[place], dt.time(23), dt.UTC)
        (result,) = refresh(vendor, lake, tmp_path, evening).results
        statuses.append(result.status)
        assert (vendor.asked[-1].start is None) == (place == 10)
    assert statuses == [*[FetchStatus.OK] * 3, FetchStatus.INCONSISTENT]
    assert max(stored(lake)) == DAYS[20]


def test_bars_that_are_not_daily_are_told_and_not_stored(lake: Lake, vendor: Vendor, tmp_path: Path) -> None:
    weekly = {day: row for day, row in vendor.rows.items() if day.weekday() == 0}
    (result,) = refresh(replace(vendor, rows=weekly), lake, tmp_path).results
    assert result.status is FetchStatus.INCONSISTENT
    assert result.detail == "AAA: weekly bars instead of daily ones"
    assert stored(lake) == {}


@pytest.mark.parametrize("adjusted_first", [True, False])
def test_a_part_of_a_history_on_another_basis_is_refused(lake: Lake, tmp_path: Path, adjusted_first: bool) -> None:
    """A whole file of adjusted closes, then the last sessions as they were traded, or the other way round."""
    drop = tmp_path / "drop"
    drop.mkdir()
    universe = load_universe(small_seeds(tmp_path / "seeds", "AAA"))

    def deliver(days: Sequence[dt.date], basis: str) -> IngestReport:
        lines = [f"{day},{100 + n}.5,1\n" for n, day in enumerate(DAYS) if day in days]
        (drop / "AAA.csv").write_text("Date,Close,Volume\n" + "".join(lines))
        (drop / "price_basis.csv").write_text(f"symbol,price_basis\nAAA,{basis}\n")
        return ingest(universe, FilesSource(drop), "files", lake, FRIDAY, replace(RULES, restatement_sessions=None))

    first, then = ("dividend_adjusted", "split_adjusted")[:: 1 if adjusted_first else -1]
    assert deliver(DAYS[:30], first).results[0].status is FetchStatus.OK
    (refused,) = deliver(DAYS[25:32], then).results
    assert refused.status is FetchStatus.INCONSISTENT
    assert "give the whole history on one of both" in refused.detail
    assert lake.price_bases() == {"AAA": first}
    assert deliver(DAYS, then).results[0].status is FetchStatus.OK
    assert lake.price_bases() == {"AAA": then}


# ---- one instrument never stops the others


class UnforeseenError(Exception):
    """What nobody thought of."""


# Where one symbol's delivery is handled, from reply to lake: the module, the function, and who asks.
STAGES = [
    ("orchestration.sources.files", "read_price_file"),
    ("orchestration.ingest.deliveries", "validate"),
    ("orchestration.market.new_versions", "is_new"),
    ("orchestration.market.new_versions", "rebased"),
    ("orchestration.ingest.deliveries", "quarantine_id"),
    ("orchestration.ingest.deliveries", "needs_whole_history"),
    ("orchestration.ingest.deliveries", "_observed_at"),
    ("orchestration.ingest.deliveries", "_table"),
]


@pytest.mark.parametrize(("module", "function"), STAGES, ids=[function for _, function in STAGES])
@pytest.mark.parametrize("whole", [True, False], ids=["whole history", "last sessions"])
def test_whatever_goes_wrong_with_one_symbol_stays_with_it(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, function: str, whole: bool
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    universe = load_universe(small_seeds(tmp_path / "seeds", "AAA", "BBB", "CCC"))
    source = FilesSource(drop)
    rules = replace(RULES, restatement_sessions=None if whole else 3)

    def deliver(days: Sequence[dt.date]) -> None:
        for symbol in universe.symbols:
            lines = [f"{day},{n}.5,1\n" for n, day in enumerate(days, 100)]
            # The last row is for the quarantine.
            lines[-1] = f"{days[-1]},x,1\n"
            (drop / f"{symbol}.csv").write_text("Date,Close,Volume\n" + "".join(lines))

    deliver(DAYS[:30])
    ingest(universe, source, "files", lake, FRIDAY, rules)
    deliver(DAYS)

    real = importlib.import_module(module)
    wrapped = getattr(real, function)
    at_work: list[str] = []
    failed: list[str] = []

    def fails_for_one(*given: Any, **named: Any) -> Any:
        if "BBB" in (at_work[0] if at_work else repr((given, named))):
            failed.append("BBB")
            raise UnforeseenError("nobody thought of it")
        return wrapped(*given, **named)

    def noting(name: str) -> Any:
        method = getattr(Deliveries, name)

        def handled(sorter: Any, outcome: FetchOutcome) -> Any:
            before = at_work.copy()
            # That it failed is written down with the clock that may have failed.
            at_work[:] = ["none"] if name == "_nothing_of" else [outcome.request.symbol]
            try:
                return method(sorter, outcome)
            finally:
                at_work[:] = before

        return handled

    with monkeypatch.context() as patch:
        for method in ("look_at", "take", "_nothing_of"):
            patch.setattr(Deliveries, method, noting(method))
        patch.setattr(real, function, fails_for_one)
        report = ingest(universe, source, "files", lake, MONDAY + dt.timedelta(days=10), rules)
    if not failed:
        assert function == ("needs_whole_history" if whole else "rebased")
        return  # not on this way
    results = {result.symbol: result for result in report.results}
    assert {symbol for symbol, result in results.items() if result.status.failed} == {"BBB"}
    assert results["BBB"].status is FetchStatus.BROKEN
    assert "UnforeseenError: nobody thought of it" in results["BBB"].detail
    stored_bars = lake.newest_bars().to_pandas().groupby("symbol").size()
    assert stored_bars.to_dict() == {"AAA": 37, "BBB": 29, "CCC": 37}
    rejected = lake.read("rejected_bars").to_pylist()
    assert {row["symbol"] for row in rejected if row["batch_id"] == report.batch_id} == {"AAA", "CCC"}
    # And heals by itself.
    ingest(universe, source, "files", lake, MONDAY + dt.timedelta(days=10), rules)
    assert lake.newest_bars().to_pandas().groupby("symbol").size().to_dict()["BBB"] == 37
