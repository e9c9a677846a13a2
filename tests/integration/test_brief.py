"""The brief of the real job: its numbers are the tables', it needs no network, and it knows nothing of later days."""

import datetime as dt
import re
from pathlib import Path

import pandas as pd
import pytest

from orchestration.duckdb_io import reading
from orchestration.evidence.as_of import statistics_as_of
from orchestration.evidence.tables import SCHEMAS, STUDY
from orchestration.market.errors import OrewatchError
from orchestration.settings import Settings
from orchestration.show.brief.pages import write_brief
from tests.homes import clone
from tests.jobs import published

pytestmark = pytest.mark.integration

SESSION = dt.date(2026, 1, 30)


FOLLOWED = "What usually followed"


@pytest.fixture(scope="module")
def then(sample_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The store as it was on the evening of the session."""
    return Settings(home=clone(sample_home, tmp_path_factory.mktemp("then") / "home"), as_of=SESSION)


@pytest.fixture(scope="module")
def later(later_home: Path) -> Settings:
    """The store some weeks later."""
    return Settings(home=later_home, as_of=dt.date(2026, 3, 6))


def test_the_job_writes_the_brief_of_the_latest_session(then: Settings) -> None:
    assert {path.name for path in then.paths.briefs.iterdir()} == {"2026-01-30.html", "2026-01-30.md"}


def test_a_past_session_is_told_as_it_was_known_then(then: Settings, later: Settings) -> None:
    """What usually followed as well, and the record of each verdict."""

    def comparable(text: str) -> str:
        return re.sub(r"published version \d+ of [-\d]+ [:\d]+ UTC", "", text)

    at_the_time, afterwards = write_brief(then.paths).brief, write_brief(later.paths, SESSION).brief
    assert comparable(afterwards.markdown) == comparable(at_the_time.markdown)
    assert comparable(afterwards.html) == comparable(at_the_time.html)
    assert f"## {FOLLOWED}" in at_the_time.markdown
    assert "Its record over 21 sessions" in at_the_time.markdown


def test_what_is_said_of_studies_as_of_a_day_is_what_was_published_on_it(then: Settings, later: Settings) -> None:
    """But for q and finding: they are among the published outcomes, which tiers have none of."""
    left_out = {"q_value", "finding"}
    columns = [name for name in SCHEMAS["study_statistics"].names if name not in left_out]
    at_the_time = published(then, "select * from signal_statistics where scope in ('symbol', 'pair')")
    for settings in (then, later):
        with reading(settings.paths.published_file) as connection:
            known = statistics_as_of(connection, SESSION).to_pandas()
        both = [frame[columns].sort_values([*STUDY, "sessions"]) for frame in (known, pd.DataFrame(at_the_time))]
        both = [frame.reset_index(drop=True) for frame in both]
        pd.testing.assert_frame_equal(*both, check_dtype=False, rtol=1e-9, atol=1e-12)


def test_what_usually_followed_is_that_of_the_tables(then: Settings) -> None:
    """Falls of silver of 5 % or more are told with the count, the share and the base rate of their study."""
    (study,) = published(
        then,
        "select * from signal_statistics where study_id = 'silver_falls_of_5_percent' and sessions = 21",
    )
    said = (
        f"Falls of 5% or more in SI=F: {study['episodes']} separate ones since 2018; 21 sessions later higher in"
        f" {study['up']} of {study['matured']}"
    )
    assert said in write_brief(then.paths).brief.markdown


def test_its_numbers_are_those_of_the_tables(then: Settings) -> None:
    text = write_brief(then.paths).brief.markdown
    rows = published(
        then,
        "select symbol, return_1d, drawdown from returns inner join trend using (symbol, session_date)"
        " where session_date = ? and return_1d is not null",
        SESSION,
    )
    assert len(rows) > 20
    for row in rows:
        moves = text.partition("## What moved")[2].partition("## Levels")[0]
        (line,) = [line for line in moves.splitlines() if line.startswith(f"| {row['symbol']} |")]
        assert f" {row['return_1d']:+.2%} " in line
        assert f" {row['drawdown']:+.2%} " in line


def test_the_page_says_simulated_and_needs_no_network(then: Settings) -> None:
    brief = write_brief(then.paths).brief
    assert "SIMULATED" in brief.html
    assert "SIMULATED" in brief.markdown
    assert brief.html.count("<svg") >= 4
    # Names of XML namespaces are no addresses to fetch.
    fetched = re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^"']*|url\((?!#)[^)]*\)|@import[^;]*|<script""", brief.html)
    assert [found for found in fetched if "xlink" not in found] == []


def test_the_brief_of_a_watchlist_is_about_its_instruments(then: Settings) -> None:
    written = write_brief(then.paths, watchlist="core")
    assert written.html == then.paths.briefs / "core" / "2026-01-30.html"
    text = written.brief.markdown
    assert text.splitlines()[0].endswith("Orewatch market brief, Friday 30 January 2026: watchlist core")
    moves = text.partition("## What moved")[2].partition("## Levels")[0]
    shown = re.findall(r"^\| (\S+) \|", moves, flags=re.MULTILINE)
    assert sorted(set(shown) - {"symbol", "---"}) == ["GC=F", "GDX", "GDXJ", "GLD", "SI=F", "SIL", "SILJ", "SLV"]
    with pytest.raises(OrewatchError, match="--watchlist=mine: no instrument is on it; allowed: abroad, core, plat"):
        write_brief(then.paths, watchlist="mine")


def test_the_brief_of_a_watchlist_leaves_other_metals_out(then: Settings) -> None:
    text = write_brief(then.paths, watchlist="platinum_group").brief.markdown
    assert "GLD against PPLT: log difference over 21 sessions" in text  # GLD itself is not on it
    assert "Listed companies" not in text
    abroad = write_brief(then.paths, watchlist="abroad").brief.markdown.partition("## Listed companies")[2]
    sectors = re.findall(r"^\| (Silver|Gold|Platinum)(?:, (\w+))? \|", abroad, flags=re.MULTILINE)
    assert sectors == [
        ("Silver", ""),
        ("Silver", "Seniors"),
        ("Silver", "Juniors"),
        *[("Gold", s) for s in ("", "Seniors", "Juniors")],
    ]


def test_what_is_in_points_is_told_in_points(then: Settings) -> None:
    (row,) = published(then, "select * from returns where symbol = '^TNX' and session_date = ?", SESSION)
    assert row["return_1d"] is None
    text = write_brief(then.paths).brief.markdown
    (line,) = [line for line in text.splitlines() if line.startswith("| ^TNX |")]
    assert f"| {row['point_change_1d']:+,.4g} points |" in line


def test_a_day_without_bars_is_refused_with_the_nearest_sessions(then: Settings) -> None:
    with pytest.raises(OrewatchError, match="no instrument has a bar on 2026-01-31; nearest sessions: 2026-01-30"):
        write_brief(then.paths, dt.date(2026, 1, 31))


def test_nothing_published_is_said(tmp_path: Path) -> None:
    with pytest.raises(OrewatchError, match="nothing has been published yet"):
        write_brief(Settings(source="sample", home=tmp_path).paths)
