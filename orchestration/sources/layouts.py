"""How vendors, libraries and spreadsheets lay out daily bars: a row of `LAYOUTS` each. A new one is a row and a test.

A label is compared by its letters and digits alone, whatever their case: `Adj Close**` and `<ADJ_CLOSE>` are the same.
What a column holds is a field of `bars.RAW_COLUMNS`, or `currency`, or `ticker`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.market.price_basis import PriceBasis

DATES = dict.fromkeys(("date", "datetime", "sessiondate", "timestamp"), "session_date")
PRICES = {name: name for name in ("open", "high", "low", "close")}
VOLUMES = dict.fromkeys(("volume", "vol"), "volume")
ADJUSTED = dict.fromkeys(("adjclose", "adjustedclose", "adjusted"), "adj_close")
DIVIDENDS = dict.fromkeys(("dividend", "dividends", "dividendamount"), "dividend")
SPLITS = dict.fromkeys(("splitratio", "stocksplits", "splitcoefficient"), "split_ratio")
ABOUT = {"currency": "currency", "symbol": "ticker", "ticker": "ticker"}


@dataclass(frozen=True)
class Layout:
    """The columns of one vendor."""

    name: str  # as a person calls it
    fields: Mapping[str, str]  # what a label means
    key_labels: frozenset[str]  # labels that this layout always has; no layout further down has all of them
    # What the vendor's prices, dividends and volumes are; None where that depends on the export.
    basis: PriceBasis | None = None
    month_first: bool | None = None  # how a date with slashes begins, where the vendor leaves no doubt


LAYOUTS = (
    Layout(
        "Tiingo",
        DATES | PRICES | VOLUMES | ADJUSTED | ABOUT | {"divcash": "dividend", "splitfactor": "split_ratio"},
        key_labels=frozenset({"divcash", "splitfactor"}),
        basis=PriceBasis.TRADED,
    ),
    Layout(
        "Alpha Vantage",
        DATES | PRICES | VOLUMES | ADJUSTED | DIVIDENDS | SPLITS | ABOUT,
        key_labels=frozenset({"dividendamount", "splitcoefficient"}),
        basis=PriceBasis.TRADED,
    ),
    Layout(
        "Nasdaq.com",
        DATES | PRICES | VOLUMES | {"closelast": "close"},
        key_labels=frozenset({"closelast"}),
        month_first=True,
    ),
    Layout(
        "Investing.com",
        DATES | {"price": "close", "open": "open", "high": "high", "low": "low"} | VOLUMES,
        key_labels=frozenset({"date", "price", "change"}),
    ),
    Layout(
        "Investing.com in German",
        {"datum": "session_date", "zuletzt": "close", "eröffn": "open", "hoch": "high", "tief": "low"} | VOLUMES,
        key_labels=frozenset({"datum", "zuletzt"}),
    ),
    Layout(
        "Investing.com in French",
        {"date": "session_date", "dernier": "close", "ouv": "open", "plushaut": "high", "plusbas": "low"} | VOLUMES,
        key_labels=frozenset({"dernier"}),
    ),
    Layout(
        "Investing.com in Spanish",
        {"fecha": "session_date", "último": "close", "apertura": "open", "máximo": "high", "mínimo": "low"} | VOLUMES,
        key_labels=frozenset({"fecha", "último"}),
    ),
    Layout(
        "Stooq in Polish",
        {
            "data": "session_date",
            "otwarcie": "open",
            "najwyzszy": "high",
            "najnizszy": "low",
            "zamkniecie": "close",
            "wolumen": "volume",
        },
        key_labels=frozenset({"data", "zamkniecie"}),
    ),
    # Yahoo and yfinance, Stooq in English, quantmod and tidyquant, Alpha Vantage's plain bars, ours.
    Layout("plain", DATES | PRICES | VOLUMES | ADJUSTED | DIVIDENDS | SPLITS | ABOUT, key_labels=frozenset()),
)

# What a column of pandas, R or a spreadsheet is called that holds the names of the rows.
_PANDAS_INDEX = "indexlevel0"
_ROW_NAMES = frozenset({"", "index", "unnamed0", _PANDAS_INDEX, "rownames", "x"})
# quantmod writes `SIL.Close`; pandas, in Parquet, `('Close', 'SIL')`; who flattens that, `Close_SIL`.
_PRICE = r"(?P<label>Open|High|Low|Close|Adj Close|Volume|Adjusted|Dividends|Stock Splits)"
_OF_A_TICKER = re.compile(rf"(?P<ticker>.+)[._]{_PRICE}")
_TICKER_LAST = re.compile(rf"{_PRICE}_(?P<ticker>[^_ ]+)")
_TWO_LEVELS = re.compile(r"\('(?P<first>[^']*)', '(?P<second>[^']*)'\)")


@dataclass(frozen=True)
class Columns:
    """What the columns of a file hold."""

    layout: Layout  # whose they are
    places: Mapping[str, int]  # number of the column, by field
    repeated: tuple[int, int] | None  # a pair of numbers of columns that hold the same; None if there is none
    tickers: Mapping[str, int]  # in the labels, each with the number of its column

    @property
    def is_whole(self) -> bool:
        """Whether there are bars: a date and a close."""
        return {"session_date", "close"} <= self.places.keys()


def columns_of(labels: Sequence[str]) -> Columns:
    """What the columns under these labels hold; a ticker in them counts where the bars are not found without it."""
    plain = [("", label.strip()) for label in labels]
    found = _columns(plain)
    return found if found.is_whole else _columns([_split(label) for _, label in plain])


def _columns(labels: Sequence[tuple[str, str]]) -> Columns:
    names = [_plain(name) for _, name in labels]
    tickers: dict[str, int] = {}
    for place, (ticker, _) in enumerate(labels):
        if ticker:
            tickers.setdefault(ticker, place)
    layout = next(layout for layout in LAYOUTS if layout.key_labels <= set(names))
    places: dict[str, int] = {}
    repeated = None
    for place, name in enumerate(names):
        field = layout.fields.get(name) or ABOUT.get(name)
        if field in places:
            # A ticker beside a symbol does no harm.
            repeated = repeated or ((places[field], place) if field != "ticker" else None)
        elif field is not None:
            places[field] = place
    if "session_date" not in places:
        # pandas puts an index without a name last into Parquet.
        first = names.index(_PANDAS_INDEX) if _PANDAS_INDEX in names else 0
        # A label of signs alone is no label that is left out.
        if names[first] in _ROW_NAMES and (names[first] or not labels[first][1]):
            places["session_date"] = first
    return Columns(layout, places, repeated, tickers)


def _split(label: str) -> tuple[str, str]:
    """The ticker in a label, if there is one, and the name of the column."""
    if levels := _TWO_LEVELS.fullmatch(label):
        first, second = levels["first"], levels["second"]
        # `group_by="ticker"` puts the ticker first.
        ticker_first = _plain(second) in LAYOUTS[-1].fields and _plain(first) not in LAYOUTS[-1].fields
        return (first, second) if ticker_first else (second, first)
    named = _OF_A_TICKER.fullmatch(label) or _TICKER_LAST.fullmatch(label)
    if named and _plain(label) not in LAYOUTS[-1].fields:
        return named["ticker"], named["label"]
    return "", label


def _plain(label: str) -> str:
    # The replies of Alpha Vantage number their columns: `4. close`.
    return "".join(c for c in re.sub(r"^\d+\. ", "", label).casefold() if c.isalnum())
