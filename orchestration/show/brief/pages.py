"""The brief as a page (HTML, in one file without network) and as Markdown, and both on the disk."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.files import write_text
from orchestration.home import Home
from orchestration.show.brief.facts import Facts, read_facts
from orchestration.show.brief.words import headline, sections, spoken

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Brief:
    """The written brief: the same words in two forms."""

    title: str
    html: str
    markdown: str


@dataclass(frozen=True)
class WrittenBrief:
    """Where the page and the Markdown of a session's brief lie, and what they hold."""

    session: dt.date
    html: Path
    markdown: Path
    brief: Brief


def write_brief(home: Home, session: dt.date | None = None, watchlist: str = "") -> WrittenBrief:
    """Write the brief of a session, the latest if none is named, to `<root>/briefs/<session>.html` and `.md`.

    Args:
        home: whose published version is read.
        session: the day that it is about.
        watchlist: only of its instruments; the files lie in a folder of its name.

    Raises:
        OrewatchError: nothing is published, no instrument is on the watchlist, or none has a bar on that day.
    """
    facts = read_facts(home, session, watchlist)
    brief = render(facts)
    folder = home.briefs / watchlist
    written = WrittenBrief(facts.session, folder / f"{facts.session}.html", folder / f"{facts.session}.md", brief)
    for path, text in ((written.html, brief.html), (written.markdown, brief.markdown)):
        write_text(path, text)
    return written


def render(facts: Facts) -> Brief:
    """Write the facts out."""
    from orchestration.show.brief.charts import charts
    from orchestration.signals import plots

    title = f"Orewatch market brief, {spoken(facts.session)}"
    if facts.watchlist:
        title += f": watchlist {facts.watchlist}"
    shared = {
        "title": title,
        "simulated": facts.manifest.simulated,
        "manifest": facts.manifest,
        "published_at": f"{dt.datetime.fromisoformat(facts.manifest.published_at):%Y-%m-%d %H:%M} UTC",
        "headline": headline(facts),
        "sections": sections(facts),
    }
    marked = plots.simulated if facts.manifest.simulated else lambda figure: figure
    drawings = [(caption, plots.svg(marked(figure))) for caption, figure in charts(facts)]
    return Brief(title, _rendered("brief.html.j2", charts=drawings, **shared), _rendered("brief.md.j2", **shared))


def _rendered(template: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        # Markdown may hold HTML; a name may not.
        finalize=None if template.endswith(".html.j2") else _without_tags,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["table_row"] = _table_row
    return environment.get_template(template).render(values)


def _without_tags(value: object) -> object:
    return value.replace("<", "&lt;") if isinstance(value, str) else value


def _table_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table; a bar inside a cell must not end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
