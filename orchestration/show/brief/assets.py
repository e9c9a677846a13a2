"""The asset of the market brief."""

from pathlib import Path

import dagster as dg

from orchestration.asset_metadata import PUBLISH_GROUP, about
from orchestration.instance.progress import ProgressReporter
from orchestration.publish.assets import PUBLISHED
from orchestration.settings import Settings

BRIEF = dg.AssetKey(["published", "market_brief"])


def build_brief() -> dg.AssetsDefinition:
    """The brief of the latest session, from the published tables alone."""

    @dg.asset(
        key=BRIEF,
        deps=[PUBLISHED],
        group_name=PUBLISH_GROUP,
        kinds={"html", "markdown"},
        description="A short factual page about the latest session.\n\nWhat moved and how unusual it was,"
        " levels met and near, gaps of pairs, listed companies, metals, volatility against trend.",
        metadata=about("docs/brief.md", Path(__file__)),
    )
    def market_brief(
        settings: dg.ResourceParam[Settings], progress: dg.ResourceParam[ProgressReporter]
    ) -> dg.MaterializeResult:
        from orchestration.show.brief.pages import write_brief

        progress(0, 0, "writing the brief")
        written = write_brief(settings.paths)
        return dg.MaterializeResult(
            metadata={
                "brief": dg.MetadataValue.md(written.brief.markdown),
                "latest_session": str(written.session),
                "page": dg.MetadataValue.path(written.html),
                "markdown": dg.MetadataValue.path(written.markdown),
            }
        )

    return market_brief


def load_drawing() -> None:
    """Load what the brief and the pictures of checks need; a refresh does it while it waits for dbt."""
    import jinja2  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.dates  # noqa: F401

    import orchestration.show.brief.pages  # noqa: F401
