"""One check per move rule: it fails, as a warning, when a move broke the rule since the last evaluation."""

from collections.abc import Iterator

import dagster as dg

from orchestration.assets.publish import PUBLISHED
from orchestration.checks.data_quality import offenders_table
from orchestration.market.universe import MoveRule, Universe
from orchestration.settings import Settings

LARGE_MOVES = dg.AssetKey("large_moves")

# Columns of a flagged row that are the same in all rows of a check.
SAID_BY_THE_RULE = ("rule_id", "measure", "sessions")


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
                description=label + summary(rule, moves),
                metadata={"simulated": current.simulated, **offenders_table(moves, without=SAID_BY_THE_RULE)},
            )
        remember(current, "moves", shown)

    return move_checks


def describe(rule: MoveRule) -> str:
    """The rule in words."""
    who = "every instrument" if rule.scope == "all" else f"{rule.scope.replace('_', ' ')} {rule.scope_value}"
    before = f"of the {rule.sessions} returns before it"
    what = {
        "return_1d": f"daily total return of {rule.threshold:.1%} or more, up or down",
        "opening_gap": f"opening gap of {rule.threshold:.1%} or more, up or down",
        "cumulative_return": f"total return over {rule.sessions} sessions reaching {rule.threshold:.1%}, up or down",
        "z_score": f"return of {rule.threshold:g} or more standard deviations {before}",
        "z_ewma": f"return of {rule.threshold:g} or more times the RiskMetrics volatility known the day before",
        "robust_z": f"return of {rule.threshold:g} or more robust standard deviations {before} (median, MAD)",
        "percentile": f"return at or beyond the percentile {rule.threshold:g}, or 1 less it, {before}",
        "volume_ratio": f"large move on {rule.threshold:g} or more times the median volume of the {rule.sessions} "
        "sessions before it",
    }[rule.measure]
    return f"No {what}, in {who}."


def summary(rule: MoveRule, moves: list[dict]) -> str:
    """The largest moves in words: the scores that broke the rule."""
    if not moves:
        return "No move broke the rule"
    if rule.measure == "percentile":  # all at the edge: the return tells them apart
        largest = sorted(moves, key=lambda row: -abs(row["return_1d"]))
    else:
        largest = sorted(moves, key=lambda row: -abs(row["score"]))
    named = ", ".join(f"{row['symbol']} {score_in_words(row)}" for row in largest[:5])
    more = f" and {len(moves) - 5} more" if len(moves) > 5 else ""
    return f"{largest[0]['session_date']}: {named}{more}"


def score_in_words(row: dict) -> str:
    """What broke the rule, as short as it can be read: -14.78%, -17.2% in 5 sessions, z -5.8, 2.4 times the volume."""
    measure, score = row["measure"], row["score"]
    if measure == "return_1d":
        return f"{score:+.2%}"
    if measure == "opening_gap":
        return f"{score:+.2%} at the open"
    if measure == "cumulative_return":
        return f"{score:+.2%} in {row['sessions']} sessions"
    if measure == "percentile":
        return f"{row['return_1d']:+.2%}"
    if measure == "volume_ratio":
        return f"{row['return_1d']:+.2%} on {score:.1f} times its usual volume"
    return f"z {score:+.1f}"
