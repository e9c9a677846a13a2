"""The brief's sentences and tables. Every number is a cell of a table; no sentence says more than its numbers do."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestration.market.universe import FUTURE, METAL_ITSELF
from orchestration.show.brief.facts import Facts, Row
from orchestration.signals.registry import signals
from orchestration.signals.signal import evidence
from orchestration.signals.wording import (
    EXTREMES,
    beyond_the_day,
    change,
    in_points,
    is_of_the_day,
    level_in_words,
    level_name,
    money,
    subject,
)

# How many rows the long tables show.
NEAREST_SHOWN = 12
# How many moves get a sentence; the table has them all.
SENTENCES_SHOWN = 5
EVIDENCE_SHOWN = 10
# What a gap between two did against five sessions ago.
GAPS = {"widening": "the gap is widening", "narrowing": "the gap is narrowing", "turned": "the gap has changed sides"}
VERDICTS = {
    "consolidation": "Consolidation (trend up, less than 20 % below the peak)",
    "reversal": "Reversal (two closes below SMA 200, SMA 50 falling)",
}


@dataclass(frozen=True)
class Table:
    """A table of the brief: its header and its cells as they are shown.

    Attributes:
        header: column names.
        rows: as many cells each.
        text_columns: how many of the first columns hold text; the others hold numbers.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    text_columns: int = 1


@dataclass(frozen=True)
class Section:
    """A part of the brief."""

    title: str
    sentences: list[str]
    table: Table | None = None


def sections(facts: Facts) -> list[Section]:
    """The brief in reading order."""
    parts = [
        _moves(facts),
        *_signals(facts),
        _evidence(facts),
        _watch_next(facts),
        *_pairs(facts),
        *([] if facts.watchlist and not facts.sectors else [_companies(facts)]),
        _metals(facts),
        _volatility(facts),
        _data(facts),
    ]
    return [part for part in parts if part.sentences or part.table]


def headline(facts: Facts) -> str:
    """The largest move of the session in one sentence."""
    moves = _by_size(facts.instruments)
    return move_sentence(moves[0]) if moves else "No instrument has a return for this session."


def move_sentence(row: Row) -> str:
    """What one instrument did and how unusual it was."""
    moved = row["point_change_1d"] if in_points(row) else row["return_1d"]
    verb = "fell" if moved < 0 else "rose" if moved > 0 else "did not move:"
    size = f"{abs(moved):,.4g} points" if in_points(row) else percent(abs(moved))
    text = f"{row['name']}, {row['symbol']}, {verb} {size} to {money(row, row['close'])}"
    if beyond := beyond_the_day(row["hits"]):
        text += f" ({', '.join(beyond)})"
    if is_of_the_day(row["hits"]):
        kind = "fall" if moved < 0 else "rise"
        if row["is_record"]:
            text += f", its largest {kind} since its stored history starts on {row['history_start']}"
            text += f" ({row['returns_since_inception']:,} returns)"
        else:
            text += f", its largest {kind} since {row['largest_since']} ({change(row, 'largest_since_return')})"
        if row["z_63"] is not None:
            text += f", {abs(row['z_63']):.1f} standard deviations of the 63 returns before it"
    if row["sessions_since_previous"] and row["sessions_since_previous"] > 1:
        text += f"; bars are missing before it, the return spans {row['sessions_since_previous']} sessions"
    if row.get("is_roll"):
        text += "; the front month changed, so that it lies between two contracts"
    return text + "."


