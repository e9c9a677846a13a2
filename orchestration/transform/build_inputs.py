"""What a build was made with, besides new bars; anything else in it that changes asks for a full refresh.

An incremental build replaces what new bars can change and leaves the rest as it is. That is right only if everything
else is what it was at the last build: the SQL, the seeds that it reads from the first bar on, the sessions so far, the
engine, the bars that were there. New bars, instruments and sessions are welcome. Whatever else has changed, or a build
that did not end, asks for a full refresh: docs/decisions/0019-incremental-models.md.
"""

import datetime as dt
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from orchestration.transform.fingerprint import EVIDENCE_CODE

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.ingest.lake import Lake

# Reference tables that models read which are not built as a whole every time; of instruments each row counts by itself.
SEEDS = ("price_levels", "move_rules", "held", "dollar_prices")
# What is said of those that are no files of the analyst.
_CHANGED = {
    "held": "other bars are held back than before",
    "dollar_prices": "other exchange rates are used than before",
}


class BuildInputs(BaseModel, frozen=True, extra="forbid"):
    """What a build was made with.

    Attributes:
        engine: name and release of what ran the SQL.
        models: digest of the SQL.
        seeds: digest of each seed that counts as a whole.
        instruments: digest of each instrument's row.
        currency: in which instruments are compared.
        sessions: last session of each calendar, and a digest of all of them up to it.
        bars: when the latest version of a bar was observed, and how many versions there were up to then.
    """

    engine: str
    models: str
    seeds: dict[str, str]
    instruments: dict[str, str]
    currency: str = ""
    sessions: dict[str, tuple[str, str]]
    bars: tuple[str, int]


def build_inputs(lake: "Lake", reference: Path, dbt_project_dir: Path, engine: str = "duckdb") -> BuildInputs:
    """What a build that begins now is made with.

    Args:
        lake: the bars.
        reference: the folder of seeds and sessions, as the models read them.
        dbt_project_dir: the models.
        engine: what runs them.
    """
    instruments = _table(reference, "instruments")
    return BuildInputs(
        engine=f"{engine} {importlib.metadata.version('pyspark' if engine == 'spark' else engine)}",
        models=_digest(
            f"{path.relative_to(dbt_project_dir)}:{path.read_text('utf-8')}"
            for path in (
                dbt_project_dir / "dbt_project.yml",
                *sorted((dbt_project_dir / "models").rglob("*.sql")),
                *sorted((dbt_project_dir / "macros").rglob("*.sql")),
                *sorted((dbt_project_dir / "models").rglob("*.py")),
                *sorted(dbt_project_dir.glob(EVIDENCE_CODE)),
            )
        ),
        seeds={name: _digest(map(str, _table(reference, name).to_pylist())) for name in SEEDS},
        instruments={row["symbol"]: _digest([str(row)]) for row in instruments.to_pylist()},
        currency=instruments["base_currency"][0].as_py() if len(instruments) else "",
        sessions=_sessions(reference),
        bars=_bars(lake),
    )


def full_refresh_reason(before: BuildInputs | None, now: BuildInputs, lake: "Lake", reference: Path) -> str:
    """Why the next build has to be a full refresh, in some words; empty if it may be incremental.

    Args:
        before: what the last build was made with; None: not known.
        now: what this one is made with.
        lake: the bars.
        reference: the folder of seeds and sessions.
    """
    if before is None:
        return "no finished build is on record"
    if before.engine != now.engine:
        return f"the last build was one of {before.engine}"
    if before.models != now.models:
        return "the models have changed"
    for name in SEEDS:
        if before.seeds.get(name) != now.seeds[name]:
            return _CHANGED.get(name, f"{name}.csv has changed")
    if before.currency != now.currency:
        return f"instruments are compared in {now.currency} now"
    for symbol, row in before.instruments.items():
        if now.instruments.get(symbol) != row:
            return f"{symbol} is watched otherwise than before, or no more"
    known = {name: last for name, (last, _) in before.sessions.items()}
    if not before.sessions.items() <= _sessions(reference, known).items():
        return "the calendar of past sessions has changed"
    if before.bars != _bars(lake, before.bars[0]):
        return "the lake holds other bars of the time before the last build"
    return ""


def _sessions(reference: Path, until: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    """The last session of each calendar, or the last one until a day, with a digest of all of them up to it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = _table(reference, "sessions", ["calendar", "session_date", "bar_expected"])
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


def _bars(lake: "Lake", until: str = "") -> tuple[str, int]:
    """When the latest version was observed, and how many there are; or how many there were until a moment."""
    if until:
        return until, lake.versions_observed_by(dt.datetime.fromisoformat(until))
    latest = lake.latest_observation()
    return (latest.isoformat(), lake.versions_observed_by(latest)) if latest else ("", 0)


def _table(reference: Path, name: str, columns: list[str] | None = None) -> "pa.Table":
    import pyarrow.parquet as pq

    return pq.read_table(reference / f"{name}.parquet", columns=columns, partitioning=None)


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:32]
