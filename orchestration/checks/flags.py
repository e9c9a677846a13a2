"""What happened in the market since it was last looked at: the rows that market checks, command line and brief show.

Each check group remembers, per instrument, up to which session it has looked. The sessions after that are its window;
looking again without new sessions shows the same window again, so a flag does not vanish because somebody refreshed
twice, and a skipped day is never missed.
"""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.settings import Settings
from orchestration.storage.publish import current_manifest
from orchestration.storage.warehouse import rows

# Check groups; each remembers for itself what it has looked at.
GROUPS = ("levels", "moves")

LATEST_SESSIONS = """
    select symbol, max(session_date) as latest, max(session_date) filter (where bars_back = 2) as before_latest
    from (
        select symbol, session_date, row_number() over (partition by symbol order by session_date desc) as bars_back
        from daily_bars
    )
    group by symbol
"""

LEVEL_EVENTS = """
    select session_date, symbol, level_id, event, direction, level, prev_close, open, high, low, close, event_id
    from level_events order by session_date desc, symbol, level_id
"""

LARGE_MOVES = """
    select
        session_date, symbol, return_1d, z_21, z_63, rank_since_inception, returns_since_inception,
        largest_since, largest_since_return, is_record, history_start, bridges_gap, rules_hit
    from large_moves order by session_date desc, abs(return_1d) desc
"""


@dataclass(frozen=True)
class Window:
    """Sessions of one instrument that are looked at: after `after`, up to and including `through`."""

    after: dt.date | None
    through: dt.date

    def holds(self, session: dt.date) -> bool:
        """Whether the session is looked at."""
        return session <= self.through and (self.after is None or session > self.after)


@dataclass(frozen=True)
class Flags:
    """Rows of one mart that lie in the windows."""

    rows: list[dict[str, Any]]
    windows: dict[str, Window]
    version: int


def published_file(settings: Settings) -> Path:
    """The DuckDB file that readers see now."""
    return settings.published_dir / "current" / "market.duckdb"


def level_flags(settings: Settings) -> Flags:
    """Level events since they were last evaluated."""
    return _flags(settings, "levels", LEVEL_EVENTS)


def move_flags(settings: Settings) -> Flags:
    """Large moves since they were last evaluated."""
    return _flags(settings, "moves", LARGE_MOVES)


def remember(settings: Settings, group: str, flags: Flags) -> None:
    """Note that a check group has looked at its windows."""
    state = _state(settings)
    state[group] = {
        "version": flags.version,
        "windows": {
            symbol: {"after": w.after.isoformat() if w.after else None, "through": w.through.isoformat()}
            for symbol, w in sorted(flags.windows.items())
        },
    }
    path = _state_path(settings)
    temporary = path.with_suffix(".next")
    temporary.write_text(json.dumps(state, indent=1), "utf-8")
    temporary.replace(path)


def next_window(seen: Window | None, latest: dt.date, before_latest: dt.date | None) -> Window:
    """The window to look at now.

    Args:
        seen: the window that was looked at last; None if the instrument is new.
        latest: its latest session.
        before_latest: the session before that.
    """
    if seen is None:
        return Window(before_latest, latest)
    if latest > seen.through:
        return Window(seen.through, latest)
    return Window(seen.after, latest)


def evaluated_version(settings: Settings) -> int:
    """The published version that every check group has looked at; 0 before the first."""
    state = _state(settings)
    return min((int(state.get(group, {}).get("version", 0)) for group in GROUPS), default=0)


def _flags(settings: Settings, group: str, sql: str) -> Flags:
    manifest = current_manifest(settings.published_dir)
    if manifest is None:
        return Flags([], {}, 0)
    # The version's own folder, not the link: all queries see one version, whatever is published meanwhile.
    published = settings.published_dir / "versions" / str(manifest.version) / "market.duckdb"
    seen = _state(settings).get(group, {}).get("windows", {})
    windows = {
        row["symbol"]: next_window(_window(seen.get(row["symbol"])), row["latest"], row["before_latest"])
        for row in rows(published, LATEST_SESSIONS)
    }
    flagged = [row for row in rows(published, sql) if windows[row["symbol"]].holds(row["session_date"])]
    return Flags(flagged, windows, manifest.version)


def _window(stored: dict[str, str | None] | None) -> Window | None:
    if stored is None or stored["through"] is None:
        return None
    after = stored["after"]
    return Window(dt.date.fromisoformat(after) if after else None, dt.date.fromisoformat(stored["through"]))


def _state(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        return json.loads(_state_path(settings).read_text("utf-8"))
    except FileNotFoundError:
        return {}


def _state_path(settings: Settings) -> Path:
    return settings.root / "market_checks.json"