def _moves(facts: Facts) -> Section:
    by_size = _by_size(facts.instruments)
    moved = [row for row in by_size if row["hits"]]
    moved += [row for row in facts.instruments if row["hits"] and in_points(row)]
    known = [row for row in facts.instruments if row["return_1d"] is not None]
    sentences = []
    if known:
        up = sum(row["return_1d"] > 0 for row in known)
        down = sum(row["return_1d"] < 0 for row in known)
        records = sum(bool(row["is_record"]) and is_of_the_day(row["hits"]) for row in moved)
        text = f"Of {len(known)} instruments with a return, {up} rose and {down} fell; {len(moved)} broke a move rule"
        sentences.append(text + (f", {records} of them with a record of their stored history." if records else "."))
    # The largest stands at the top of the page already.
    sentences += [move_sentence(row) for row in moved[:SENTENCES_SHOWN] if row is not by_size[0]]
    rows = [
        (
            row["symbol"],
            row["name"],
            money(row, row["close"]),
            change(row),
            number(row["z_63"]),
            _rank(row),
            percent(row["return_21d"], True),
            percent(row["return_ytd"], True),
            percent(row["return_1y"], True),
            percent(row["drawdown"], True),
        )
        for row in facts.instruments
    ]
    header = ("symbol", "name", "close", "1 day", "z 63", "rank", "21 sessions", "ytd", "1 year", "drawdown")
    return Section("What moved", sentences, Table(header, rows, 2))


def _rank(row: Row) -> str:
    if not is_of_the_day(row["hits"]):
        return ""
    if row["is_record"]:
        return f"record of {row['returns_since_inception']:,}"
    return f"{row['rank_since_inception']} of {row['returns_since_inception']:,}"


def _signals(facts: Facts) -> list[Section]:
    """What happened, as each kind of signal says it."""
    by_title: dict[str, list[str]] = {}
    for kind in signals():
        sentences = kind.brief_sentences(facts.events.get(kind.name, ()))
        by_title.setdefault(kind.brief_title or kind.title, []).extend(sentences)
    return [Section(title, sentences) for title, sentences in by_title.items()]


def _evidence(facts: Facts) -> Section:
    """What usually followed events like those of the session, as it was known then."""
    size = {row["symbol"]: abs(row["return_1d"] or 0) for row in facts.instruments}
    rows = [row for kind in signals() for row in facts.events.get(kind.name, ()) if not row["is_repeat"]]
    found = evidence(sorted(rows, key=lambda row: -size.get(row["symbol"], 0)))
    shown = found[:EVIDENCE_SHOWN]
    return Section("What usually followed", [*shown, "Counts of the past, not advice."] if shown else [])


def _watch_next(facts: Facts) -> Section:
    rows = []
    for level in facts.levels:
        rows.append((abs(_distance(level["close"], level["lower"], level["upper"])), level))
    for row in facts.instruments:
        for name, key in zip(EXTREMES, ("high_52w", "low_52w"), strict=True):
            if row[key] is not None and row["asset_class"] in (FUTURE, "etf"):
                entry = {**row, "lower": row[key], "upper": row[key], "kind": name, "last_event": None, "role": None}
                rows.append((abs(_distance(row["close"], row[key], row[key])), entry))
    rows.sort(key=lambda item: item[0])
    seeds = [entry for _, entry in rows if entry.get("level_id")]
    nearest = [entry for _, entry in rows][:NEAREST_SHOWN]
    shown = nearest + [entry for entry in seeds if entry not in nearest]
    cells = [
        (
            subject(entry, entry["symbol"]),
            level_name(entry),
            entry["role"] or "",
            _last_event(entry),
            money(entry, entry["close"]),
            percent(_distance(entry["close"], entry["lower"], entry["upper"]), True),
        )
        for entry in shown
    ]
    inside = [e for e in seeds if e["lower"] <= e["close"] <= e["upper"] and e["upper"] > e["lower"]]
    sentences = [f"{subject(e, e['symbol'])} stands inside {level_in_words(e)}." for e in inside]
    above = [e for e in seeds if e["lower"] > e["close"]]
    below = [e for e in seeds if e["upper"] < e["close"]]
    for word, found in (("above", above), ("below", below)):
        # Of each price, and of each series, the nearest.
        nearest_of: dict[tuple[str, str], Row] = {}
        for entry in found:
            nearest_of.setdefault((entry["symbol"], entry.get("series") or ""), entry)
        for _, level in sorted(nearest_of.items(), key=lambda item: item[0]):
            symbol = subject(level, level["symbol"])
            way = percent(abs(_distance(level["close"], level["lower"], level["upper"])))
            sentences.append(
                f"Next level {word} {symbol} at {money(level, level['close'])}: {level_in_words(level)}, {way} away."
            )
    header = ("symbol", "level", "confirmed role", "last event", "close", "way to go")
    return Section("What to watch next", sentences, Table(header, cells, 4) if cells else None)


