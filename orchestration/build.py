"""Assembles the Dagster definitions. Nothing is read from disk but settings, seeds and the prepared dbt manifest."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration.alerts.sensor import build_alert_sensor, note_new_events, remove_old
from orchestration.asset_metadata import described
from orchestration.ingest.assets import build_ingest
from orchestration.instance.loading import loading
from orchestration.instance.progress import silent_progress
from orchestration.market.universe import load_universe
from orchestration.publish.assets import build_publish, fill_lake, mend_readers, readers_table
from orchestration.publish.audit import build_data_checks
from orchestration.publish.copies import copies
from orchestration.resources import bar_source_resource, dbt_resource, lock_resource
from orchestration.schedules import build_refresh_job, build_schedule
from orchestration.settings import Settings, load_settings
from orchestration.show.brief.assets import build_brief, load_drawing
from orchestration.show.exposures import build_exposures
from orchestration.signals.checks import build_market_checks
from orchestration.transform.assets import build_models
from orchestration.transform.manifest import read_manifest


def build_definitions(settings: Settings | None = None, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The code location.

    Args:
        settings: read from the environment when not given.
        resources: replacements by name: settings, bar_source, warehouse_lock, progress, dbt.

    Raises:
        OrewatchError: a setting or a seed is wrong, or the dbt manifest is missing; one line says what to do.
    """
    with loading():
        return _assembled(settings or load_settings(), resources or {})


def _assembled(settings: Settings, resources: Mapping[str, Any]) -> dg.Definitions:
    universe = load_universe(settings.seeds, settings.currency)
    job = build_refresh_job(settings.paths)
    assets = [
        build_ingest(settings, read_manifest()["sources"], mend_readers, fill_lake),
        build_models(settings, load_drawing, readers_table),
        build_publish(),
        build_brief(),
    ]
    assets += [step.build(settings) for copy in copies(settings) for step in copy.steps]
    return dg.Definitions(
        assets=described([*assets, *build_exposures()], settings.source, settings.simulated),
        asset_checks=[build_data_checks(), build_market_checks(universe, settings, note_new_events, remove_old)],
        jobs=[job],
        schedules=[build_schedule(job, settings.paths)],
        sensors=[build_alert_sensor(settings)],
        # A step of its own process would load the code location again: seconds for each.
        executor=dg.in_process_executor,
        resources={
            "settings": settings,
            "bar_source": bar_source_resource,
            "warehouse_lock": lock_resource,
            "progress": dg.ResourceDefinition.hardcoded_resource(silent_progress),
            "dbt": dbt_resource,
            **resources,
        },
    )
