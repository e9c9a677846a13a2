"""Money: which currency a price is in, and which exchange rates are needed to compare prices in one.

Rates are instruments of the asset class `fx`, as Yahoo names them: `EURUSD=X` is the price of a euro in dollars,
`CAD=X` that of a dollar in Canadian dollars. Every currency is brought to the base currency by way of the dollar.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

DOLLAR = "USD"

# What is no money: points of a yield or of a volatility index (ISO 4217: no currency).
POINTS = "XXX"

# A hundredth, as exchanges and vendors write it.
_SUBUNITS = {"GBp": "GBP", "GBX": "GBP", "ZAc": "ZAR", "ZAC": "ZAR", "ILA": "ILS", "ILa": "ILS", "AUc": "AUD"}

_RATE = re.compile(r"([A-Z]{3})?([A-Z]{3})(?:=X)?")


@dataclass(frozen=True)
class Rate:
    """What an instrument of the asset class `fx` is the price of.

    Attributes:
        unit: the currency that is bought.
        quote: the currency that it is paid in.
    """

    unit: str
    quote: str


@dataclass(frozen=True)
class DollarPrice:
    """Where the price of a currency in dollars comes from.

    Attributes:
        currency: whose price it is.
        symbol: the instrument of the asset class `fx`.
        is_inverse: whether that is the price of a dollar in the currency.
    """

    currency: str
    symbol: str
    is_inverse: bool


def money_of(currency: str) -> str:
    """The currency of which a code is a part: GBP of GBp; every other is itself."""
    return _SUBUNITS.get(currency, currency)


def is_same_unit(delivered: str | None, declared: str) -> bool:
    """Whether prices are delivered in what an instrument says, however a hundredth is written.

    Args:
        delivered: as the source names it; None where it names nothing.
        declared: as instruments.csv says; for points whatever a source writes.
    """
    if delivered is None or declared in (delivered, POINTS):
        return True
    return money_of(delivered) == money_of(declared) and delivered in _SUBUNITS and declared in _SUBUNITS


def rate_of(symbol: str) -> Rate | None:
    """The rate that a symbol names; None if it names none.

    `EURUSD=X` and `EURUSD` are dollars for a euro, `CAD=X` is Canadian dollars for a dollar.
    """
    found = _RATE.fullmatch(symbol)
    if not found or (found[1] is None and not symbol.endswith("=X")):
        return None
    unit, quote = found[1] or DOLLAR, found[2]
    return None if unit == quote else Rate(unit, quote)


def rates_needed(currencies: Iterable[str], base: str) -> tuple[str, ...]:
    """The currencies whose price in dollars is needed to compare prices in the base currency, in alphabetical order.

    Args:
        currencies: of prices, as instruments.csv writes them.
        base: in which they are compared.
    """
    used = {money_of(currency) for currency in currencies} - {POINTS}
    foreign = used - {base}
    return tuple(sorted((foreign | {base} if foreign else set()) - {DOLLAR}))


def dollar_prices(needed: Iterable[str], rates: Iterable[str]) -> tuple[DollarPrice, ...]:
    """Where the prices of currencies in dollars come from; the dollar for a currency only where nothing else is there.

    Args:
        needed: currencies.
        rates: symbols of the asset class `fx` that there are.
    """
    known = {rate_of(symbol): symbol for symbol in reversed(list(rates))}
    found = []
    for currency in needed:
        direct, inverse = known.get(Rate(currency, DOLLAR)), known.get(Rate(DOLLAR, currency))
        symbol = direct or inverse or f"{currency}{DOLLAR}=X"
        found.append(DollarPrice(currency, symbol, is_inverse=direct is None and inverse is not None))
    return tuple(found)
