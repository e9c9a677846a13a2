"""Assembles the Dagster definitions. Nothing is read from disk but settings, seeds and the prepared dbt manifest."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration.assets.brief import build_brief
from orchestration.assets.exposures import build_exposures
from orchestration.assets.ingest import build_ingest
from orchestration.assets.models import build_models
from orchestration.assets.publish import build_object_store, build_postgres, build_publish
from orchestration.automation.jobs import build_refresh_job
from orchestration.automation.schedules import build_schedule
from orchestration.automation.sensors import build_alert_sensor
from orchestration.checks.data_quality import build_data_checks
from orchestration.checks.market import build_market_checks
from orchestration.loading import loading
from orchestration.market.universe import load_universe
from orchestration.resources import bar_source_resource, lock_resource, ready_dbt_resource, silent_progress
from orchestration.settings import Settings, load_settings


def build_definitions(settings: Settings | None = None, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The code location.

    Args:
        settings: read from the environment when not given.
        resources: replacements by name: settings, bar_source, warehouse_lock, progress, ready_dbt.

    Raises:
        OrewatchError: a setting or a seed is wrong, or the dbt manifest is missing; one line says what to do.
    """
    with loading():
        return _assembled(settings or load_settings(), resources or {})


def _assembled(settings: Settings, resources: Mapping[str, Any]) -> dg.Definitions:
    universe = load_universe(settings.seeds)
    job = build_refresh_job(settings)
    assets = [build_ingest(settings), build_models(settings), build_publish(settings), build_brief(settings)]
    if settings.postgres_url.get_secret_value():
        assets.append(build_postgres(settings))
    if settings.store:
        assets += build_object_store(settings)
    return dg.Definitions(
        assets=[*assets, *build_exposures(settings)],
        asset_checks=[build_data_checks(), build_market_checks(universe, settings)],
        jobs=[job],
        schedules=[build_schedule(job, settings)],
        sensors=[build_alert_sensor(settings)],
        # A step of its own process would load the code location again: seconds for each.
        executor=dg.in_process_executor,
        resources={
            "settings": settings,
            "bar_source": bar_source_resource,
            "warehouse_lock": lock_resource,
            "progress": dg.ResourceDefinition.hardcoded_resource(silent_progress),
            "ready_dbt": ready_dbt_resource,
            **resources,
        },
    )
