"""What an event of a mart is in words, for checks, alerts and the brief."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Rules whose score is not, or not drawn from, the return of the session itself.
BEYOND_THE_DAY = ("cumulative_return", "opening_gap")


def is_zone(row: Mapping[str, Any]) -> bool:
    """Whether the level of a row with `lower` and `upper` is a zone."""
    return row.get("lower") is not None and row["lower"] < row["upper"]


def place(row: Mapping[str, Any], price: Callable[[float], str]) -> str:
    """Where an event happened, in the prices of its session: 54, or the zone 54-56.

    Args:
        row: a row of `level_events`.
        price: writes a price.
    """
    if is_zone(row):
        return f"the zone {price(row['lower'])}-{price(row['upper'])}"
    return str(row.get("level_id")) if row.get("level") is None else price(row["level"])


def level_event(row: Mapping[str, Any], level: str) -> str:
    """What the price did: "closed above 54".

    Args:
        row: a row of `level_events`.
        level: as it is to be written: 54, the zone 54-56.
    """
    up = row.get("direction") == "up"
    beyond, along, back = ("above", "upwards", "below") if up else ("below", "downwards", "above")
    name = str(row["event"])
    words = {
        "close_cross": f"closed {beyond} {level}",
        "gap_through": f"opened and closed {beyond} {level}",
        # a bar that pierces a zone has reached its nearer edge
        "pierce_rejected": f"reached {level} and closed back {back}"
        if is_zone(row)
        else f"traded {beyond} {level} and did not close there",
        "confirmed": f"closed {beyond} {level} a second time",
        "role_flip": f"has turned {level} into {row.get('role_after')} with two closes {beyond} it",
        "retest_held": f"came back to {level}, which held as {'support' if up else 'resistance'}",
        "retest_failed": f"closed back {beyond} {level} in a failed retest",
        "zone_entered": f"closed inside {level}",
        "zone_exited": f"left {level} {along}",
        "zone_crossed_through": f"jumped {level} {along}",
        "new_extreme": f"closed beyond its {extreme_name(str(row.get('level_id')).rpartition(':')[2])} of {level}",
        "round_numbers_crossed": f"crossed {row.get('levels_crossed')} {along}",
    }
    return words.get(name, f"{name.replace('_', ' ')} {along} at {level}")


def score(hit: Mapping[str, Any]) -> str:
    """What broke a rule: "-14.78%", "-17.20% in 5 sessions", "z -5.8", "-14.78% on 2.4 times its usual volume".

    Args:
        hit: a row of `move_rule_hits`, with the session's `return_1d` beside it.
    """
    measure, value = hit["measure"], hit["score"]
    if measure == "return_1d":
        return f"{value:+.2%}"
    if measure == "opening_gap":
        return f"{value:+.2%} at the open"
    if measure == "cumulative_return":
        return f"{value:+.2%} in {hit['sessions']} sessions"
    if measure == "percentile":
        return f"{hit['return_1d']:+.2%}"
    if measure == "volume_ratio":
        return f"{hit['return_1d']:+.2%} on {value:.1f} times its usual volume"
    return f"z {value:+.1f}"


def beyond_the_day(hits: Iterable[Mapping[str, Any]]) -> list[str]:
    """What broke rules about several sessions or the open; of several such returns the largest."""
    largest: dict[str, Mapping[str, Any]] = {}
    for hit in sorted(hits, key=lambda hit: abs(hit["score"])):
        if hit["measure"] in BEYOND_THE_DAY:
            largest[hit["measure"]] = hit
    return [score(largest[measure]) for measure in BEYOND_THE_DAY if measure in largest]


def is_of_the_day(hits: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the return of the session itself broke a rule."""
    return any(hit["measure"] not in BEYOND_THE_DAY for hit in hits)


def widening_pair(row: Mapping[str, Any]) -> str:
    """Who has gained on whom: "SILJ ahead of SIL by 0.081 (log) over 21 sessions, z +2.3"."""
    ahead, behind = row["long_symbol"], row["short_symbol"]
    if row["spread_21d"] < 0:
        ahead, behind = behind, ahead
    return f"{ahead} ahead of {behind} by {abs(row['spread_21d']):.3f} (log) over 21 sessions, z {row['z_252']:+.1f}"


def spike(row: Mapping[str, Any]) -> str:
    """How large a volatility is: "volatility 139%, 2.8 times its year"."""
    return f"volatility {row['close_to_close_21']:.0%}, {row['volatility_ratio_21_252']:.1f} times its year"


def extreme_name(name: str) -> str:
    """52w_high as a 52-week high, all_time_low as an all-time low."""
    return name.replace("52w", "52-week").replace("all_time", "all-time").replace("_", " ")
