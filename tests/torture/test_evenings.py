"""A small home lives for many evenings: its disk and its time stay what they were, and nothing is told twice."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest

from orchestration.alerts.outbox_file import FILE
from orchestration.build import build_definitions
from orchestration.instance.instance import opened_instance
from tests.evenings import Evening, Evenings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# What is kept, so that the tenth evening finds as much as any later one; of alerts the least that is allowed.
KEEP = {"keep_runs_days": 10, "keep_briefs_days": 10, "keep_alerts_days": 60}
STEADY = 10
# What is kept for sixty days is not full on the tenth evening.
KEPT_LONGER, STEADY_THEN = ("alerts",), 100
# Files and bytes that are no growth whatever they were: an event more is a hundred bytes.
LITTLE = (0, 4096)
# The lake is not among what has to stay: it grows by what the market brings, nothing of it is ever deleted.
BOUNDED = ("dagster", "published", "briefs", "alerts", "dbt", "control", "warehouse.duckdb", "market_checks.json")


@pytest.mark.parametrize("count", [pytest.param(24, id="24"), pytest.param(400, id="400", marks=pytest.mark.torture)])
def test_a_home_does_not_silt_up(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Evenings(tmp_path, count, monkeypatch, **KEEP)
    lived: list[Evening] = []
    told: Counter[str] = Counter()
    for evening in world.live(count):
        lived.append(evening)
        told.update(events_since(world))
        assert "could not be removed" not in evening.said
        if evening.number in (STEADY, 100, count):
            print(figures(evening))
    steady, last = lived[STEADY - 1], lived[-1]
    before = {part: steady.sizes[part] for part in BOUNDED}
    if count > STEADY_THEN:
        before |= {part: lived[STEADY_THEN - 1].sizes[part] for part in KEPT_LONGER}
    grown = {
        part: (sizes, last.sizes[part])
        for part, sizes in before.items()
        if any(now > max(1.2 * then, least) for then, now, least in zip(sizes, last.sizes[part], LITTLE, strict=True))
    }
    assert not grown
    assert last.bytes <= 1.2 * steady.bytes
    assert max(told.values()) == 1, told
    assert told.total() > count / 40
    if count >= 100:
        then, now = (median(e.cpu for e in some) for some in (lived[STEADY - 1 : STEADY + 20], lived[-21:]))
        assert now <= 1.2 * then
    assert_the_web_ui_knows_what_is_now(world)


def events_since(world: Evenings) -> list[str]:
    """The events that were noted on this evening."""
    with closing(sqlite3.connect(world.settings.paths.alerts / FILE)) as connection:
        began = world.moment.timestamp()
        return [name for (name,) in connection.execute("select event_id from events where recorded_at >= ?", (began,))]


def assert_the_web_ui_knows_what_is_now(world: Evenings) -> None:
    """Every asset has been made by a run that is there; every check has a result."""
    with opened_instance(world.settings.paths) as instance:
        graph = build_definitions(world.settings).resolve_asset_graph()
        runs = {run.run_id for run in instance.get_runs()}
        made = instance.get_latest_materialization_events(graph.materializable_asset_keys)
        assert {event.run_id for event in made.values() if event} <= runs
        assert all(made.values())
        checks = list(graph.asset_check_keys)
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
        assert set(found) == set(checks)


def figures(evening: Evening) -> str:
    """One evening in a few lines, for docs/runbook.md."""
    parts = "\n".join(f"  {name:20} {files:6} {size / 1e6:10.2f} MB" for name, (files, size) in evening.sizes.items())
    return (
        f"evening {evening.number}: {evening.files} files, {evening.bytes / 1e6:.1f} MB, "
        f"{evening.wall:.1f} s, {evening.cpu:.1f} CPU s\n{parts}"
    )
