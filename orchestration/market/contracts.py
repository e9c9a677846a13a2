"""The contracts behind a front-month series: which months are listed, and what the vendor calls them.

A series such as SI=F is a splice: it shows one contract after the other. Yahoo serves a contract while it is traded
(SIH26.CMX is silver for March 2026), and nothing of it afterwards: what is not collected then is lost.
"""

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestration.market.universe import FRONT, Instrument

# Of delivery months, January to December.
LETTERS = "FGHJKMNQUVXZ"

# Contracts of one future that are collected, those that are delivered next.
FOLLOWED = 6


@dataclass(frozen=True)
class Contract:
    """One delivery month of a future."""

    root: Instrument  # the front-month series
    month: dt.date  # the first day of the delivery month

    @property
    def symbol(self) -> str:
        """What the vendor calls it, and so do we."""
        _, _, exchange = str(self.root.contract_months).partition(".")
        return f"{_code(self.root)}{LETTERS[self.month.month - 1]}{self.month:%y}.{exchange}"

    @property
    def instrument(self) -> Instrument:
        """It as something that can be asked for."""
        return self.root.model_copy(
            update={
                "symbol": self.symbol,
                "source_symbol": self.symbol,
                "name": f"{self.root.name}, {self.month:%B %Y}",
                "active_from": None,
                "contract_months": None,
                "watchlists": (),
            }
        )


def listed(root: Instrument, day: dt.date) -> Iterator[Contract]:
    """The contracts of a future that are delivered in the month of a day or next; none where no months are named."""
    letters, _, _ = (root.contract_months or "").partition(".")
    month, found = day.replace(day=1), 0
    while letters and found < FOLLOWED:
        if LETTERS[month.month - 1] in letters:
            found += 1
            yield Contract(root, month)
        month = (month + dt.timedelta(days=31)).replace(day=1)


def contracts_among(symbols: Iterable[str], instruments: Iterable[Instrument]) -> list[Contract]:
    """Those of some symbols that are contracts of one of the instruments, expired ones among them."""
    found = []
    patterns = [
        (root, re.compile(rf"{re.escape(_code(root))}([{LETTERS}])(\d\d)\.{root.contract_months.partition('.')[2]}"))
        for root in instruments
        if root.contract_months
    ]
    for symbol in sorted(symbols):
        for root, pattern in patterns:
            if match := pattern.fullmatch(symbol):
                found.append(Contract(root, dt.date(2000 + int(match[2]), LETTERS.index(match[1]) + 1, 1)))
    return found


def _code(root: Instrument) -> str:
    return root.source_symbol.removesuffix(FRONT)
