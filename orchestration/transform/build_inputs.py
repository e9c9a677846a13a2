"""What the tables of the warehouse take for granted besides the bars.

An incremental build replaces what new bars can change and leaves the rest as it is. That is right only if everything
else is what it was at the last build: the SQL, the seeds that it reads from the first bar on, the sessions so far, the
engine, the bars that were there. New bars, instruments and sessions are welcome. Whatever else has changed, or a build
that did not come to its end, asks for a whole one: docs/decisions/0019-incremental-models.md.
"""

import datetime as dt
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.files import write_text
from orchestration.ingest.lake import Lake

# Reference tables that models read which are not built as a whole every time; of instruments each row counts by itself.
SEEDS = ("price_levels", "move_rules", "held")


@dataclass(frozen=True)
class Premises:
    """What a build took for granted.

    Attributes:
        engine: name and release of what ran the SQL.
        models: digest of the SQL.
        seeds: digest of each seed that counts as a whole.
        instruments: digest of each instrument's row.
        sessions: last session of each calendar, and a digest of all of them up to it.
        bars: when the latest version of a bar was observed, and how many versions there were up to then.
    """

    engine: str
    models: str
    seeds: dict[str, str]
    instruments: dict[str, str]
    sessions: dict[str, tuple[str, str]]
    bars: tuple[str, int]


def premises(lake: Lake, control_dir: Path, dbt_project_dir: Path, engine: str = "duckdb") -> Premises:
    """What a build that begins now takes for granted.

    Args:
        lake: the bars.
        control_dir: the control tables.
        dbt_project_dir: the models.
        engine: what runs them.
    """
    instruments = _table(control_dir, "instruments")
    return Premises(
        engine=f"{engine} {importlib.metadata.version('pyspark' if engine == 'spark' else engine)}",
        models=_digest(
            f"{path.relative_to(dbt_project_dir)}:{path.read_text('utf-8')}"
            for path in (
                dbt_project_dir / "dbt_project.yml",
                *sorted((dbt_project_dir / "models").rglob("*.sql")),
                *sorted((dbt_project_dir / "macros").rglob("*.sql")),
            )
        ),
        seeds={name: _digest(map(str, _table(control_dir, name).to_pylist())) for name in SEEDS},
        instruments={row["symbol"]: _digest([str(row)]) for row in instruments.to_pylist()},
        sessions=_sessions(control_dir),
        bars=_bars(lake),
    )


def why_whole(record: Path, now: Premises, lake: Lake, control_dir: Path) -> str:
    """Why the next build has to be a whole one, in some words; empty if it need not.

    Args:
        record: what `write_premises` wrote after the last build.
        now: what it takes for granted.
        lake: the bars.
        control_dir: the control tables.
    """
    try:
        said = json.loads(record.read_text("utf-8"))
        before = Premises(
            **{
                **said,
                "sessions": {name: tuple(known) for name, known in said["sessions"].items()},
                "bars": tuple(said["bars"]),
            }
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return "no build has come to its end since the last whole one"
    if before.engine != now.engine:
        return f"the last build was one of {before.engine}"
    if before.models != now.models:
        return "the models have changed"
    for name in SEEDS:
        if before.seeds.get(name) != now.seeds[name]:
            return "other bars are held back than before" if name == "held" else f"{name}.csv has changed"
    for symbol, row in before.instruments.items():
        if now.instruments.get(symbol) != row:
            return f"{symbol} is watched otherwise than before, or no more"
    known = {name: last for name, (last, _) in before.sessions.items()}
    if not before.sessions.items() <= _sessions(control_dir, known).items():
        return "the calendar of past sessions has changed"
    if before.bars != _bars(lake, before.bars[0]):
        return "the lake holds other bars of the time before the last build"
    return ""


def write_premises(record: Path, taken: Premises) -> None:
    """Note what a build that has come to its end took for granted."""
    write_text(record, json.dumps(asdict(taken), indent=2) + "\n")


def _sessions(control_dir: Path, until: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    """The last session of each calendar, or the last one until a day, with a digest of all of them up to it."""
    table = _table(control_dir, "sessions", ["calendar", "session_date", "bar_expected"])
    found = {}
    for name in pc.unique(table["calendar"]).to_pylist():
        rows = table.filter(pc.equal(table["calendar"], name)).sort_by("session_date")
        days = rows["session_date"].cast(pa.string())
        if until and name in until:
            rows = rows.filter(pc.less_equal(days, until[name]))
            days = rows["session_date"].cast(pa.string())
        expected = rows["bar_expected"].cast(pa.string())
        found[name] = (days[-1].as_py() if len(days) else "", _digest([*days.to_pylist(), *expected.to_pylist()]))
    return found


def _bars(lake: Lake, until: str = "") -> tuple[str, int]:
    """When the latest version was observed, and how many there are; or how many there were until a moment."""
    if until:
        return until, lake.versions_observed_by(dt.datetime.fromisoformat(until))
    latest = lake.latest_observation()
    return (latest.isoformat(), lake.versions_observed_by(latest)) if latest else ("", 0)


def _table(control_dir: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    return pq.read_table(control_dir / f"{name}.parquet", columns=columns, partitioning=None)


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:32]
