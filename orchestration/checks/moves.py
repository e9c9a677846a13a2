"""One check per move rule: it fails, as a warning, when a move broke the rule since the last evaluation."""

from collections.abc import Iterator

import dagster as dg

from orchestration.assets.publish import PUBLISHED
from orchestration.checks.data_quality import offenders_table
from orchestration.market.universe import MoveRule, Universe
from orchestration.settings import Settings

LARGE_MOVES = dg.AssetKey("large_moves")


def build_move_checks(universe: Universe, settings: Settings) -> dg.AssetChecksDefinition | None:
    """The move checks, in one step; none where no rule is set."""
    if not universe.move_rules:
        return None
    label = "SIMULATED prices. " if settings.simulated else ""

    @dg.multi_asset_check(
        name="move_checks",
        specs=[
            dg.AssetCheckSpec(
                rule.rule_id, asset=LARGE_MOVES, additional_deps=[PUBLISHED], description=f"{label}{describe(rule)}"
            )
            for rule in universe.move_rules
        ],
        required_resource_keys={"settings", "warehouse_lock"},
    )
    def move_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from orchestration.checks.flags import flags, remember

        current: Settings = context.resources.settings
        shown = flags(current, "moves", [rule.rule_id for rule in universe.move_rules])
        for rule in universe.move_rules:
            moves = shown.by_check.get(rule.rule_id, [])
            yield dg.AssetCheckResult(
                asset_key=LARGE_MOVES,
                check_name=rule.rule_id,
                passed=not moves,
                severity=dg.AssetCheckSeverity.WARN,
                description=label + summary(moves),
                metadata={"simulated": current.simulated, **offenders_table(moves)},
            )
        remember(current, "moves", shown)

    return move_checks


def describe(rule: MoveRule) -> str:
    """The rule in words."""
    who = "every instrument" if rule.scope == "all" else f"{rule.scope.replace('_', ' ')} {rule.scope_value}"
    if rule.measure == "return_1d":
        return f"No daily total return of {rule.threshold:.1%} or more, up or down, in {who}."
    return (
        f"No return beyond {rule.threshold:g} standard deviations of the {rule.sessions} returns before it, in {who}."
    )


def summary(moves: list[dict]) -> str:
    """The largest moves in words."""
    if not moves:
        return "No move broke the rule"
    largest = sorted(moves, key=lambda row: -abs(row["return_1d"]))
    named = ", ".join(f"{row['symbol']} {row['return_1d']:+.2%}" for row in largest[:5])
    more = f" and {len(moves) - 5} more" if len(moves) > 5 else ""
    return f"{largest[0]['session_date']}: {named}{more}"
