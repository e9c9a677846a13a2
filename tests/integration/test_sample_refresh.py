"""The whole job on the simulated market: what a newcomer sees."""

import base64
import datetime as dt
import json
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from orchestration.market.universe import load_universe
from orchestration.publish.manifest import current_manifest
from orchestration.publish.marts import marts
from orchestration.publish.versions import publish
from orchestration.settings import Settings
from orchestration.signals.checks import market_checks
from orchestration.transform.manifest import read_manifest
from orchestration.transform.run_results import RUN_RESULTS
from tests.jobs import asset_graph, evaluations, published, run_job, write_seeds
from tests.models_sql import build_models

pytestmark = pytest.mark.integration

# Falls of 30 January 2026, in percent: reported facts that the simulated market passes through.
FALLS = {
    "SI=F": -31.35,
    "GC=F": -11.37,
    "SLV": -28.54,
    "SIL": -14.78,
    "SILJ": -15.02,
    "AUAU": -12.56,
    "GDX": -12.76,
    "GDXJ": -13.63,
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def first(settings: Settings) -> dg.ExecuteInProcessResult:
    result = run_job(settings, real_dbt=True)
    assert result.success
    return result


@pytest.mark.usefixtures("first")
class TestFirstRefresh:
    def test_falls_of_the_day(self, settings: Settings) -> None:
        rows = published(settings, "select symbol, return_1d from returns where session_date = '2026-01-30'")
        assert {row["symbol"] for row in rows if row["return_1d"] is None} == {"^TNX", "^VIX", "^GVZ"}
        found = {row["symbol"]: round(100 * row["return_1d"], 2) for row in rows if row["return_1d"] is not None}
        assert len(found) == 51
        assert {symbol: found[symbol] for symbol in FALLS} == FALLS

    def test_year_to_date_of_sil_is_not_what_the_note_said(self, settings: Settings) -> None:
        (row,) = published(settings, "select * from returns where symbol = 'SIL' and session_date = '2026-01-30'")
        assert round(100 * row["price_return_ytd"], 2) == 12.91
        assert row["base_date_ytd"] == dt.date(2025, 12, 31)

    def test_levels_of_silver(self, settings: Settings) -> None:
        rows = published(
            settings,
            "select session_date, level_id, event, direction from level_events where level_id in"
            " ('silver_54_resistance', 'silver_56_resistance', 'silver_100_psychological', 'silver_54_56_zone')"
            " order by all",
        )
        assert [(str(r["session_date"]), r["level_id"], r["event"], r["direction"]) for r in rows] == [
            ("2025-11-13", "silver_54_56_zone", "pierce_rejected", "up"),
            ("2025-11-13", "silver_54_resistance", "pierce_rejected", "up"),
            ("2025-11-28", "silver_54_56_zone", "zone_crossed_through", "up"),
            ("2025-11-28", "silver_54_resistance", "close_cross", "up"),
            ("2025-11-28", "silver_56_resistance", "close_cross", "up"),
            ("2025-12-01", "silver_54_56_zone", "confirmed", "up"),
            ("2025-12-01", "silver_54_56_zone", "role_flip", "up"),
            ("2025-12-01", "silver_54_resistance", "confirmed", "up"),
            ("2025-12-01", "silver_54_resistance", "role_flip", "up"),
            ("2025-12-01", "silver_56_resistance", "confirmed", "up"),
            ("2025-12-01", "silver_56_resistance", "role_flip", "up"),
            ("2026-01-23", "silver_100_psychological", "close_cross", "up"),
            ("2026-01-26", "silver_100_psychological", "confirmed", "up"),
            ("2026-01-26", "silver_100_psychological", "role_flip", "up"),
            ("2026-01-30", "silver_100_psychological", "close_cross", "down"),
            ("2026-01-30", "silver_100_psychological", "retest_failed", "down"),
        ]

    def test_largest_fall_of_sil_since_march_2020(self, settings: Settings) -> None:
        (row,) = published(settings, "select * from large_moves where symbol = 'SIL' and session_date = '2026-01-30'")
        assert (row["rank_since_inception"], row["largest_since"]) == (2, dt.date(2020, 3, 13))
        assert round(row["largest_since_return"], 3) == -0.171

    def test_young_funds_have_no_scores_that_they_cannot_have(self, settings: Settings) -> None:
        (row,) = published(settings, "select * from large_moves where symbol = 'AUAU' and session_date = '2026-01-30'")
        assert row["z_63"] is None
        assert row["z_21"] is not None
        assert row["is_record"]

    def test_nothing_is_missing_stale_or_rejected(self, settings: Settings) -> None:
        rows = published(settings, "select * from data_coverage")
        assert len(rows) == 54
        assert {(r["missing_sessions"], r["staleness_sessions"], r["last_fetch_status"]) for r in rows} == {
            (0, 0, "ok")
        }
        assert published(settings, "select * from rejected_bars") == []

    def test_every_table_says_that_it_is_the_sample(self, settings: Settings) -> None:
        manifest = current_manifest(settings.paths.published)
        assert manifest is not None
        assert manifest.simulated
        assert len(manifest.rows) == 30
        for table, count in manifest.rows.items():
            sources = {row["source"] for row in published(settings, f"select distinct source from {table}")}  # noqa: S608
            assert sources == ({"sample"} if count else set())

    def test_what_was_flagged(self, first: dg.ExecuteInProcessResult) -> None:
        checks = evaluations(first)
        failed = {name for name, e in checks.items() if not e.passed}
        assert failed == {
            "silver_100_psychological",
            "gold_5000_psychological",
            "round_numbers",
            "volatility_spikes",
            *(f"{tier}_daily_move" for tier in ("metal", "senior", "royalty", "junior")),
            *(f"{tier}_{n}_session_move" for tier in ("metal", "senior", "junior") for n in (2, 3, 5)),
            "royalty_2_session_move",
            "opening_gap",
            "extreme_of_252_sessions",
            "unusual_against_21_sessions",
            "unusual_against_63_sessions",
            "unusual_against_ewma",
            "unusual_against_median",
            "confirmed_by_volume",
            "ten_year_yield_daily_change",
        }
        assert all(checks[name].severity is dg.AssetCheckSeverity.WARN for name in failed)
        silver = checks["silver_100_psychological"]
        assert (
            silver.description
            == "SIMULATED prices. 2026-01-30: closed back below 100 in a failed retest, close 78.29 USD, and 1 more"
        )
        table = silver.metadata["offenders"]
        assert isinstance(table, dg.TableMetadataValue)
        assert [(r.data["symbol"], r.data["event"], r.data["close"]) for r in table.records] == [
            ("SI=F", "retest_failed", 78.29),
            ("SI=F", "close_cross", 78.29),
        ]

    def test_our_adjustment_was_held_against_the_vendors(self, first: dg.ExecuteInProcessResult) -> None:
        assert evaluations(first)["vendor_adjustment_agrees"].passed

    def test_what_is_flagged_comes_with_a_table_and_a_picture(self, first: dg.ExecuteInProcessResult) -> None:
        checks = evaluations(first)
        level = checks["silver_100_psychological"]
        assert (
            level.description
            == "SIMULATED prices. 2026-01-30: closed back below 100 in a failed retest, close 78.29 USD, and 1 more"
        )
        assert level.metadata["table"] == dg.MetadataValue.asset(dg.AssetKey("level_events"))
        columns = level.metadata["offenders"].records[0].data
        assert (columns["symbol"], columns["event"], columns["close"]) == ("SI=F", "retest_failed", 78.29)
        # As wide as the page: the rest stands in the table of the asset.
        assert not {"level_id", "lower", "upper", "price_source"} & set(columns)
        assert level.metadata["flagged"].value == 2
        assert checks["silver_50_record"].metadata["flagged"].value == 0
        assert "SLV volatility" in str(checks["volatility_spikes"].description)
        crossed = {
            r.data["symbol"]: r.data["levels_crossed"] for r in checks["round_numbers"].metadata["offenders"].records
        }
        assert crossed["SI=F"] == "110, 100, 90, 80"
        for name, evaluation in checks.items():
            if evaluation.asset_key.path[-1] == "market_signals" and not evaluation.passed:
                text = str(evaluation.metadata["plot"].value)
                picture = base64.b64decode(text.partition("base64,")[2].removesuffix(")"))
                assert picture.startswith(b"\x89PNG"), name
                assert len(picture) > 3_000, name  # in the colours of a palette

    def test_a_level_that_is_added_is_a_check_at_the_next_load(self, tmp_path: Path) -> None:
        seeds = write_seeds(tmp_path / "seeds")
        with (seeds / "price_levels.csv").open("a") as file:
            file.write("silver_75,SI=F,75,75,support,2026-01-01,mine\n")
        known = asset_graph(Settings(home=tmp_path, seeds=seeds)).asset_check_keys
        signals = dg.AssetKey("market_signals")
        assert dg.AssetCheckKey(signals, "silver_75") in known
        assert len([key for key in known if key.asset_key == signals and key.name.count("_to_")]) == 10

    def test_checks_of_two_kinds_with_one_name_are_told_apart(self, tmp_path: Path) -> None:
        """They stand on one asset; a seed that gave a level and a pair the same id has to load as before."""
        seeds = write_seeds(tmp_path / "seeds")
        with (seeds / "price_levels.csv").open("a") as file:
            file.write("gold_to_silver,SI=F,75,75,support,2026-01-01,mine\n")
        known = {check.name: check for check in market_checks(load_universe(seeds))}
        assert known["gold_to_silver"].description == "SI=F met 75 (support): mine."
        assert known["gold_to_silver_pair"].check == "gold_to_silver"

    def test_models_report_rows_and_latest_session(self, first: dg.ExecuteInProcessResult, settings: Settings) -> None:
        (event,) = [e for e in first.get_asset_materialization_events() if e.asset_key == dg.AssetKey("returns")]
        metadata = event.materialization.metadata
        (count,) = published(settings, "select count(*) as n from returns")
        assert metadata["dagster/row_count"].value == count["n"]
        assert metadata["latest_session"].value == "2026-01-30"

    def test_columns_are_shown_as_they_are(self, settings: Settings) -> None:
        models = [
            node
            for node in read_manifest()["nodes"].values()
            if node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral"
        ]
        with duckdb.connect(str(settings.paths.warehouse), read_only=True) as warehouse:
            for model in models:
                shown = {name: column["data_type"] for name, column in model["columns"].items()}
                rows = warehouse.sql(f"describe {model['name']}").fetchall()
                assert {name: kind.lower() for name, kind, *_ in rows} == {
                    name: "varchar" if kind == "string" else kind for name, kind in shown.items()
                }, model["name"]

    def test_a_second_build_of_the_lake_is_equal_to_the_last_bit(self, settings: Settings, tmp_path: Path) -> None:
        """And what other tests run in the place of dbt builds what dbt builds."""
        again = tmp_path / "warehouse.duckdb"
        # On another number of threads: sums of doubles must not depend on who comes first.
        build_models(settings.paths.root, again, source="sample", threads=5)
        second = publish(again, marts(), tmp_path / "published", "f", "sample", True)
        manifest = current_manifest(settings.paths.published)
        assert manifest is not None
        assert second.hashes == manifest.hashes
        assert second.content_hash == manifest.content_hash != ""

    def test_what_stands_for_dbt_elsewhere_ends_as_dbt_did(
        self, first: dg.ExecuteInProcessResult, settings: Settings, sample_home: Path
    ) -> None:
        manifests = [current_manifest(home.paths.published) for home in (settings, Settings(home=sample_home))]
        assert manifests[0] is not None
        assert manifests[1] is not None
        # Only what says when a run saw something may differ.
        assert manifests[1].hashes == manifests[0].hashes
        real, stood_in = (
            {
                r["unique_id"]: (r["status"], r["failures"])
                for r in json.loads((home.paths.root / "dbt" / RUN_RESULTS).read_text())["results"]
                if r["unique_id"].startswith(("model.", "test."))
            }
            for home in (settings, Settings(home=sample_home))
        )
        assert stood_in.keys() == real.keys()
        assert {id_: status for id_, (status, _) in stood_in.items()} == {id_: s for id_, (s, _) in real.items()}
        assert len(real) > 150


def test_later_sessions_arrive_and_only_they_are_flagged(first: dg.ExecuteInProcessResult, settings: Settings) -> None:
    before = len(published(settings, "select 1 from daily_bars where symbol = 'SIL'"))
    later = settings.model_copy(update={"as_of": dt.date(2026, 2, 3)})
    result = run_job(later)
    assert result.success
    assert len(published(later, "select 1 from daily_bars where symbol = 'SIL'")) == before + 2
    manifest = current_manifest(later.paths.published)
    assert manifest is not None
    assert manifest.version == 2
    assert published(
        later, "select count(*) as n from price_revisions where field in ('open', 'high', 'low', 'close')"
    ) == [{"n": 0}]
    checks = evaluations(result)
    offenders = checks["silver_100_psychological"].metadata["offenders"].records  # type: ignore[union-attr]
    assert [(str(r.data["session_date"]), r.data["event"], r.data["role_after"]) for r in offenders] == [
        ("2026-02-02", "role_flip", "resistance"),
        ("2026-02-02", "confirmed", "support"),
    ]
    for name, evaluation in checks.items():
        if "offenders" in evaluation.metadata:
            sessions = {str(r.data["session_date"]) for r in evaluation.metadata["offenders"].records}  # type: ignore[union-attr]
            assert sessions <= {"2026-02-02", "2026-02-03"}, name
