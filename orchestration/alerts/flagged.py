"""What market checks flag goes into the outbox of alerts before anything is shown of it."""

from collections.abc import Mapping

from orchestration.alerts.deliver import note_flagged
from orchestration.alerts.outbox import opened_outbox
from orchestration.publish.manifest import current_manifest, is_in_place, is_whole, version_folder
from orchestration.settings import Settings
from orchestration.signals.new_events import GROUPS, Flags, evaluated_version, flags


def note(settings: Settings, shown: Mapping[str, Flags], run_id: str | None = None) -> None:
    """Note what each group of checks flags in the outbox of alerts, as found by a run, before anything is shown.

    After a kill in between the checks show it again and the outbox knows it.
    """
    for version in {found.version for found in shown.values()} - {0}:  # one, unless somebody published
        flagged = {group: found.rows for group, found in shown.items() if found.version == version}
        note_flagged(settings, flagged, version, run_id)


def note_what_is_missing(settings: Settings) -> None:
    """Note what is flagged at this moment in a outbox that does not know it: a new one, or an old copy put back.

    The market checks note only what they look at, and do not look twice at a version.
    """
    manifest = current_manifest(settings.paths.published)
    if manifest is None:
        return
    with opened_outbox(settings.paths.alerts) as outbox:
        if outbox.has_noted(manifest.version):  # nearly always so
            return
    # What the checks have not seen yet, or what has to be published again, they will note themselves.
    if (
        evaluated_version(settings) == manifest.version
        and is_in_place(settings.paths.published, manifest)
        and is_whole(version_folder(settings.paths.published, manifest.version))
    ):
        note(settings, {group: flags(settings, group) for group in GROUPS})
