"""Extremes of 52 weeks and of all time, and round numbers: levels that nobody chose, of every instrument."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.signals.levels import EVENT_ROWS, TOUCH_RANK, level_lines, price_plot
from orchestration.signals.signal import AlertText, Price, Row, Signal
from orchestration.signals.wording import named, short_price, way

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def extreme_name(level_id: str) -> str:
    """SLV:52w_high as a 52-week high, SLV:all_time_low as an all-time low."""
    name = level_id.rpartition(":")[2]
    return name.replace("52w", "52-week").replace("all_time", "all-time").replace("_", " ")


def new_extreme(row: Row, name: str, price: Price) -> str:
    """A close beyond an extreme in words."""
    return f"{name} closed beyond its {extreme_name(row['level_id'])} of {price(row['level'])}"


def crossed_numbers(row: Row, name: str, _: Price) -> str:
    """Round numbers in the order in which they were crossed."""
    return f"{name} crossed {row['levels_crossed']} {'upwards' if row['direction'] == 'up' else 'downwards'}"


def alert(rows: Sequence[Row]) -> AlertText:
    """What happened there before as well."""
    sentence = crossed_numbers if rows[0]["levels_crossed"] else new_extreme
    return AlertText(sentence(rows[0], named(rows[0]), short_price), level_lines(rows[0]), TOUCH_RANK)


def extremes_in_brief(rows: Sequence[Row]) -> list[str]:
    """Who closed beyond which extreme."""
    sentences = []
    for extreme in ("all_time_high", "52w_high", "all_time_low", "52w_low"):
        hit = [row["symbol"] for row in rows if row["level_id"].endswith(f":{extreme}") and not row["is_repeat"]]
        if hit:
            words = extreme_name(extreme)
            sentences.append(f"Closed beyond the {words}, for the first time in a run: {', '.join(sorted(hit))}.")
    return sentences


def round_numbers_in_brief(rows: Sequence[Row]) -> list[str]:
    """Who crossed which round numbers, in two sentences."""
    sentences = []
    for direction, along in (("up", "upwards"), ("down", "downwards")):
        crossed = [
            f"{row['symbol']} {row['levels_crossed']}"
            for row in rows
            if row["direction"] == direction and not row["is_repeat"]
        ]
        if crossed:
            sentences.append(f"Round numbers crossed {along}: {'; '.join(crossed)}.")
    return sentences


def plot(published: Path, rows: Sequence[Row]) -> "Figure | None":
    """The closes of a year of the first instrument."""
    symbol = rows[0]["symbol"]
    return price_plot(published, symbol, [row for row in rows if row["symbol"] == symbol])


ROUND_NUMBERS = Signal(
    name="round_number",
    title="Extremes and round numbers",
    order=2,
    mart="level_events",
    sql=EVENT_ROWS,
    checks=lambda _: {"round_numbers": "Instruments crossed round numbers."},
    sentence=crossed_numbers,
    alert_kind="level",
    columns="session_date symbol level_id direction level levels_crossed prev_close close currency",
    plot=plot,
    alert=alert,
    studied={"round_number": lambda row: f"Round numbers that {row['scope_value']} crossed {way(row)}"},
    brief=round_numbers_in_brief,
    brief_title="Levels",
)

EXTREMES = replace(
    ROUND_NUMBERS,
    name="extreme",
    order=3,
    checks=lambda _: {
        "new_extremes": "Instruments closed beyond their 52-week or all-time extreme, for the first time in a run."
    },
    sentence=new_extreme,
    studied={"extreme": lambda row: f"New {'lows' if row['direction'] == 'down' else 'highs'} of {row['scope_value']}"},
    brief=extremes_in_brief,
)
