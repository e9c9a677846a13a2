"""The SQL of the level models, as dbt compiles it, on bars in memory: fast enough for hundreds of small histories."""

import duckdb
import pyarrow as pa

from tests.compiled_dbt import ROOT, compiled_nodes
from tests.levels_oracle import Found, Standing, Watched

# In the order of their dependencies.
MODELS = (
    "int_bars",
    "int_traded_bars",
    "trend",
    "int_level_prices",
    "int_level_bars",
    "int_line_states",
    "int_zone_states",
    "int_extremes",
    "int_round_numbers",
    "int_level_events",
    "level_events",
    "int_last_level_events",
    "level_status",
    "level_daily",
)

EVENTS = """
    select
        level_id, session_date, event, direction, level, is_repeat, coalesce(role_before, ''), coalesce(role_after, ''),
        coalesce(levels_crossed, '')
    from warehouse.main.level_events
"""


STANDINGS = """
    select level_id, session_date, lower, upper, coalesce(side, ''), coalesce(role, '') from warehouse.main.level_daily
"""

# Events whose edges are not those of the session, and sessions whose events are not numbered from 1.
CONTRADICTIONS = """
    select events.level_id, events.session_date, events.event
    from warehouse.main.level_events as events
    left join warehouse.main.level_daily as days
        on events.level_id = days.level_id and events.session_date = days.session_date
    where
        coalesce(days.lower, events.level) <> events.lower
        or coalesce(days.upper, events.level) <> events.upper
        or events.level not in (events.lower, events.upper)
        or days.level_id is null and events.kind not in ('extreme', 'round_number')
    union all
    select level_id, session_date, 'event_order' as event
    from warehouse.main.level_events
    group by level_id, session_date
    having min(event_order) <> 1 or max(event_order) <> count(*) or count(distinct event_order) <> count(*)
"""


class LevelModels:
    """The compiled models."""

    def __init__(self) -> None:
        nodes = {node.name: node for node in compiled_nodes()}
        self.statements = [
            f"create table warehouse.main.{name} as {self._on_tables(nodes[name].sql)}" for name in MODELS
        ]

    @staticmethod
    def _on_tables(sql: str) -> str:
        for name in ("instruments", "price_levels"):
            sql = sql.replace(f"read_parquet('{ROOT}/control/{name}.parquet')", f"warehouse.main.control_{name}")
        return sql

    def build(self, watched: Watched) -> duckdb.DuckDBPyConnection:
        """A database in memory with every model built for one instrument."""
        connection = duckdb.connect(config={"threads": 1})
        connection.execute("attach ':memory:' as warehouse")
        tables = {
            "int_kept_bars": _bars(watched),
            "control_instruments": pa.table(
                {
                    "symbol": [watched.symbol],
                    "source_symbol": [watched.symbol],
                    "name": ["a fund"],
                    "tick_size": [watched.tick],
                    "money": ["USD"],
                }
            ),
            "pair_spreads": pa.table(
                {
                    "pair_id": pa.nulls(0, pa.string()),
                    "session_date": pa.nulls(0, pa.date32()),
                    "value": pa.nulls(0, pa.float64()),
                }
            ),
            "control_price_levels": pa.table(
                {
                    "level_id": [level.level_id for level in watched.levels],
                    "symbol": [watched.symbol] * len(watched.levels),
                    "lower": [level.lower for level in watched.levels],
                    "upper": [level.upper for level in watched.levels],
                    "kind": ["support"] * len(watched.levels),
                    "active_from": [level.active_from for level in watched.levels],
                    "note": [""] * len(watched.levels),
                    "series": pa.nulls(len(watched.levels), pa.string()),
                }
            ),
        }
        for name, table in tables.items():
            connection.register("given", table)
            connection.execute(f"create table warehouse.main.{name} as select * from given")  # noqa: S608
        for statement in self.statements:
            connection.execute(statement)
        return connection

    def events(self, watched: Watched) -> list[Found]:
        """The rows of level_events, sorted."""
        with self.build(watched) as connection:
            return sorted(Found(*row) for row in connection.execute(EVENTS).fetchall())

    def standings(self, watched: Watched) -> tuple[list[Standing], list[tuple]]:
        """The rows of level_daily, sorted, and events that contradict them."""
        with self.build(watched) as connection:
            found = sorted(Standing(*row) for row in connection.execute(STANDINGS).fetchall())
            return found, connection.execute(CONTRADICTIONS).fetchall()


def _bars(watched: Watched) -> pa.Table:
    """The bars as the lake holds them: split-adjusted."""
    factor, factors = 1.0, []
    for bar in reversed(watched.bars):
        factors.append(factor)
        factor /= bar.split
    bars = list(zip(watched.bars, factors[::-1], strict=True))

    def prices(name: str) -> pa.Array:
        return pa.array(
            [None if getattr(bar, name) is None else getattr(bar, name) * factor for bar, factor in bars], pa.float64()
        )

    flat = [bar.open == bar.high == bar.low == bar.close for bar, _ in bars]
    return pa.table(
        {
            "symbol": [watched.symbol] * len(bars),
            "session_date": pa.array([bar.day for bar, _ in bars], pa.date32()),
            **{name: prices(name) for name in ("open", "high", "low", "close")},
            "adj_close": prices("close"),
            "volume": pa.nulls(len(bars), pa.float64()),
            "dividend": [0.0] * len(bars),
            "split_ratio": [bar.split for bar, _ in bars],
            "bar_quality": [
                "close_only" if bar.high is None else "flat" if is_flat else "ok"
                for (bar, _), is_flat in zip(bars, flat, strict=True)
            ],
            "source": ["files"] * len(bars),
            "observed_at": pa.nulls(len(bars), pa.timestamp("us")),
            "tick_size": [watched.tick] * len(bars),
            "price_basis": ["split_adjusted"] * len(bars),
            "session_number": pa.array([bar.position for bar, _ in bars], pa.int64()),
        }
    )
