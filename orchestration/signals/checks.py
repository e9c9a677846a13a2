"""The market checks: they fail, as warnings, when something happened in the market since they were last evaluated.

All of them run in one step: every step costs seconds. They read the published version only.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.market.universe import Universe
from orchestration.publish.assets import PUBLISHED
from orchestration.publish.audit import offenders_table
from orchestration.settings import Settings
from orchestration.signals.group import CheckGroup
from orchestration.signals.levels import extreme_checks, level_checks
from orchestration.signals.moves import move_checks
from orchestration.signals.pairs import pair_checks
from orchestration.signals.volatility import volatility_checks

if TYPE_CHECKING:
    from orchestration.signals.new_events import Flags


# Name of the one step; a failed check of any other is about the data.
MARKET_STEP = "market_checks"


def check_groups(universe: Universe) -> list[CheckGroup]:
    """One check per level, move rule and pair; one each for extremes, round numbers and volatility spikes."""
    return [
        level_checks(universe),
        extreme_checks(),
        move_checks(universe),
        pair_checks(universe),
        volatility_checks(),
    ]


def build_market_checks(
    universe: Universe,
    settings: Settings,
    note: Callable[[Settings, "Mapping[str, Flags]", str], None],
    prune: Callable[[Settings, dg.DagsterInstance], list[str]],
) -> dg.AssetChecksDefinition:
    """All market checks, in one step.

    Args:
        universe: what is watched.
        settings: name the home.
        note: gets what is flagged, and by which run, before it is shown.
        prune: removes at the end what has been kept for long enough; a line for each thing that could not be removed.
    """
    groups = check_groups(universe)
    label = "SIMULATED prices. " if settings.simulated else ""

    @dg.multi_asset_check(
        name=MARKET_STEP,
        specs=[
            dg.AssetCheckSpec(name, asset=group.asset, additional_deps=[PUBLISHED], description=label + description)
            for group in groups
            for name, description in group.checks.items()
        ],
        required_resource_keys={"settings", "warehouse_lock"},
    )
    def market_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from orchestration.publish.manifest import version_file
        from orchestration.signals import plots
        from orchestration.signals.new_events import flags, remember

        current: Settings = context.resources.settings
        shown = {group.name: flags(current, group.name, group.checks) for group in groups}
        note(current, shown, context.run.run_id)
        for group in groups:
            found = shown[group.name]
            for name in group.checks:
                rows = found.by_check.get(name, [])
                metadata: dict[str, Any] = {
                    "simulated": current.simulated,
                    # A number: the web UI draws it over the evaluations.
                    "flagged": len(rows),
                    "table": dg.MetadataValue.asset(group.asset),
                }
                if rows:
                    try:
                        figure = group.plot(version_file(current.paths.published, found.version), name, rows)
                        if figure is not None:
                            if current.simulated:
                                plots.simulated(figure)
                            metadata["plot"] = dg.MetadataValue.md(plots.markdown_image(figure, f"{label}{name}"))
                    except Exception as error:  # a missing picture must not hide what it was to show
                        context.log.warning(f"{name}: no picture: {error!r}")
                    metadata |= offenders_table(rows, without=group.hidden)
                yield dg.AssetCheckResult(
                    asset_key=group.asset,
                    check_name=name,
                    passed=not rows,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=label + (group.summary(name, rows) if rows else "Nothing new"),
                    metadata=metadata,
                )
        remember(current, shown)
        for line in prune(current, context.instance):
            context.log.warning(line)

    return market_checks
