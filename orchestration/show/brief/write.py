"""Writing a brief to disk."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from orchestration.files import write_text
from orchestration.home import Home
from orchestration.show.brief.facts import read_facts
from orchestration.show.brief.page import Brief, render


@dataclass(frozen=True)
class WrittenBrief:
    """Where a brief lies.

    Attributes:
        session: the session that it is about.
        html: the page.
        markdown: the same words as Markdown.
        brief: its contents.
    """

    session: dt.date
    html: Path
    markdown: Path
    brief: Brief


def write_brief(home: Home, session: dt.date | None = None) -> WrittenBrief:
    """Write the brief of a session, the latest if none is named, to `<root>/briefs/<session>.html` and `.md`.

    Raises:
        OrewatchError: nothing is published, or no instrument has a bar on that day.
    """
    facts = read_facts(home, session)
    brief = render(facts)
    folder = home.briefs
    written = WrittenBrief(facts.session, folder / f"{facts.session}.html", folder / f"{facts.session}.md", brief)
    for path, text in ((written.html, brief.html), (written.markdown, brief.markdown)):
        write_text(path, text)
    return written
