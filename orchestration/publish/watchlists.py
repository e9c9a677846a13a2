"""The watchlists of the published version: which instruments a reader asks for by one name."""

from pathlib import Path

from orchestration.duckdb_io import rows
from orchestration.market.errors import OrewatchError


def watchlists(published: Path) -> dict[str, tuple[str, ...]]:
    """The symbols of each watchlist; of a version of an earlier release none.

    Args:
        published: the DuckDB file of a published version.
    """
    members: dict[str, list[str]] = {}
    for row in rows(published, "select * from instruments order by symbol"):
        for name in (row.get("watchlists") or "").split():
            members.setdefault(name, []).append(row["symbol"])
    return {name: tuple(symbols) for name, symbols in members.items()}


def members_of(published: Path, name: str) -> frozenset[str]:
    """The symbols of a watchlist.

    Raises:
        OrewatchError: no instrument of the version is on it.
    """
    known = watchlists(published)
    if name not in known:
        allowed = ", ".join(sorted(known)) or "none yet; column watchlists of instruments.csv, then: orewatch refresh"
        raise OrewatchError(f"--watchlist={name}: no instrument is on it; allowed: {allowed}")
    return frozenset(known[name])
