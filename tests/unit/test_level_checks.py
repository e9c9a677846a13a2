"""What a level check says and draws: the level where it stood when it was met, whatever its seed says."""

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pytest
from matplotlib.figure import Figure

from orchestration.market.universe import load_universe
from orchestration.signals.levels import LEVELS, edges_text, place, plot
from orchestration.signals.wording import is_zone
from tests.jobs import small_seeds

FIRST, SPLIT, LAST = dt.date(2026, 1, 5), dt.date(2026, 1, 6), dt.date(2026, 1, 7)


def event(session: dt.date, name: str = "zone_entered", **values: Any) -> dict[str, Any]:
    row = {"session_date": session, "symbol": "AAA", "level_id": "zone", "event": name, "direction": "up"}
    return {**row, "level": 54.0, "lower": 54.0, "upper": 56.0, "close": 55.0, "role_after": None, **values}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Three bars with a 2-for-1 split at the second: split-adjusted closes of 53, 54.5 and 55."""
    path = tmp_path / "market.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create table daily_bars (symbol text, session_date date, close double, close_as_traded double)"
        )
        connection.executemany(
            "insert into daily_bars values ('AAA', ?, ?, ?)",
            [(FIRST, 53.0, 106.0), (SPLIT, 54.5, 54.5), (LAST, 55.0, 55.0)],
        )
    return path


def test_the_words_are_about_the_level_of_the_session(tmp_path: Path) -> None:
    assert LEVELS.summarize([event(LAST), event(FIRST)]) == (
        "2026-01-07: closed inside the zone 54-56, close 55, and 1 more"
    )
    # What the check watches is named as the seed names it: the zone before the split, at 108 to 112.
    seeds = small_seeds(tmp_path / "seeds", "AAA", levels="zone,AAA,108,112,support,2026-01-05,\n")
    assert LEVELS.checks(load_universe(seeds)) == {"zone": "AAA met the zone 108-112 (support)."}


def drawn(figure: Figure) -> tuple[float, float]:
    """Lower and upper edge of the band."""
    (band,) = figure.axes[0].patches
    box = band.get_extents().transformed(figure.axes[0].transData.inverted())
    return round(box.y0, 6), round(box.y1, 6)


def test_the_picture_has_closes_and_level_in_the_prices_of_the_latest_session(published: Path) -> None:
    figure = plot(published, [event(LAST), event(FIRST, lower=108.0, upper=112.0)])
    assert list(figure.axes[0].lines[0].get_ydata()) == [53.0, 54.5, 55.0]
    assert drawn(figure) == (54.0, 56.0)
    assert [text.get_text() for text in figure.axes[0].texts] == ["54-56"]
    # Before the split was known.
    figure = plot(published, [event(FIRST, lower=108.0, upper=112.0)])
    assert list(figure.axes[0].lines[0].get_ydata()) == [106.0]
    assert drawn(figure) == (108.0, 112.0)


def test_prices_are_written_out() -> None:
    assert edges_text(54.0, 56.0) == "54-56"
    assert edges_text(1234567.5, 1234567.5) == "1234567.5"


def test_a_zone_is_told_from_a_line_by_its_edges() -> None:
    assert is_zone({"lower": 54.0, "upper": 56.0})
    assert not is_zone({"lower": 54.0, "upper": 54.0})
    assert not is_zone({"level": 54.0})
    assert place({"level": 54.0, "lower": 54.0, "upper": 54.0}, "{:g}".format) == "54"


def test_a_level_on_an_average_or_a_ratio_is_said_in_words() -> None:
    below = {"series": "sma_200", "lower": 1.0, "upper": 1.0, "level": 1.0, "close": 0.98, "currency": "USD"}
    row = event(LAST, "close_cross", direction="down", **below)
    assert LEVELS.summarize([row]) == (
        "2026-01-07: closed below its average of 200 closes, close 0.98 times its average"
    )
    assert LEVELS.sentence(row, "AAA (a fund)", "{:g}".format) == "AAA (a fund) closed below its average of 200 closes"
    zone = event(LAST, "zone_exited", **{**below, "lower": 0.9, "upper": 1.1})
    assert LEVELS.line(zone, "{:g}".format) == "AAA left 0.9-1.1 times its average of 200 closes upwards"
    ratio = {"series": "gold_to_silver", "lower": 80.0, "upper": 80.0, "level": 80.0, "close": 80.53, "currency": "USD"}
    row = event(LAST, "close_cross", **ratio)
    assert LEVELS.summarize([row]) == "2026-01-07: closed above 80, close 80.53"
    assert LEVELS.line(row, "{:g}".format) == "gold to silver closed above 80"


def test_levels_on_series_are_described_as_their_seed_names_them(tmp_path: Path) -> None:
    seeds = small_seeds(tmp_path / "seeds", "AAA", levels="average,AAA,1,1,support,2026-01-05,\n")
    path = seeds / "price_levels.csv"
    path.write_text(path.read_text().replace("note\n", "note,series\n").replace("05,\n", "05,,sma_50\n"))
    assert LEVELS.checks(load_universe(seeds)) == {"average": "AAA met its average of 50 closes (support)."}


def test_the_picture_of_a_series_has_its_values(published: Path) -> None:
    with duckdb.connect(str(published)) as connection:
        connection.execute("create table level_daily (level_id text, session_date date, close double)")
        connection.executemany(
            "insert into level_daily values (?, ?, ?)",
            [("ratio", FIRST, 79.0), ("ratio", LAST, 80.5), ("x", LAST, 1.0)],
        )
    row = event(LAST, "close_cross", level_id="ratio", series="gold_to_silver", lower=80.0, upper=80.0)
    figure = plot(published, [row])
    assert list(figure.axes[0].lines[0].get_ydata()) == [79.0, 80.5]
    assert figure.axes[0].get_title(loc="left") == "gold to silver"
