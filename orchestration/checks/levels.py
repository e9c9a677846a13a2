"""One check per watched level: it fails, as a warning, when the price met the level since the last evaluation."""

from collections.abc import Iterator

import dagster as dg

from orchestration.assets.publish import PUBLISHED
from orchestration.checks.data_quality import offenders_table
from orchestration.market.universe import PriceLevel, Universe
from orchestration.settings import Settings

LEVEL_EVENTS = dg.AssetKey("level_events")


def build_level_checks(universe: Universe, settings: Settings) -> dg.AssetChecksDefinition | None:
    """The level checks, in one step; none where no level is watched."""
    if not universe.levels:
        return None
    label = "SIMULATED prices. " if settings.simulated else ""

    @dg.multi_asset_check(
        name="level_checks",
        specs=[
            dg.AssetCheckSpec(
                level.level_id,
                asset=LEVEL_EVENTS,
                additional_deps=[PUBLISHED],
                description=f"{label}{describe(level)}",
            )
            for level in universe.levels
        ],
        required_resource_keys={"settings", "warehouse_lock"},
    )
    def level_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from orchestration.checks.flags import flags, remember

        current: Settings = context.resources.settings
        shown = flags(current, "levels", [level.level_id for level in universe.levels])
        for level in universe.levels:
            events = shown.by_check.get(level.level_id, [])
            yield dg.AssetCheckResult(
                asset_key=LEVEL_EVENTS,
                check_name=level.level_id,
                passed=not events,
                severity=dg.AssetCheckSeverity.WARN,
                description=label + summary(events),
                metadata={"simulated": current.simulated, **offenders_table(events, without=("level_id", "event_id"))},
            )
        remember(current, "levels", shown)

    return level_checks


def describe(level: PriceLevel) -> str:
    """The level in words."""
    price = f"zone {level.lower:g} to {level.upper:g}" if level.is_zone else f"{level.lower:g}"
    note = f": {level.note}" if level.note else ""
    return f"{level.symbol} has not met {price} ({level.kind}) since the last evaluation{note}."


def summary(events: list[dict]) -> str:
    """The latest event in words."""
    if not events:
        return "No event"
    latest = events[0]
    event = str(latest["event"]).replace("_", " ")
    more = f" and {len(events) - 1} more" if len(events) > 1 else ""
    where = f"{latest['direction']} at {latest['level']:g}, close {latest['close']:g}"
    return f"{latest['session_date']}: {event} {where}{more}"
