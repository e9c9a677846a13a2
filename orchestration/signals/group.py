"""What a group of market checks needs to say of itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]

# Days that a plot looks back over.
PLOT_DAYS = 365


@dataclass(frozen=True)
class CheckGroup:
    """Market checks on one mart.

    Attributes:
        name: of the group in `signals.new_events`.
        asset: the mart.
        checks: description of each check by its name.
        summary: the flagged rows of a check in words; called with its name and at least one row.
        plot: a picture of them from the published DuckDB file; None where there is nothing to draw.
        hidden: columns of the rows that the table of offenders leaves out.
    """

    name: str
    asset: dg.AssetKey
    checks: Mapping[str, str]
    summary: Callable[[str, Sequence[Row]], str]
    plot: "Callable[[Path, str, Sequence[Row]], Figure | None]"
    hidden: tuple[str, ...] = ()


def and_more(shown: Sequence[str], count: int) -> str:
    """The first few of `count` things, and how many more there are."""
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return ", ".join(shown) + more
