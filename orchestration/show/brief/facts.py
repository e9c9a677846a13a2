"""What the brief reports: rows of the published tables, as of one session.

Nothing later than the session is read. The marts of one row per session know nothing of the days after them; what the
tables hold as of the latest session only (`level_status`) is used for what does not change.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration.duckdb_io import query, reading
from orchestration.home import Home
from orchestration.market.errors import OrewatchError
from orchestration.publish.manifest import PublishedManifest, readable_manifest, version_file
from orchestration.publish.watchlists import members_of
from orchestration.signals.evidence import Evidence
from orchestration.signals.registry import event_rows
from orchestration.signals.signal import Row as SignalRow

Row = dict[str, Any]

# Days that charts look back over, and lines that one of them can still be read with.
CHART_DAYS = 365
MOST_LINES = 6

# Columns that name an instrument.
LEGS = ("symbol", "long_symbol", "short_symbol")

# Not the latest of any: a stray bar of one instrument is no session of the market.
LATEST = "select max(market_session) as session from market_summary"

SESSIONS_AROUND = """
    select max(session_date) filter (where session_date <= $session) as before,
           min(session_date) filter (where session_date >= $session) as after
    from daily_bars
"""

INSTRUMENTS = """
    select
        i.symbol, i.name, i.asset_class, i.metal, i.tier, i.currency, i.tick_size, i.metal_symbol, i.sector_symbol,
        coalesce(b.close_as_traded, b.close) as close, coalesce(b.close_as_traded / b.close, 1) as splits_to_come,
        b.bar_quality, b.close_as_traded is null as is_dividend_adjusted,
        r.return_1d, r.point_change_1d, r.return_5d, r.return_21d, r.return_1y, r.base_date_1y, r.return_ytd,
        r.base_date_ytd, r.sessions_since_previous,
        v.close_to_close_21, v.close_to_close_252, v.volatility_ratio_21_252, v.volatility_percentile_252,
        v.is_volatility_spike,
        t.drawdown, t.peak_date, t.trend_state, t.verdict, t.is_52w_high, t.is_52w_low,
        t.high_52w * coalesce(b.close_as_traded / b.close, 1) as high_52w,
        t.low_52w * coalesce(b.close_as_traded / b.close, 1) as low_52w,
        s.beta_252, s.futures_dimson_beta_252, s.rank_1d,
        m.z_63, m.rank_since_inception, m.returns_since_inception, m.largest_since,
        m.largest_since_return, m.is_record, m.history_start, m.bridges_gap, m.is_roll
    from instruments as i
    inner join daily_bars as b on i.symbol = b.symbol and b.session_date = $session
    inner join returns as r on i.symbol = r.symbol and r.session_date = $session
    inner join volatility as v on i.symbol = v.symbol and v.session_date = $session
    inner join trend as t on i.symbol = t.symbol and t.session_date = $session
    left join sector_relative as s on i.symbol = s.symbol and s.session_date = $session
    left join large_moves as m on i.symbol = m.symbol and m.session_date = $session
    left join groups as g on g.kind = 'metal' and i.metal = g.name
    order by i.asset_class = 'metal' desc, g.position nulls last, i.symbol
"""

HITS = """
    select hits.*, moves.return_1d, moves.point_change_1d
    from move_rule_hits as hits
    inner join large_moves as moves on hits.symbol = moves.symbol and hits.session_date = moves.session_date
    where hits.session_date = $session
    order by hits.symbol, hits.rule_id
"""

ABSENT = """
    select i.symbol, i.name, max(b.session_date) as last_session
    from instruments as i
    inner join daily_bars as b on i.symbol = b.symbol and b.session_date <= $session
    where i.asset_class <> 'fx'  -- their session ends after the market's
    group by i.symbol, i.name
    having max(b.session_date) < $session
    order by i.symbol
"""

AHEAD = """
    select symbol, name, session_date as last_session
    from market_summary
    where session_date > market_session
    order by symbol
