"""After a refresh that found nothing, the web UI calls no asset out of date."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from orchestration.build import build_definitions
from orchestration.instance.instance import opened_instance
from tests.jobs import ClockedSettings, refresh, small_seeds

pytestmark = pytest.mark.integration

DAYS = [dt.date(2026, 1, day) for day in (20, 21, 22, 23, 26, 27, 28, 29, 30)]


def deliver(folder: Path, days: list[dt.date]) -> None:
    for symbol in ("AAA", "BBB"):
        rows = "".join(f"{day},{100 + n}\n" for n, day in enumerate(days))
        (folder / f"{symbol}.csv").write_text(f"Date,Close\n{rows}")


def out_of_date(settings: ClockedSettings) -> set[str]:
    """Assets that the UI marks."""
    with opened_instance(settings.paths) as instance:
        graph = build_definitions(settings).resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return {
            key.to_user_string()
            for key in graph.get_all_asset_keys()
            if graph.get(key).is_materializable and resolver.get_status(key) is StaleStatus.STALE
        }


def test_a_refresh_that_finds_nothing_leaves_nothing_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    drop = tmp_path / "drop"
    drop.mkdir()
    deliver(drop, DAYS[:-1])
    settings = ClockedSettings(
        source="files",
        home=tmp_path / "home",
        files=drop,
        seeds=small_seeds(tmp_path / "seeds", "AAA", "BBB"),
        moment=dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC),
    )
    assert refresh(settings)
    assert out_of_date(settings) == set()
    # Everything is asked again, and nothing is new.
    assert refresh(settings)
    assert out_of_date(settings) == set()
    # What is new is seen, and built.
    deliver(drop, DAYS)
    assert refresh(settings)
    assert out_of_date(settings) == set()
    with opened_instance(settings.paths) as instance:
        counts = [len(instance.fetch_materializations(dg.AssetKey(key), limit=9).records) for key in ("returns",)]
    assert counts == [2]
