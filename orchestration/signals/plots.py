"""Small plots of what the tables hold, as SVG for pages and PNG for the web UI.

Figures are made without pyplot: no global state, no window, safe in any thread.
"""

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours can be told apart by everybody; without yellow, which is too light for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
INK, FAINT = "#333333", "#bbbbbb"

# Days between two bars that a line still bridges: no exchange closes for longer.
LONGEST_BREAK_DAYS = 10

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # Text stays text, and the same figures give the same bytes.
    "svg.fonttype": "none",
    "svg.hashsalt": "orewatch",
}


# Of the figure: room for seven digits, dates and a title; a legend needs more below.
_MARGINS = {"left": 0.115, "right": 0.985, "top": 0.905, "bottom": 0.125}
_BELOW_LEGEND = 0.28


@dataclass(frozen=True)
class Series:
    """Values by session; None is unknown and leaves a gap in the line.

    Attributes:
        sessions: in order.
        values: as many.
    """

    sessions: Sequence[dt.date]
    values: Sequence[float | None]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], column: str) -> "Series":
        """One column of rows that have a `session_date`, in their order."""
        return cls([row["session_date"] for row in rows], [row[column] for row in rows])


@dataclass(frozen=True)
class Band:
    """A watched level: a line, or a zone where upper is above lower."""

    label: str
    lower: float
    upper: float


def price_with_levels(title: str, closes: Series, bands: Sequence[Band], marked: Sequence[dt.date] = ()) -> "Figure":
    """Closes with their levels, and the sessions of events marked.

    Levels far outside the range of the closes are left out: they would flatten the line.
    """
    figure, axes = _figure(title)
    known = [v for v in closes.values if v is not None]
    _draw(axes, closes, COLOURS[0])
    if known:
        lowest, highest = min(known), max(known)
        margin = 0.25 * (highest - lowest) or 0.05 * highest
        # From the top down; a label that would stand on another is left out, as the edges of a zone are.
        last_label = float("inf")
        for band in sorted(bands, key=lambda b: (-b.upper, b.lower)):
            if not (lowest - margin <= band.upper and band.lower <= highest + margin):
                continue
            if band.upper > band.lower:
                axes.axhspan(band.lower, band.upper, color=COLOURS[5], alpha=0.3, linewidth=0)
            else:
                axes.axhline(band.lower, color=COLOURS[1], linewidth=0.8, linestyle="--")
            if last_label - band.upper > 0.06 * (highest - lowest + 2 * margin):
                last_label = band.upper
                place = (0.005, band.upper)
                axes.annotate(band.label, place, xycoords=("axes fraction", "data"), fontsize=7, color=INK, va="bottom")
    by_session = dict(zip(closes.sessions, closes.values, strict=True))
    points = [(s, v) for s in marked if (v := by_session.get(s)) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), linestyle="none", marker="o", markersize=4, color=COLOURS[1])
    return figure


def lines(title: str, series: Mapping[str, Series], percent: bool = False, base: float | None = None) -> "Figure":
    """One line per series, named in a legend.

    Args:
        title: above the plot.
        series: by name, at most seven.
        percent: the values are fractions, shown in percent.
        base: a value to draw a faint line at.
    """
    figure, axes = _figure(title)
    for (name, values), colour in zip(series.items(), COLOURS, strict=False):
        _draw(axes, values, colour, name)
    if base is not None:
        axes.axhline(base, color=FAINT, linewidth=0.8)
    if percent:
        _in_percent(axes)
    if series:
        figure.subplots_adjust(bottom=_BELOW_LEGEND)
        figure.legend(frameon=False, fontsize=8, ncols=4, loc="lower left")
    return figure


def return_against_history(title: str, returns: Series, marked: Sequence[dt.date], in_percent: bool = True) -> "Figure":
    """Daily returns, or changes in points, as bars, with the sessions in question in another colour."""
    figure, axes = _figure(title)
    known = [(s, v) for s, v in zip(returns.sessions, returns.values, strict=True) if v is not None]
    wanted = set(marked)
    for colour, width, chosen in (
        (FAINT, 1.0, [p for p in known if p[0] not in wanted]),
        (COLOURS[1], 2.0, [p for p in known if p[0] in wanted]),
    ):
        if chosen:
            sessions, values = zip(*chosen, strict=True)
            axes.vlines(sessions, 0, values, color=colour, linewidth=width)
    if in_percent:
        _in_percent(axes)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    return figure


def simulated(figure: "Figure") -> "Figure":
    """The same figure, and nobody can take it for a real market's."""
    for axes in figure.axes:
        _set_title(axes, f"SIMULATED  {axes.get_title(loc='left')}")
    return figure


def svg(figure: "Figure") -> str:
    """The figure as an SVG element that can stand inside a page."""
    import matplotlib as mpl

    target = BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(target, format="svg", metadata={"Date": None}, transparent=True)
    text = target.getvalue().decode("utf-8")
    return text[text.index("<svg") :]


def markdown_image(figure: "Figure", description: str) -> str:
    """The figure as a Markdown image that carries its own bytes, as the web UI shows it."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    with mpl.rc_context(_STYLE):
        figure.set_dpi(90)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    drawn, target = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), BytesIO()
    # Dagster stores it three times over: a palette takes half the bytes. Other methods lose the colour of a single dot.
    few_colours = drawn.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The last fifth of the bytes takes seven times as long.
    few_colours.save(target, format="png", compress_level=6)
    return f"![{description}](data:image/png;base64,{base64.b64encode(target.getvalue()).decode('ascii')})"


def _figure(title: str) -> "tuple[Figure, Axes]":
    import matplotlib as mpl
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 2.7))
        axes = figure.subplots()
    # Fixed: working a layout out takes matplotlib as long as drawing.
    figure.subplots_adjust(**_MARGINS)
    _set_title(axes, title)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    locator = AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return figure, axes


def _set_title(axes: "Axes", title: str) -> None:
    # Given a place: looking for a free one takes matplotlib a quarter of a picture's time.
    axes.set_title(title, loc="left", y=1.0, fontsize=9, color=INK)


def _in_percent(axes: "Axes") -> None:
    """Fractions as whole percents."""
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _draw(axes: "Axes", series: Series, colour: str, label: str | None = None) -> None:
    """A line that breaks where bars are missing."""
    sessions: list[Any] = []
    values: list[float] = []
    for session, value in zip(series.sessions, series.values, strict=True):
        if sessions and (session - sessions[-1]).days > LONGEST_BREAK_DAYS:
            sessions.append(sessions[-1] + dt.timedelta(days=1))
            values.append(float("nan"))
        sessions.append(session)
        values.append(float("nan") if value is None else value)
    axes.plot(sessions, values, color=colour, linewidth=1.3, label=label)