def _distance(close: float, lower: float, upper: float) -> float:
    """Fraction that the close has to move to reach the nearer edge; 0 inside a zone."""
    if lower <= close <= upper:
        return 0.0
    return (lower if close < lower else upper) / close - 1


def _last_event(entry: Row) -> str:
    if not entry["last_event"]:
        return ""
    return f"{entry['last_event'].replace('_', ' ')} {entry['last_direction']} {entry['last_event_date']}"


def _pairs(facts: Facts) -> list[Section]:
    """A section for each kind of pair."""
    by_label: dict[str, list[str]] = {}
    for pair in facts.pairs:
        sentences = by_label.setdefault(pair["kind_label"] or pair["kind"], [])
        left, right = facts.instrument(pair["long_symbol"]), facts.instrument(pair["short_symbol"])
        ratio = ""
        if left and right and left["tier"] == right["tier"] == METAL_ITSELF:
            ratio = f"The price ratio {left['symbol']} / {right['symbol']} is {pair['value']:.2f}. "
        sentences.append(ratio + _pair_sentence(pair, left, right))
        if left and right and left["metal_symbol"] and left["metal_symbol"] == right["metal_symbol"]:
            sentences.append(_beta_sentence(left, right))
        if pair.get("rest_21d") is not None:
            sentences.append(_parts_sentence(pair))
    return [Section(label, sentences) for label, sentences in by_label.items()]


def _beta_sentence(left: Row, right: Row) -> str:
    known = [f"{row['symbol']} {row['beta_252']:.2f}" for row in (left, right) if row["beta_252"] is not None]
    unknown = [row["symbol"] for row in (left, right) if row["beta_252"] is None]
    parts = [", ".join(known)] if known else []
    if unknown:
        parts.append(f"not known for {' and '.join(unknown)}, fewer than 252 paired sessions")
    return f"Beta to {left['metal_symbol']} over 252 sessions: {'; '.join(parts)}."


def _parts_sentence(pair: Row) -> str:
    """What the metal's move makes of a gap, and what is left of it."""
    text = (
        f"Over 21 sessions their daily returns differ by {percent(pair['gap_21d'], True)} in sum:"
        f" {percent(pair['metal_part_21d'], True)} go with {pair['metal_symbol']}'s move, by their betas,"
        f" {percent(pair['rest_21d'], True)} are the rest"
    )
    if pair["rest_z_252"] is not None:
        text += f", {pair['rest_z_252']:+.1f} standard deviations from the mean of the 252 before"
    state = pair["state_rest"]
    return text + (f"; {GAPS[state].replace('the gap', 'the rest')}." if state else ".")


def _pair_sentence(pair: Row, left: Row | None, right: Row | None) -> str:
    parts = []
    if left and right and left["return_1d"] is not None and right["return_1d"] is not None:
        parts.append(f"{percent(left['return_1d'], True)} and {percent(right['return_1d'], True)} on the day")
    if pair["spread_21d"] is None:
        parts.append("21 paired sessions are not there yet")
    else:
        difference = f"log difference over 21 sessions {pair['spread_21d']:+.3f}"
        if pair["z_252"] is not None:
            difference += f", {pair['z_252']:+.1f} standard deviations from the mean of the 252 before"
        parts.append(difference)
        parts += [GAPS[pair["state"]]] if pair["state"] else []
    return f"{pair['long_symbol']} against {pair['short_symbol']}: {'; '.join(parts)}."


def _companies(facts: Facts) -> Section:
    rows = [
        (
            row["sector_label"],
            percent(row["equal_weight_return"], True),
            percent(row["breadth_advancing"]),
            percent(row["breadth_above_sma_50"]),
            percent(row["breadth_above_sma_200"]),
            "" if row["new_highs_52w"] is None else f"{row['new_highs_52w']} / {row['new_lows_52w']}",
            str(row["members"]),
        )
        for row in facts.sectors
    ]
    header = (
        "listed companies",
        "equal weight",
        "advancing",
        "above SMA 50",
        "above SMA 200",
        "highs / lows",
        "members",
    )
    return Section("Listed companies", [], Table(header, rows) if rows else None)


