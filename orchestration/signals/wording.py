"""How prices, names and numbers of events are written, and the words that several readers share.

What only one kind of event says stands in the module of that kind; here is what the brief says too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from orchestration.market.currency import POINTS
from orchestration.market.universe import AVERAGES

Row = Mapping[str, Any]

# Rules whose score is not, or not drawn from, the return of the session itself.
BEYOND_THE_DAY = ("cumulative_return", "opening_gap", "drawdown", "distance_from_52w_high")

# Of what too few like it are known; alerts say so, and whoever has little room does not.
TOO_FEW = "too few to say what usually followed"

EXTREMES = ("52-week high", "52-week low")


def and_more(shown: Sequence[str], count: int) -> str:
    """The first few of `count` things, and how many more there are."""
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return ", ".join(shown) + more


def named(row: Row) -> str:
    """The symbol of a row, with the instrument's name if it has another."""
    symbol, name = row["symbol"], row.get("name")
    return f"{symbol} ({name})" if name and name != symbol else str(symbol)


def way(row: Row) -> str:
    """Which way the events of a study went."""
    return "downward" if row["direction"] == "down" else "upward"


def spaced(name: object) -> str:
    """A name of the tables as words."""
    return str(name).replace("_", " ")


def plain_price(price: float) -> str:
    """54, not 54.0."""
    return f"{price:.10g}"


def short_price(price: float) -> str:
    """As alerts write it: 5,012.4, or 0.01234 of what costs less than 1."""
    return f"{price:,.4g}" if abs(price) < 1 else f"{price:,.3f}".rstrip("0").rstrip(".")


def tick_price(row: Row, value: float | None) -> str:
    """A price with as many decimals as the instrument's tick, and one more between two ticks; empty if unknown."""
    if value is None:
        return ""
    # A ratio has no tick.
    tick = 0.01 if row.get("series") else row.get("tick_size") or 0.01
    decimals = max(0, len(f"{tick:.6f}".rstrip("0").partition(".")[2]))
    if abs(value - round(value, decimals)) > 0.1 * 10**-decimals:
        decimals += 1
    return f"{value:,.{decimals}f}"


def of_currency(row: Row) -> str:
    """The currency of a row's prices as it follows one of them: " USD", " points" of what is no money.

    What a level is held against may be a series: then it is a multiple of an average, or a ratio without a unit.
    """
    if series := row.get("series"):
        return " times its average" if series in AVERAGES else ""
    currency = row.get("currency")
    return f" {'points' if currency == POINTS else currency}" if currency else ""


def money(row: Row, value: float | None) -> str:
    """A price with its currency; empty if unknown."""
    text = tick_price(row, value)
    return text and text + of_currency(row)


def in_ticks(row: Row) -> Callable[[float], str]:
    """Writes prices in the instrument's ticks without the zeros that end them: 54, not 54.000."""

    def price(value: float) -> str:
        text = tick_price(row, value)
        return text.rstrip("0").rstrip(".") if "." in text else text

    return price


def is_zone(row: Row) -> bool:
    """Whether the level of a row with `lower` and `upper` is a zone."""
    return row.get("lower") is not None and row["lower"] < row["upper"]


def level_name(row: Row) -> str:
    """A level as people write it: 54, or 54-56 for a zone; what it is where that never changes, as a round number."""
    kind = row.get("kind")
    if row.get("series") in AVERAGES:
        return _of_average(row)
    if kind in EXTREMES:  # a close of the past
        return f"{tick_price(row, row['lower'])} ({kind})"
    price = in_ticks(row)
    text = f"{price(row['lower'])}-{price(row['upper'])}" if is_zone(row) else price(row["lower"])
    # Support and resistance are roles, and roles flip: the column says which it is now.
    return f"{text} ({kind})" if kind in ("psychological", "record") else text


def _of_average(row: Row) -> str:
    """A level on an average: "its average of 200 closes", "1.1 times its average of 200 closes"."""
    average = f"its average of {row['series'].removeprefix('sma_')} closes"
    if row["lower"] == row["upper"] == 1:
        return average
    edges = "-".join(plain_price(edge) for edge in dict.fromkeys((row["lower"], row["upper"])))
    return f"{edges} times {average}"


def subject(row: Row, name: str) -> str:
    """What meets a level: the instrument of that name, or the price ratio of a pair."""
    series = row.get("series")
    return spaced(series) if series and series not in AVERAGES else name


def level_in_words(row: Row) -> str:
    """54, or the zone 54-56."""
    if row.get("series") in AVERAGES:
        return _of_average(row)
    return f"the zone {level_name(row)}" if is_zone(row) else level_name(row)


def in_points(row: Row) -> bool:
    """Whether a row of an instrument that is quoted in points says how much it changed; it has no return."""
    return row["return_1d"] is None and row.get("point_change_1d") is not None


def change(row: Row, name: str = "return_1d") -> str:
    """What an instrument did in a session: "-14.78%", or "+0.12 points" of what has no return; empty if unknown.

    Args:
        row: with `return_1d` and `point_change_1d`.
        name: another column that holds a daily return of it.
    """
    if not in_points(row):
        return "" if row[name] is None else f"{row[name]:+.2%}"
    value = row["point_change_1d" if name == "return_1d" else name]
    return f"{value:+,.4g} points"


def score(hit: Row) -> str:
    """What broke a rule: "-14.78%", "-17.20% in 5 sessions", "z -5.8", "-14.78% on 2.4 times its usual volume".

    Args:
        hit: a row of `move_rule_hits`, with the session's `return_1d` beside it.
    """
    measure, value = hit["measure"], hit["score"]
    if measure == "drawdown":
        return f"{-value:.2%} below its peak"
    if measure == "distance_from_52w_high":
        return f"{-value:.2%} below its 52-week high"
    if measure == "point_change":
        return f"{value:+,.4g} points"
    if measure == "return_1d":
        return f"{value:+.2%}"
    if measure == "opening_gap":
        return f"{value:+.2%} at the open"
    if measure == "cumulative_return":
        return f"{value:+.2%} in {hit['sessions']} session{'s' if hit['sessions'] > 1 else ''}"
    if measure == "percentile":
        return f"{hit['return_1d']:+.2%}"
    if measure == "volume_ratio":
        return f"{hit['return_1d']:+.2%} on {value:.1f} times its usual volume"
    return f"z {value:+.1f}"


def beyond_the_day(hits: Iterable[Row]) -> list[str]:
    """What broke rules about several sessions or the open; of several such returns the largest."""
    largest: dict[str, Row] = {}
    for hit in sorted(hits, key=lambda hit: abs(hit["score"])):
        if hit["measure"] in BEYOND_THE_DAY:
            largest[hit["measure"]] = hit
    return [score(largest[measure]) for measure in BEYOND_THE_DAY if measure in largest]


def is_of_the_day(hits: Iterable[Row]) -> bool:
    """Whether the return of the session itself broke a rule."""
    return any(hit["measure"] not in BEYOND_THE_DAY for hit in hits)