"""

EVENTS = "select signal, event_id, symbol, pair_id from market_signals where session_date = $session"

# Watched levels, as they stood at the session.
LEVELS = """
    select
        l.level_id, l.symbol, l.series, l.kind, s.note, s.price_source, l.lower, l.upper, l.role,
        case when l.series is null then b.close_as_traded else l.close end as close,
        i.tick_size, i.currency,
        e.event as last_event, e.direction as last_direction, e.session_date as last_event_date
    from level_daily as l
    inner join level_status as s on l.level_id = s.level_id
    inner join instruments as i on l.symbol = i.symbol
    inner join daily_bars as b on l.symbol = b.symbol and l.session_date = b.session_date
    left join (
        select level_id, event, direction, session_date
        from level_events
        where session_date <= $session
        qualify row_number() over (partition by level_id order by session_date desc, event_order) = 1
    ) as e on l.level_id = e.level_id
    where l.session_date = $session
    order by l.symbol, l.lower, l.upper, l.level_id
"""

PAIRS = """
    select
        p.*, g.label as kind_label, t.metal_symbol, t.gap_21d, t.metal_part_21d, t.rest_21d, t.rest_z_252, t.state_rest
    from pair_spreads as p
    inner join gap_parts as t on p.pair_id = t.pair_id and p.session_date = t.session_date
    left join groups as g on g.kind = 'pair_kind' and p.kind = g.name
    where p.session_date = $session
    order by g.position, p.pair_id
"""

SECTORS = """
    select d.*, m.label || coalesce(', ' || t.label, '') as sector_label
    from sector_daily as d
    inner join groups as m on m.kind = 'metal' and starts_with(d.sector, m.name || '_')
    left join groups as t on t.kind = 'tier' and d.sector = m.name || '_' || t.name
    where d.session_date = $session and (t.name is not null or d.sector = m.name || '_miners')
    order by m.position, t.position nulls first
"""

REJECTED = """
    select symbol, session_date, rule from rejected_bars
    where session_date between $session - interval 7 days and $session
    order by session_date desc, symbol
"""

HISTORY = """
    select
        b.symbol, b.session_date,
        b.close * now.splits_to_come as close,
        t.drawdown, v.close_to_close_21
    from daily_bars as b
    inner join (
        select symbol, coalesce(close_as_traded / close, 1) as splits_to_come
        from daily_bars where session_date = $session
    ) as now on b.symbol = now.symbol
    inner join trend as t on b.symbol = t.symbol and b.session_date = t.session_date
    inner join volatility as v on b.symbol = v.symbol and b.session_date = v.session_date
    where
        b.session_date between $session - to_days($days) and $session
        and b.symbol in (select unnest($symbols::varchar[]))
    order by b.symbol, b.session_date
"""

PAIR_HISTORY = """
    select pair_id, session_date, exp(sum(spread_1d) over (partition by pair_id order by session_date)) as strength
    from pair_spreads
    where session_date between $session - to_days($days) and $session and spread_1d is not null
    order by pair_id, session_date
"""


@dataclass(frozen=True)
class Facts:
    """Everything that one brief says, as rows of the published tables.

    Attributes:
        session: the session that it is about.
        manifest: the published version that it was read from.
        instruments: those with a bar on the session, metals first; `hits` holds the move rules that each broke.
        absent: those whose latest bar is older.
        ahead: those that have a later bar than the market's session, where the brief is about that.
        events: events of the session by kind of signal, repeated ones among them.
        levels: levels of the seed on the session's prices, with role and last event.
        pairs: spreads of the session.
        sectors: equal-weight groups of the session.
        rejected: quarantined bars of the week before.
        history: closes, drawdowns and volatilities of the year before, by symbol and session; of what charts show.
        pair_history: growth of the long leg over the short one since the start of that year.
        verdicts: of each instrument whose verdict begins, what usually followed.
        watchlist: whose instruments all of this is about, with the pairs of any of them; empty: of all.
    """

    session: dt.date
    manifest: PublishedManifest
    instruments: list[Row]
    absent: list[Row]
    ahead: list[Row]
    events: Mapping[str, Sequence[SignalRow]]
    levels: list[Row]
    pairs: list[Row]
    sectors: list[Row]
    rejected: list[Row]
    history: list[Row]
    pair_history: list[Row]
    verdicts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    watchlist: str = ""

    def instrument(self, symbol: str) -> Row | None:
        """The row of one instrument; None if it has no bar on the session."""
        return next((row for row in self.instruments if row["symbol"] == symbol), None)


def compared(instruments: Sequence[Row], pairs: Sequence[Row]) -> list[str]:
    """Metals and the sector's funds, as many as a chart can carry."""
    legs = {pair[leg] for pair in pairs for leg in ("long_symbol", "short_symbol")}
    funds = [row for row in instruments if row["asset_class"] == "etf"]
    metals = [row["symbol"] for row in funds if row["tier"] == "metal"]
    miners = [row["symbol"] for row in funds if row["symbol"] in legs]
    return list(dict.fromkeys([*metals, *miners]))[:MOST_LINES]