def _metals(facts: Facts) -> Section:
    sentences = []
    for row in facts.instruments:
        if row["tier"] == METAL_ITSELF and row["return_1d"] is not None:
            text = f"{row['symbol']} {percent(row['return_1d'], True)} on the day"
            if row["return_21d"] is not None:
                text += f", {percent(row['return_21d'], True)} over 21 sessions"
            text += f", drawdown {percent(row['drawdown'], True)}"
            text += f"; trend {row['trend_state']}." if row["trend_state"] else "; trend not known yet."
            sentences.append(text)
    return Section("Metals", sentences)


def _volatility(facts: Facts) -> Section:
    known = [row for row in facts.instruments if row["close_to_close_21"] is not None]
    spikes = [row for row in known if row["is_volatility_spike"]]
    sentences = []
    if spikes:
        up = [row["symbol"] for row in spikes if row["trend_state"] == "up"]
        text = (
            f"Volatility spikes (21 sessions at least 1.5 times 252, and in the top 5 % of a year): {_symbols(spikes)}"
        )
        trends = f"with the trend still up: {', '.join(up)}" if up else "none of them in an up trend"
        sentences.append(f"{text}; {'all with the trend still up' if len(up) == len(spikes) else trends}.")
    elif known:
        sentences.append("No volatility spike.")
    for verdict, words in VERDICTS.items():
        found = [row for row in facts.instruments if row["verdict"] == verdict]
        if found:
            sentences.append(f"{words}: {_symbols(found)}.")
    sentences += [" ".join(said) for said in facts.verdicts.values()]
    rows = [
        (
            row["symbol"],
            row["trend_state"] or "",
            row["verdict"] or "",
            percent(row["close_to_close_21"]),
            "" if row["volatility_ratio_21_252"] is None else f"{row['volatility_ratio_21_252']:.2f}",
            percent(row["volatility_percentile_252"]),
            "yes" if row["is_volatility_spike"] else "",
            percent(row["drawdown"], True),
        )
        for row in known
    ]
    header = ("symbol", "trend", "verdict", "vol 21", "21 / 252", "percentile", "spike", "drawdown")
    return Section("Volatility against trend", sentences, Table(header, rows, 3) if rows else None)


def _data(facts: Facts) -> Section:
    sentences = [
        f"{row['symbol']} has no bar for this session; its latest is of {row['last_session']}." for row in facts.absent
    ]
    sentences += [
        f"{row['symbol']} has a later bar, of {row['last_session']}, than the market; it is not in this brief."
        for row in facts.ahead
    ]
    sentences += [
        f"{row['symbol']}'s prices came adjusted for dividends: what was traded is unknown, and no level is watched."
        for row in facts.instruments
        if row["is_dividend_adjusted"]
    ]
    for row in facts.rejected:
        sentences.append(
            f"{row['symbol']} {row['session_date']}: rejected or without its range, {row['rule'].replace('_', ' ')}."
        )
    return Section("About the data", sentences)


def _symbols(rows: Sequence[Row]) -> str:
    return ", ".join(row["symbol"] for row in rows)


def _by_size(rows: Iterable[Row]) -> list[Row]:
    return sorted((r for r in rows if r["return_1d"] is not None), key=lambda r: -abs(r["return_1d"]))


def percent(value: float | None, signed: bool = False) -> str:
    """A fraction in percent with two decimals; empty if unknown."""
    if value is None:
        return ""
    return f"{value:+.2%}" if signed else f"{value:.2%}"


def number(value: float | None) -> str:
    """A score with its sign and one decimal; empty if unknown."""
    return "" if value is None else f"{value:+.1f}"


def spoken(session: dt.date) -> str:
    """A date in words: Friday 30 January 2026."""
    return f"{session:%A} {session.day} {session:%B %Y}"
