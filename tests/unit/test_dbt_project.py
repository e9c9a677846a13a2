"""Columns, contracts, documentation and exposures of the marts stay together."""

import json
from typing import Any

import pytest

from orchestration.settings import DBT_PROJECT_DIR


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads((DBT_PROJECT_DIR / "target" / "manifest.json").read_text("utf-8"))


def marts(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {n["name"]: n for n in manifest["nodes"].values() if n["resource_type"] == "model" and "marts" in n["fqn"]}


def test_every_mart_has_an_enforced_contract_and_a_grain(manifest: dict[str, Any]) -> None:
    tested = {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and (node.get("test_metadata") or {}).get("name") == "unique_combination_of_columns"
    }
    for name, node in marts(manifest).items():
        assert node["config"]["contract"]["enforced"], name
        assert node["unique_id"] in tested, name
        assert "one row per" in node["description"], name


def test_every_column_is_described(manifest: dict[str, Any]) -> None:
    for name, node in marts(manifest).items():
        assert node["columns"], name
        for column, facts in node["columns"].items():
            assert facts["data_type"], f"{name}.{column}"
            assert len(facts["description"]) > 8, f"{name}.{column}"


def test_every_mart_says_where_its_figures_come_from(manifest: dict[str, Any]) -> None:
    for name, node in marts(manifest).items():
        assert "source" in node["columns"], name


def test_every_model_stands_beside_its_documentation() -> None:
    folders = [p for p in (DBT_PROJECT_DIR / "models").rglob("*") if p.is_dir()]
    models = {f: {p.stem for p in f.iterdir() if p.suffix in (".sql", ".py")} for f in folders}
    assert all(names == {p.stem for p in f.glob("*.yml")} for f, names in models.items())


def test_every_model_fits_on_a_page() -> None:
    lengths = {p.stem: len(p.read_text("utf-8").splitlines()) for p in (DBT_PROJECT_DIR / "models").rglob("*.sql")}
    assert {name: lines for name, lines in lengths.items() if lines >= 150} == {}


def test_every_mart_has_a_reader(manifest: dict[str, Any]) -> None:
    read = {name for exposure in manifest["exposures"].values() for name in exposure["depends_on"]["nodes"]}
    assert {node["unique_id"] for node in marts(manifest).values()} <= read


def test_every_mart_has_a_unit_test(manifest: dict[str, Any]) -> None:
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    # They only pick columns; the rules of bars stand in int_bars.
    assert set(marts(manifest)) - tested <= {"daily_bars", "groups"}
    assert {"int_bars", "trend"} <= tested


def test_names_that_readers_rely_on(manifest: dict[str, Any]) -> None:
    promised = {
        "daily_bars": "open high low close close_as_traded volume dividend split_ratio total_return_index bar_quality"
        " sessions_since_previous source observed_at",
        "currencies": "symbol session_date quote_currency base_currency fx_session_date fx_return_1d return_1d_base"
        " total_return_index_base",
        "returns": "return_1d price_return_1d log_return_1d overnight_return intraday_return return_5d return_21d"
        " return_1w return_1m return_3m return_6m return_1y return_mtd return_ytd return_since_inception base_date_1y"
        " base_date_ytd",
        "volatility": "close_to_close_21 close_to_close_63 close_to_close_252 ewma_094 parkinson_21 garman_klass_63"
        " rogers_satchell_252 gk_yz_21 yang_zhang_21 volatility_percentile_252 volatility_of_volatility_63"
        " volatility_ratio_21_252 is_volatility_spike",
        "trend": "drawdown peak_date sessions_under_water high_52w low_52w distance_from_52w_high"
        " distance_from_52w_low is_52w_high is_52w_low sma_50 sma_200 trend_state verdict peak"
        " previous_high_52w previous_low_52w",
        "sector_relative": "metal_symbol sector_symbol excess_return_metal_1d excess_return_sector_1d"
        " relative_strength_252 beta_63 beta_252 alpha_63 alpha_252 r_squared_63 r_squared_252 correlation_63"
        " correlation_252 beta_up_252 beta_down_252 beta_252_without_largest tracking_error_252"
        " information_ratio_252 rank_1d rank_21d sector_beta_63 metal_session_date beta_method sector_session_date"
        " sector_beta_method",
        "sector_daily": "sector equal_weight_return index_level breadth_advancing breadth_above_sma_50"
        " breadth_above_sma_200 new_highs_52w new_lows_52w",
        "pair_spreads": "pair_id value spread_1d spread_21d z_252 percentile_252 state",
        "level_events": "event_id level_id symbol session_date event direction level lower upper prev_close open high"
        " low close role_before role_after is_repeat event_order price_basis price_source",
        "level_daily": "level_id symbol session_date lower upper side role distance",
        "level_status": "level_id symbol active_from side role distance last_event last_event_date sessions_since"
        " price_source",
        "large_moves": "symbol session_date return_1d rules_hit threshold return_2d return_3d return_5d return_10d"
        " return_21d overnight_return volume_ratio_20 is_volume_confirmed z_21 z_63 z_ewma robust_z_252 percentile_252"
        " rank_since_inception returns_since_inception largest_since largest_since_return sessions_since_largest"
        " is_record history_start sessions_since_previous bridges_gap",
        "move_rule_hits": "symbol session_date rule_id measure sessions score threshold direction bridges_gap source",
        "signal_outcomes": "event_id signal symbol session_date direction sessions is_episode outcome worst best"
        " matured_date recovery_date",
        "signal_statistics": "signal study_id scope scope_value direction threshold sessions signals episodes matured"
        " up share_up share_up_lower share_up_upper median median_lower median_upper base_share_up base_median p_value"
        " q_value finding",
        "return_periods": "symbol side basis history_end returns threshold clusters clusters_per_year shape scale"
        " level_1y level_5y level_10y level_25y",
        "move_return_periods": "symbol session_date side basis period_years period_lower period_upper period_min"
        " period_max",
        "market_signals": "event_id signal check_name symbol pair_id level_id session_date direction strength severity"
        " is_repeat",
        "market_summary": "symbol name session_date market_session close return_1d return_ytd return_1y drawdown"
        " close_to_close_21 volatility_ratio_21_252 beta_252 trend_state verdict largest_since",
        "claim_checks": "claim_id measure claimed computed difference verdict",
        "price_revisions": "field old_value new_value first_observed_at changed_at relative_change",
        "data_coverage": "expected_sessions stored_sessions missing_sessions first_missing staleness_sessions",
    }
    found = marts(manifest)
    for mart, names in promised.items():
        assert set(names.split()) <= set(found[mart]["columns"]), mart


def test_evidence_reads_tables_of_what_comes_before_it(manifest: dict[str, Any]) -> None:
    """Of what Spark has built DuckDB gets the tables, and no view."""
    models = {id_: node for id_, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    evidence = {id_ for id_, node in models.items() if "evidence" in node["fqn"]}
    after = [id_ for id_ in evidence if "intermediate" in models[id_]["fqn"]]
    while after:
        after = [child for id_ in after for child in manifest["child_map"][id_] if child in models]
        evidence.update(after)
    asked = [(id_, parent) for id_ in evidence for parent in models[id_]["depends_on"]["nodes"]]
    assert len(asked) > 20
    while asked:
        id_, parent = asked.pop()
        if parent in models and parent not in evidence:
            assert models[parent]["config"]["materialized"] != "view", f"{id_} reads {parent}"
            if models[parent]["config"]["materialized"] == "ephemeral":
                asked += [(id_, other) for other in models[parent]["depends_on"]["nodes"]]
