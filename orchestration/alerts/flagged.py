"""What market checks flag goes into the outbox of alerts before anything is shown of it."""

import time

from orchestration.alerts.messages import Alert
from orchestration.alerts.outbox import opened_outbox
from orchestration.home import Home
from orchestration.publish.manifest import current_manifest, is_in_place, is_whole, version_folder
from orchestration.signals.new_events import NewEvents, evaluated_version, new_events
from orchestration.signals.registry import signals
from orchestration.signals.signal import Row


def alerts_of(found: NewEvents) -> list[Alert]:
    """The alerts of flagged events, one for each that is known by an id of its own."""
    alerts = []
    for kind in signals():
        events: dict[str, list[Row]] = {}
        for row in found.rows.get(kind.name, ()):
            events.setdefault(kind.alert_id(row), []).append(row)
        for event_id, rows in events.items():
            first, text = rows[0], kind.alert_text(rows)
            about = (first["severity"], text.symbols or (first["symbol"],), first["session_date"])
            alerts.append(Alert(event_id, kind.alert_kind, *about, text.title, text.lines, text.rank))
    return alerts


def note(home: Home, found: NewEvents, run_id: str | None = None) -> None:
    """Note what market checks flag, as found by a run, before anything is shown, in one transaction.

    Events that are in the outbox already stay as they are: after a kill in between the checks show them again. The
    events of a run are queued together when it has ended.
    """
    if not found.state.version:  # nothing is published
        return
    alerts = alerts_of(found)
    with opened_outbox(home.alerts) as outbox:
        outbox.record(alerts, time.time(), run_id, found.state.version)


def note_what_is_missing(home: Home) -> None:
    """Note what is flagged at this moment in an outbox that does not know it: a new one, or an old copy put back.

    The market checks note only what they look at, and do not look twice at a version.
    """
    manifest = current_manifest(home.published)
    if manifest is None:
        return
    with opened_outbox(home.alerts) as outbox:
        if outbox.has_noted(manifest.version):  # nearly always so
            return
    # What the checks have not seen yet, or what has to be published again, they will note themselves.
    if (
        evaluated_version(home) == manifest.version
        and is_in_place(home.published, manifest)
        and is_whole(version_folder(home.published, manifest.version))
    ):
        note(home, new_events(home))
