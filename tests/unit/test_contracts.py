"""Which contracts of a future are collected, what they are called, and what the sample market has of them."""

import datetime as dt
from itertools import pairwise

import numpy as np

from orchestration.market.contracts import contracts_among, listed
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.universe import load_universe
from orchestration.settings import DBT_PROJECT_DIR
from orchestration.sources.base import FetchOutcome
from orchestration.sources.sample import SampleSource

UNIVERSE = load_universe(DBT_PROJECT_DIR / "seeds")
SILVER = UNIVERSE.instrument("SI=F")
AS_OF = dt.date(2026, 3, 6)


def fetched(symbol: str, as_of: dt.date = AS_OF) -> FetchOutcome:
    request = FetchRequest(symbol, symbol, None, as_of, "new_instrument")
    (outcome,) = SampleSource(UNIVERSE.instruments, as_of).fetch([request])
    return outcome


def closes(symbol: str) -> dict[dt.date, float]:
    bars = fetched(symbol).bars
    return {day.date(): close for day, close in zip(bars["session_date"], bars["close"], strict=True)}


def test_the_next_six_listed_months_are_collected() -> None:
    found = [contract.symbol for contract in listed(SILVER, dt.date(2026, 1, 30))]
    assert found == ["SIH26.CMX", "SIK26.CMX", "SIN26.CMX", "SIU26.CMX", "SIZ26.CMX", "SIH27.CMX"]
    # One that is being delivered is still traded; the next year is not far.
    assert next(listed(SILVER, dt.date(2026, 3, 31))).symbol == "SIH26.CMX"
    assert [contract.symbol for contract in listed(SILVER, dt.date(2026, 12, 31))][:2] == ["SIZ26.CMX", "SIH27.CMX"]
    platinum = UNIVERSE.instrument("PL=F")
    assert [contract.symbol for contract in listed(platinum, dt.date(2026, 1, 30))][:2] == ["PLF26.NYM", "PLJ26.NYM"]
    assert list(listed(UNIVERSE.instrument("SLV"), dt.date(2026, 1, 30))) == []


def test_a_contract_is_asked_for_as_its_series_is() -> None:
    contract = next(listed(SILVER, dt.date(2026, 1, 30)))
    asked = contract.instrument
    assert (asked.symbol, asked.source_symbol, asked.calendar, asked.currency, asked.tick_size) == (
        *("SIH26.CMX", "SIH26.CMX"),
        *(SILVER.calendar, SILVER.currency, SILVER.tick_size),
    )
    assert asked.name == "Silver futures (front month), March 2026"
    assert list(listed(asked, dt.date(2026, 1, 30))) == []


def test_contracts_are_known_by_their_names_expired_ones_too() -> None:
    names = ["SIZ25.CMX", "SIH26.CMX", "SI=F", "SIH26.NYM", "SIXX26.CMX", "SILH26.CMX", "PAM26.NYM"]
    found = [(c.symbol, c.root.symbol, c.month) for c in contracts_among(names, UNIVERSE.instruments)]
    assert found == [
        ("PAM26.NYM", "PA=F", dt.date(2026, 6, 1)),
        ("SIH26.CMX", "SI=F", dt.date(2026, 3, 1)),
        ("SIZ25.CMX", "SI=F", dt.date(2025, 12, 1)),
    ]


def test_the_sample_series_shows_the_front_month() -> None:
    series, march, may, july = (closes(symbol) for symbol in ("SI=F", "SIH26.CMX", "SIK26.CMX", "SIN26.CMX"))
    january, in_march = dt.date(2026, 1, 30), dt.date(2026, 3, 2)
    assert max(march) == dt.date(2026, 2, 27)
    assert march[january] == series[january] != may[january]
    assert may[in_march] == series[in_march] != july[in_march]
    # A later month costs a little more.
    assert np.isclose(may[january] / march[january], 1.004, atol=1e-4)
    assert np.isclose(july[january] / march[january], 1.008, atol=1e-4)
    assert all(a < b for a, b in pairwise([march[january], may[january], july[january]]))


def test_the_sample_has_no_month_that_is_not_listed() -> None:
    assert fetched("SIF26.CMX").bars["session_date"].max().date() < dt.date(2026, 1, 1)
    assert fetched("SIH26.XYZ").status == "unknown_symbol"