def read_facts(home: Home, session: dt.date | None = None, watchlist: str = "") -> Facts:
    """The facts of a session, the market's if none is named, from one published version.

    Args:
        home: of the version.
        session: the day.
        watchlist: only of its instruments; of all if empty.

    Raises:
        OrewatchError: nothing is published, the home was moved since, no instrument is on the watchlist, or none has a
            bar on that day.
    """
    manifest = readable_manifest(home.published)
    if manifest is None:
        raise OrewatchError("nothing has been published yet; run: orewatch refresh")
    if not {"market_signals", "groups", "gap_parts"} <= manifest.rows.keys():
        raise OrewatchError("the published version is of an earlier release; run: orewatch refresh")
    # The version's own folder, not the link: all queries see one version, whatever is published meanwhile.
    published = version_file(home.published, manifest.version)
    members = members_of(published, watchlist) if watchlist else None

    def of_members(rows: list[Row]) -> list[Row]:
        if members is None:
            return rows
        return [row for row in rows if not members.isdisjoint(row[name] for name in LEGS if name in row)]

    with reading(published) as connection:
        market_session = query(connection, LATEST)[0]["session"]
        session = session or market_session
        if session is None:
            raise OrewatchError("the published tables hold no bars; run: orewatch refresh")
        on: dict[str, Any] = {"session": session}
        year = {**on, "days": CHART_DAYS}
        instruments = of_members(query(connection, INSTRUMENTS, on))
        if not instruments:
            around = query(connection, SESSIONS_AROUND, on)[0]
            nearest = " and ".join(str(day) for day in around.values() if day)
            raise OrewatchError(f"no instrument has a bar on {session}; nearest sessions: {nearest}")
        hits: dict[str, list[Row]] = {}
        for hit in query(connection, HITS, on):
            hits.setdefault(hit["symbol"], []).append(hit)
        for row in instruments:
            row["hits"] = hits.get(row["symbol"], [])
        levels, pairs = of_members(query(connection, LEVELS, on)), of_members(query(connection, PAIRS, on))
        shown = {pair["pair_id"] for pair in pairs}
        events = [row for row in query(connection, EVENTS, on) if of_members([row]) or row["pair_id"] in shown]
        drawn = [*(level["symbol"] for level in levels), *compared(instruments, pairs)]
        sectors = query(connection, SECTORS, on)
        if members is not None:
            theirs = {f"{row['metal']}_{part}" for row in instruments for part in (row["tier"], "miners")}
            sectors = [row for row in sectors if row["sector"] in theirs]
        known = Evidence(connection, None if session == market_session else session)
        shown_symbols = {row["symbol"] for row in instruments}
        return Facts(
            session=session,
            manifest=manifest,
            instruments=instruments,
            absent=of_members(query(connection, ABSENT, on)),
            ahead=of_members(query(connection, AHEAD)) if session == market_session else [],
            events=event_rows(connection, ((row["signal"], row["event_id"]) for row in events), known),
            levels=levels,
            pairs=pairs,
            sectors=sectors,
            rejected=of_members(query(connection, REJECTED, on)),
            history=query(connection, HISTORY, {**year, "symbols": list(dict.fromkeys(drawn))}),
            pair_history=query(connection, PAIR_HISTORY, year),
            verdicts={symbol: said for symbol, said in known.verdicts(session).items() if symbol in shown_symbols},
            watchlist=watchlist,
        )
