"""What is flagged does not depend on events that are too old to be news, whatever happens to the tables."""

import datetime as dt
import random
from collections.abc import Iterator

import pytest

from orchestration.signals.new_events import LATE_DAYS, CheckState, Event, Span, evaluate, since

START = dt.date(2024, 1, 1)
CHECKS, SYMBOLS = ("level", "move", "pair"), ("A", "B", "C", "D")
Evening = tuple[list[Event], dict[str, Span], str]


def evenings(seed: int) -> Iterator[Evening]:
    """Tables as refreshes leave them: late, corrected, longer in front, shorter, without an instrument, redefined."""
    chance = random.Random(seed)  # noqa: S311
    ends = {symbol: chance.randint(100, 140) for symbol in SYMBOLS}
    starts = {symbol: chance.choice((0, 60, 90)) for symbol in SYMBOLS}
    there = {
        (check, symbol, day) for check in CHECKS for symbol in SYMBOLS for day in range(200) if chance.random() < 0.3
    }
    definitions, checks = "one", set(CHECKS[: chance.randint(1, 3)])
    for _ in range(25):
        for symbol in SYMBOLS:
            ends[symbol] += chance.choice((0, 0, 1, 1, 3, 20)) if symbol != "D" else 0
            starts[symbol] = max(0, starts[symbol] - chance.choice((0, 0, 0, 30)))
        for _ in range(20):
            check, symbol = chance.choice(CHECKS), chance.choice(SYMBOLS)
            there ^= {(check, symbol, ends[symbol] - chance.randint(0, 2 * LATE_DAYS))}
        definitions = chance.choice((definitions,) * 6 + ("one", "two"))
        checks |= {chance.choice(CHECKS)}
        back = chance.choice((0, 0, 0, 0, 5, 50))
        gone = chance.choice((*SYMBOLS, *[""] * 12))
        spans = {
            symbol: Span(*(START + dt.timedelta(day) for day in (starts[symbol], ends[symbol] - back)))
            for symbol in SYMBOLS
            if symbol != gone and ends[symbol] - back > starts[symbol]
        }
        events = [
            Event(check, f"{check}|{symbol}|{day}", symbol, session)
            for check, symbol, day in sorted(there)
            if check in checks and symbol in spans
            if spans[symbol].first <= (session := START + dt.timedelta(day)) <= spans[symbol].latest
        ]
        yield events, spans, definitions
        if chance.random() < 0.3:  # looked at again
            yield events, spans, definitions


@pytest.mark.parametrize("seed", range(150))
def test_old_events_need_not_be_known(seed: int) -> None:
    everything, recent = CheckState(), CheckState()
    flagged = left_out = 0
    for number, (events, spans, definitions) in enumerate(evenings(seed)):
        first = since(spans, recent)
        told = {key for keys in recent.flagged.values() for key in keys}
        few = [event for event in events if event.session >= first[event.symbol] or event.key in told]
        left_out += len(events) - len(few)
        everything = evaluate(events, spans, everything, definitions, number)
        recent = evaluate(few, spans, recent, definitions, number)
        assert recent.flagged == everything.flagged
        assert recent.spans == everything.spans
        assert all(keys <= everything.seen[check] for check, keys in recent.seen.items())
        flagged += sum(map(len, recent.flagged.values()))
    assert flagged
    assert left_out
