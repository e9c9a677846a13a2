"""The one job: refresh everything."""

from typing import TYPE_CHECKING

import dagster as dg

from orchestration.instance import home_tags
from orchestration.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def build_refresh_job(settings: Settings) -> "UnresolvedAssetJobDefinition":
    """Fetch, build, audit, publish, check."""
    return dg.define_asset_job(
        "refresh",
        selection=dg.AssetSelection.all(),
        description="Bring everything up to date: fetch what is missing, build and audit the tables, publish, check.",
        tags={"source": settings.source, "simulated": str(settings.simulated).lower(), **home_tags(settings)},
    )
