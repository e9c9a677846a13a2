"""Finds the kinds of signals: every `Signal` that a module of this folder holds. There is no list of them anywhere."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.signals.evidence import Evidence
from orchestration.signals.signal import Row, Signal

if TYPE_CHECKING:
    import duckdb

_FOLDER = str(Path(__file__).parent)

# What each kind's query begins with.
EVENTS = """
    with signals as (
        select events.*, instruments.name, instruments.tick_size, instruments.currency
        from market_signals as events
        left join instruments on events.symbol = instruments.symbol
        where events.signal = $signal and events.event_id in (select unnest($events))
    )
"""


@cache
def signals() -> tuple[Signal, ...]:
    """All kinds, in their order."""
    modules = [importlib.import_module(f"{__package__}.{found.name}") for found in pkgutil.iter_modules([_FOLDER])]
    found = {id(kind): kind for module in modules for kind in vars(module).values() if isinstance(kind, Signal)}
    kinds = sorted(found.values(), key=lambda kind: (kind.order, kind.name))
    if twice := {one.name for one, next_ in pairwise(sorted(kinds, key=attrgetter("name"))) if one.name == next_.name}:
        raise ValueError(f"two signals have the name {', '.join(sorted(twice))}")
    return tuple(kinds)


def event_rows(
    connection: "duckdb.DuckDBPyConnection", events: Iterable[tuple[str, str]], known: Evidence | None = None
) -> Mapping[str, list[Row]]:
    """What the published marts say of events, by kind; in `evidence` sentences about what usually followed.

    Args:
        connection: to a published version.
        events: the kind and the id of each.
        known: about what usually followed; None for what is known now.
    """
    from orchestration.duckdb_io import query

    wanted: dict[str, list[str]] = {}
    for signal, event_id in events:
        wanted.setdefault(signal, []).append(event_id)
    if unknown := wanted.keys() - {kind.name for kind in signals()}:
        raise ValueError(f"market_signals has {', '.join(sorted(unknown))}, which no module of signals/ knows")
    found: dict[str, list[Row]] = {}
    known = known or Evidence(connection)
    for kind in signals():
        if events_of_kind := wanted.get(kind.name):
            evidence = known.sentences(kind, events_of_kind)
            rows = query(connection, EVENTS + kind.sql, {"signal": kind.name, "events": events_of_kind})
            found[kind.name] = [{**row, "evidence": evidence.get(row["event_id"], ())} for row in rows]
    return found
