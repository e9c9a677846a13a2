"""What a refresh found wrong with each symbol: quarantine, suspicions, checks, failed fetches."""

import datetime as dt
from collections import defaultdict
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from orchestration.settings import Settings
from tests.jobs import evaluations, published

Finding = tuple[dt.date | None, str]


def findings(settings: Settings, result: dg.ExecuteInProcessResult) -> dict[str, set[Finding]]:
    """By symbol, each rule that something broke, with the session where it is about one."""
    found: dict[str, set[Finding]] = defaultdict(set)
    for row in published(settings, "select symbol, session_date, rule from rejected_bars"):
        found[row["symbol"]].add((row["session_date"], row["rule"]))
    for row in published(
        settings, "select symbol, session_date, suspicion from daily_bars where suspicion is not null"
    ):
        found[row["symbol"]].add((row["session_date"], row["suspicion"]))
    for part in Path(settings.paths.lake / "fetches").glob("*.parquet"):
        for fetch in pq.read_table(part).to_pylist():
            if fetch["held_back_rows"]:
                found[fetch["symbol"]].add((None, "held_back"))
            if fetch["status"] not in ("ok", "absent"):
                found[fetch["symbol"]].add((None, fetch["status"]))
    for record in evaluations(result)["feeds_sound"].metadata.get("offenders", _NONE).records:  # type: ignore[union-attr]
        found[str(record.data["symbol"])].add((None, "feeds_sound"))
    return found


_NONE = dg.MetadataValue.table([], schema=dg.TableSchema([]))
