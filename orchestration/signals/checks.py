"""The market checks: they fail, as warnings, when something happened in the market since they were last evaluated.

All of them stand on the mart of events and run in one step: every step costs seconds. They read the published version
only.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from orchestration.asset_metadata import SIMULATED
from orchestration.home import Home
from orchestration.market.universe import Universe
from orchestration.publish.assets import PUBLISHED
from orchestration.publish.audit import offenders_table
from orchestration.settings import Settings
from orchestration.signals.registry import signals
from orchestration.signals.signal import Row, Signal

if TYPE_CHECKING:
    from orchestration.signals.new_events import NewEvents

MARKET_SIGNALS = dg.AssetKey("market_signals")

# Name of the one step; a failed check of any other is about the data.
MARKET_STEP = "market_checks"


class MarketCheck(NamedTuple):
    """One check: its name, its kind of signal, what rows of the kind call it, and what happened when it fails."""

    name: str
    signal: Signal
    check: str
    description: str


def market_checks(universe: Universe) -> list[MarketCheck]:
    """The checks of all kinds. Where two kinds give one name, that of the later one ends in the kind."""
    found: dict[str, MarketCheck] = {}
    for kind in signals():
        for check, description in kind.checks(universe).items():
            name = f"{check}_{kind.name}" if check in found else check
            found[name] = MarketCheck(name, kind, check, description)
    return list(found.values())


def check_keys(universe: Universe) -> set[dg.AssetCheckKey]:
    """Of the market checks: dbt's tests stand on the same asset."""
    return {dg.AssetCheckKey(MARKET_SIGNALS, check.name) for check in market_checks(universe)}


def build_market_checks(
    universe: Universe,
    settings: Settings,
    note: "Callable[[Home, NewEvents, str], None]",
    prune: Callable[[Settings, dg.DagsterInstance], list[str]],
) -> dg.AssetChecksDefinition:
    """All market checks, in one step.

    Args:
        universe: what is watched.
        settings: name the home.
        note: gets what is flagged, and by which run, before it is shown.
        prune: removes at the end what has been kept for long enough; a line for each thing that could not be removed.
    """
    checks = market_checks(universe)
    label = SIMULATED if settings.simulated else ""

    @dg.multi_asset_check(
        name=MARKET_STEP,
        specs=[
            dg.AssetCheckSpec(
                check.name, asset=MARKET_SIGNALS, additional_deps=[PUBLISHED], description=label + check.description
            )
            for check in checks
        ],
    )
    def evaluated(
        context: dg.AssetCheckExecutionContext,
        settings: dg.ResourceParam[Settings],
        warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001  (held while the step runs)
    ) -> Iterator[dg.AssetCheckResult]:
        from orchestration.publish.manifest import version_file
        from orchestration.signals.new_events import new_events, save

        found = new_events(settings.paths, [check.check for check in checks])
        note(settings.paths, found, context.run.run_id)
        published = version_file(settings.paths.published, found.state.version)
        for check in checks:
            rows = found.of_check(check.signal.name, check.check)
            picture: dict[str, Any] = {}
            if rows:
                try:
                    picture = _picture(check, published, rows, label)
                except Exception as error:  # a missing picture must not hide what it was to show
                    context.log.warning(f"{check.name}: no picture: {error!r}")
            yield _result(check, rows, picture, label)
        save(settings.paths, found.state)
        for line in prune(settings, context.instance):
            context.log.warning(line)

    return evaluated


def _result(check: MarketCheck, rows: Sequence[Row], picture: dict[str, Any], label: str) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "simulated": bool(label),
        # A number: the web UI draws it over the evaluations.
        "flagged": len(rows),
        "table": dg.MetadataValue.asset(dg.AssetKey(check.signal.mart)),
    }
    if rows:
        columns = check.signal.columns.split()
        metadata |= picture | offenders_table([{name: row[name] for name in columns} for row in rows])
    return dg.AssetCheckResult(
        asset_key=MARKET_SIGNALS,
        check_name=check.name,
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        description=label + (check.signal.summarize(rows) if rows else "Nothing new"),
        metadata=metadata,
    )


def _picture(check: MarketCheck, published: Path, rows: Sequence[Row], label: str) -> dict[str, Any]:
    """Metadata: the picture of a check's rows, if its kind draws one."""
    from orchestration.signals import plots

    figure = check.signal.plot(published, rows) if check.signal.plot else None
    if figure is None:
        return {}
    if label:
        plots.simulated(figure)
    return {"plot": dg.MetadataValue.md(plots.markdown_image(figure, f"{label}{check.name}"))}
