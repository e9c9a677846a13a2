"""What has been kept for long enough goes: runs of Dagster, events of the outbox, briefs. The settings say how long.

A refresh does it after its checks, a little at a time, and never fails because of it. Nothing goes that somebody still
needs: see `instance.old_runs`; an event that could be flagged again; a delivery that is pending. A killed prune is gone
on with by the next: what says that there is something to remove is removed last. Published versions go with the next
publication (`publish.versions`). See docs/decisions/0032-retention.md.
"""

import datetime as dt
import time
from collections.abc import Sequence
from functools import partial

import dagster as dg

from orchestration.alerts.deliver import collect
from orchestration.alerts.outbox import opened_outbox
from orchestration.duckdb_io import rows
from orchestration.home import Home
from orchestration.instance.old_runs import delete_runs, give_space_back, old_runs, remove_looks
from orchestration.publish.manifest import readable_manifest

DAY_SECONDS = 86400.0

LATEST_SESSIONS = "select symbol, max(session_date) as latest from daily_bars group by symbol"


def prune(
    home: Home, instance: dg.DagsterInstance, *, keep_runs_days: int, keep_alerts_days: int, keep_briefs_days: int
) -> list[str]:
    """Remove what is older than it is to be kept; returns what could not be removed and why, a line each."""
    removals = {
        "runs": partial(_remove_runs, home, instance, keep_runs_days),
        "logs": partial(remove_looks, home, instance),
        "alerts": partial(_remove_alerts, home, keep_alerts_days),
        "briefs": partial(_remove_briefs, home, keep_briefs_days),
    }
    failures = []
    for what, remove in removals.items():
        try:
            remove()
        except Exception as error:  # whatever it is, a refresh has done its work without it
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            failures.append(f"old {what} could not be removed ({reason}); the next refresh tries again")
    return failures


def _remove_runs(home: Home, instance: dg.DagsterInstance, days: int) -> None:
    old = old_runs(home, instance, time.time() - days * DAY_SECONDS)
    if not old:
        return
    with opened_outbox(home.alerts) as outbox:
        # A run that went wrong is reported, even if nobody has looked at it for so long.
        collect(home, instance, outbox)
        delete_runs(instance, old)
        outbox.forget_runs(old)
    give_space_back(instance)


def _remove_alerts(home: Home, days: int) -> None:
    """Old events of the outbox that are pending nowhere and that no check can flag again.

    A check flags what is up to 30 days older than the latest session of an instrument; so an event's age is counted
    back from there, not from today: one of an instrument that trades no more stays flagged, and known as sent.
    """
    if not home.alerts.is_dir():  # whoever opens the outbox first says since when there is news
        return
    before = time.time() - days * DAY_SECONDS
    with opened_outbox(home.alerts) as outbox:
        if not outbox.has_settled(before):
            return
        latest = _latest_sessions(home)

        def is_over(symbols: Sequence[str], session: dt.date) -> bool:
            return bool(symbols) and all(s in latest and session < latest[s] - dt.timedelta(days=days) for s in symbols)

        outbox.forget(before, is_over)


def _latest_sessions(home: Home) -> dict[str, dt.date]:
    if readable_manifest(home.published) is None:
        return {}
    return {row["symbol"]: row["latest"] for row in rows(home.published_file, LATEST_SESSIONS)}


def _remove_briefs(home: Home, days: int) -> None:
    """Pages that were written long ago, whatever session they are about; `orewatch brief --date` writes them again."""
    before = time.time() - days * DAY_SECONDS
    # Those of watchlists lie in folders of their own.
    for path in (*home.briefs.glob("????-??-??.*"), *home.briefs.glob("*/????-??-??.*")):
        if path.suffix in (".html", ".md") and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
