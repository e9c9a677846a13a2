"""Money: what codes mean, which rates are needed, and where they come from."""

from pathlib import Path

import pytest

from orchestration.market.currency import DollarPrice, Rate, dollar_prices, money_of, rate_of, rates_needed
from orchestration.market.errors import SeedError
from orchestration.market.universe import load_universe

HEADER = (
    "symbol,source_symbol,name,asset_class,metal,tier,calendar,currency,tick_size,metal_symbol,sector_symbol,"
    "active_from,settlement_time\n"
)
SILVER = "SI=F,SI=F,Silver futures,metal,silver,metal,CMES,USD,0.001,,,,13:25\n"


@pytest.mark.parametrize(
    ("code", "money"),
    [("GBp", "GBP"), ("GBX", "GBP"), ("ZAc", "ZAR"), ("ILA", "ILS"), ("USD", "USD"), ("MXN", "MXN"), ("XXX", "XXX")],
)
def test_hundredths_are_of_their_currency(code: str, money: str) -> None:
    assert money_of(code) == money


@pytest.mark.parametrize(
    ("symbol", "rate"),
    [
        ("EURUSD=X", Rate("EUR", "USD")),
        ("EURUSD", Rate("EUR", "USD")),
        ("CAD=X", Rate("USD", "CAD")),
        ("EURGBP=X", Rate("EUR", "GBP")),
        ("CAD", None),
        ("USDUSD=X", None),
        ("USD=X", None),
        ("SI=F", None),
        ("eurusd=X", None),
    ],
)
def test_rates_are_named_as_the_vendor_names_them(symbol: str, rate: Rate | None) -> None:
    assert rate_of(symbol) == rate


@pytest.mark.parametrize(
    ("currencies", "base", "needed"),
    [
        (["USD", "USD"], "USD", ()),
        (["USD", "GBp", "GBP", "CAD"], "USD", ("CAD", "GBP")),
        # Everything is brought to euros by way of the dollar.
        (["USD"], "EUR", ("EUR",)),
        (["EUR"], "EUR", ()),
        (["EUR", "ZAc", "USD"], "EUR", ("EUR", "ZAR")),
        # What is no money needs no rate.
        (["USD", "XXX"], "USD", ()),
        # A hundredth of the base currency is worth a hundredth.
        (["GBp"], "GBP", ()),
    ],
)
def test_rates_that_are_needed(currencies: list[str], base: str, needed: tuple[str, ...]) -> None:
    assert rates_needed(currencies, base) == needed


def test_a_rate_is_taken_as_it_is_there() -> None:
    there = ["CAD=X", "EURUSD=X", "USDEUR=X", "EURGBP=X"]
    assert dollar_prices(["CAD", "EUR", "GBP"], there) == (
        DollarPrice("CAD", "CAD=X", is_inverse=True),
        DollarPrice("EUR", "EURUSD=X", is_inverse=False),
        # A cross goes by way of the dollar: the price of a pound in dollars is asked for.
        DollarPrice("GBP", "GBPUSD=X", is_inverse=False),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seeds of a silver future and what a test adds."""
    (tmp_path / "price_levels.csv").write_text("level_id,symbol,lower,upper,kind,active_from,note\n")
    (tmp_path / "pairs.csv").write_text("pair_id,long_symbol,short_symbol,kind,z_threshold\n")
    (tmp_path / "move_rules.csv").write_text("rule_id,scope,scope_value,measure,sessions,threshold,note\n")
    (tmp_path / "published_claims.csv").write_text(
        "claim_id,published_on,publisher,symbol,measure,argument,session_date,claimed,tolerance,note\n"
    )
    return tmp_path


def test_a_rate_that_is_needed_is_watched_without_being_asked_for(folder: Path) -> None:
    (folder / "instruments.csv").write_text(
        HEADER + SILVER + "FRES,FRES.L,Fresnillo,stock,silver,senior,XLON,GBp,0.5,SI=F,,,\n"
        "ABX,ABX.TO,Barrick,stock,gold,senior,XTSE,CAD,0.01,SI=F,,,\n"
        "CAD=X,CAD=X,Canadian dollars,fx,,benchmark,24/5,CAD,0.0001,,,,\n"
    )
    universe = load_universe(folder)
    assert universe.symbols == ("SI=F", "FRES", "ABX", "CAD=X", "GBPUSD=X")
    pound = universe.instrument("GBPUSD=X")
    assert (pound.asset_class, pound.calendar, pound.currency) == ("fx", "24/5", "USD")
    assert universe.dollar_prices == (
        DollarPrice("CAD", "CAD=X", is_inverse=True),
        DollarPrice("GBP", "GBPUSD=X", is_inverse=False),
    )
    assert load_universe(folder, "EUR").symbols[-2:] == ("EURUSD=X", "GBPUSD=X")


def test_a_settlement_is_a_clock_of_its_own(folder: Path) -> None:
    (folder / "instruments.csv").write_text(HEADER + SILVER + SILVER.replace("SI=F", "GC=F").replace("13:25", ""))
    assert [i.clock for i in load_universe(folder).instruments] == ["CMES 13:25", "CMES"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "EUR,EUR,Euro,fx,,benchmark,24/5,USD,0.0001,,,,",
            (
                "row 3, column symbol: 'EUR' is not allowed; allowed for an exchange rate: "
                "EURUSD=X (dollars for a euro) or CAD=X (Canadian dollars for a dollar)"
            ),
        ),
        (
            "EURUSD=X,EURUSD=X,Euro,fx,,benchmark,24/5,EUR,0.0001,,,,",
            ("row 3, column currency: 'EUR' is not allowed; allowed: USD, in which EURUSD=X is the price of EUR"),
        ),
        (
            "GC=F,GC=F,Gold futures,metal,gold,metal,CMES,USD,0.1,,,,25:00",
            "row 3, column settlement_time: '25:00' is not allowed; allowed: a time of day as 13:25",
        ),
    ],
)
def test_what_is_wrong_about_money_and_time(folder: Path, row: str, message: str) -> None:
    (folder / "instruments.csv").write_text(HEADER + SILVER + row + "\n")
    with pytest.raises(SeedError) as caught:
        load_universe(folder)
    assert str(caught.value) == f"instruments.csv, {message}"
