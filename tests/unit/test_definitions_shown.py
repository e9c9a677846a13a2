"""What the web UI shows of every asset, check and run: groups, one line, owners, kinds, columns, links, tags."""

import base64
import datetime as dt
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from PIL import Image

from orchestration.asset_metadata import FRESH_FOR, OWNERS, asked_for, first_sentence_first, tag_run
from orchestration.build import build_definitions
from orchestration.ingest.lake import DATASETS
from orchestration.ingest.reference import SCHEMAS
from orchestration.ingest.specs import REFERENCE
from orchestration.market.calendar import sessions
from orchestration.publish.marts import mart_names
from orchestration.schedules import AGAIN, DUE, EXCHANGE
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.signals import plots
from orchestration.transform.manifest import read_manifest
from tests import documents
from tests.jobs import asset_graph

# In the order in which data goes through them.
WAY = (
    *("sources", "lake", "staging"),
    *("prices", "returns", "volatility", "trend", "relative", "levels", "moves", "signals", "evidence"),
    *("quality", "overview", "publish"),
)

# Of a description, with the label of simulated prices; the catalog shows its beginning, the pointer over it the rest.
LONGEST_LINE = 165


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("home"),
        source="sample",
        postgres_url="postgresql:///nowhere",
        store="s3://nowhere/desk",
    )


@pytest.fixture(scope="module")
def graph(settings: Settings) -> Any:
    return asset_graph(settings)


@pytest.fixture(scope="module")
def assets(graph: Any) -> dict[str, Any]:
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def columns(asset: Any) -> dict[str, dg.TableColumn]:
    return {column.name: column for column in asset.metadata["dagster/column_schema"].columns}


def test_data_goes_through_the_groups_in_one_direction(assets: dict[str, Any]) -> None:
    places = {name: WAY.index(asset.group_name) for name, asset in assets.items()}
    assert set(places.values()) == set(range(len(WAY)))
    backwards = [
        (parent.to_user_string(), name)
        for name, asset in assets.items()
        for parent in asset.parent_keys
        if places[parent.to_user_string()] > places[name]
    ]
    assert backwards == []


def test_every_asset_has_a_line_an_owner_kinds_and_its_source(assets: dict[str, Any]) -> None:
    for name, asset in assets.items():
        line, *rest = (asset.description or "").split("\n\n", 1)
        assert 20 < len(line) <= LONGEST_LINE, (name, line)
        assert line.endswith("."), name
        assert "\n" not in line, name
        assert all(len(more) > 20 for more in rest), name
        assert list(asset.owners) == OWNERS, name
        assert asset.kinds, name
        assert asset.tags["source"] == "sample", name


def test_every_asset_leads_to_its_code_and_its_document(assets: dict[str, Any]) -> None:
    for name, asset in assets.items():
        path, _, anchor = asset.metadata["document"].partition("#")
        assert not anchor or anchor in documents.anchors(PROJECT_ROOT / path), name
        *code, document = [Path(r.file_path) for r in asset.metadata["dagster/code_references"].code_references]
        assert document == PROJECT_ROOT / path, name
        assert code, name
        assert all(file.is_file() for file in [*code, document]), name
    for name in mart_names():
        first = assets[name].metadata["dagster/code_references"].code_references[0]
        assert (Path(first.file_path).name, first.label) == (f"{name}.sql", f"{name}.sql")
    first = assets["control/pairs"].metadata["dagster/code_references"].code_references[0]
    assert first.label == "pairs.csv"


def test_no_committed_file_names_a_folder_of_a_machine() -> None:
    manifest = read_manifest()
    for node in [*manifest["nodes"].values(), *manifest["sources"].values(), *manifest["exposures"].values()]:
        assert not Path(node["original_file_path"]).is_absolute()


def test_every_model_and_every_input_has_described_columns(assets: dict[str, Any]) -> None:
    stored = {f"raw/{name}": schema for name, schema in DATASETS.items()}
    stored |= {f"control/{name}": schema for name, schema in SCHEMAS.items()}
    assert {f"control/{name}" for name in REFERENCE} <= set(stored)
    models = [n for n in read_manifest()["nodes"].values() if n["resource_type"] == "model"]
    # What is part of the SQL of others is no asset.
    within = [n for n in models if n["config"]["materialized"] == "ephemeral"]
    assert all(c["data_type"] and len(c["description"]) > 8 for n in within for c in n["columns"].values())
    for name in [*(n["name"] for n in models if n not in within), *stored]:
        assert all(c.type and len(c.description or "") > 8 for c in columns(assets[name]).values()), name
    types = {"double": "double", "date32[day]": "date", "timestamp[us]": "timestamp", "int64": "bigint"}
    types |= {"bool": "boolean", "string": "string"}
    for name, schema in stored.items():
        found = {column: facts.type for column, facts in columns(assets[name]).items()}
        assert found == {field.name: types[str(field.type)] for field in schema}, name


def test_every_exposure_is_seen_behind_the_tables_that_it_reads(assets: dict[str, Any], graph: Any) -> None:
    manifest = read_manifest()
    external = {name.removeprefix("exposures/") for name in assets if name.startswith("exposures/")}
    ours = {}
    for exposure in manifest["exposures"].values():
        if exposure["name"] not in external:
            ours[exposure["name"]] = "/".join(exposure["meta"]["dagster"]["asset_key"])
            continue
        asset = assets[f"exposures/{exposure['name']}"]
        assert not asset.is_materializable
        assert asset.is_external
        read = {manifest["nodes"][id_]["name"] for id_ in exposure["depends_on"]["nodes"]}
        assert {key.to_user_string() for key in asset.parent_keys} == read
    assert ours == {"published_market": "published/market"}
    assert {"market_checks", "command_line"} <= external


def test_the_job_refreshes_what_can_be_made(settings: Settings, assets: dict[str, Any]) -> None:
    with dg.DagsterInstance.ephemeral():
        job = build_definitions(settings).resolve_job_def("refresh")
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert made == {name for name, asset in assets.items() if asset.is_materializable}


def test_checks_are_named_and_described_for_people(graph: Any) -> None:
    names = [key.name for key in graph.asset_check_keys]
    assert "silver_100_psychological" in names
    described = {}
    for key in graph.asset_check_keys:
        assert re.fullmatch(r"[a-z0-9_]{4,60}", key.name), key
        # What is left of the names that dbt makes from arguments.
        assert "__" not in key.name, key
        assert not key.name.endswith("_"), key
        description = graph.get_check_spec(key).description or ""
        assert len(description) > 20, key
        described[(key.asset_key.to_user_string(), key.name)] = description
    label = "SIMULATED prices. "
    assert described["trend", "accepted_range_drawdown"].startswith(
        f"{label}drawdown: where known, at least -1 and at most 0."
    )
    assert ("volatility", "accepted_range_close_to_close_21_and_20_more") in described
    assert described["returns", "unique_symbol_session_date"].startswith(f"{label}One row per symbol, session_date.")
    assert described["trend", "accepted_values_trend_state"].startswith(
        f"{label}trend_state is one of up, down, mixed."
    )
    assert described["daily_bars", "not_null_close"].startswith(f"{label}close is never empty.")


def test_the_launchpad_asks_for_what_is_documented_and_for_nothing_of_this_machine(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral():
        job = build_definitions(settings).resolve_job_def("refresh")
    shown = job.get_config_schema_snapshot()
    assert str(PROJECT_ROOT) not in str(shown)
    (config,) = [
        snap
        for snap in shown.all_config_snaps_by_key.values()
        if {"symbols", "start", "end", "full"} == {field.name for field in snap.fields or ()}
    ]
    assert all(len(field.description or "") > 30 for field in config.fields or ())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (([], None, None, False), "what is due"),
        ((["SIL", "SILJ"], None, None, False), "SIL, SILJ, what is due"),
        ((list("ABCDEFG"), "2026-01-05", None, False), "A, B, C, D, E and 2 more, from 2026-01-05"),
        (([], "2026-01-05", "2026-01-30", False), "all symbols, from 2026-01-05 to 2026-01-30"),
        (([], None, None, True), "all symbols, whole history"),
    ],
)
def test_what_was_asked_for_in_words(config: tuple[list[str], str | None, str | None, bool], words: str) -> None:
    assert asked_for(*config) == words


def test_a_run_that_no_job_has_tagged_says_its_source(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.add_run(dg.DagsterRun(job_name="__ASSET_JOB", tags={"part": "fetch"}))
        tag_run(SimpleNamespace(instance=instance, run=run), settings.paths, version=3)
        found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.tags.items() >= {"part": "fetch", "source": "sample", "simulated": "true", "version": "3"}.items()


def test_lists_show_the_first_sentence() -> None:
    assert first_sentence_first("One\nsentence; one row per day.\n") == "One sentence; one row per day."
    assert first_sentence_first("One.\nTwo. Three.") == "One.\n\nTwo. Three."


def test_a_picture_is_small_and_keeps_the_colour_of_a_single_dot() -> None:
    days = [dt.date(2025, 1, 1) + dt.timedelta(days=n) for n in range(250)]
    closes = plots.Series(days, [100.0 + n * 37 % 11 for n in range(250)])
    bands = [plots.Band("zone", 103, 105), plots.Band("line", 108, 108)]
    text = plots.markdown_image(plots.price_with_levels("AAA", closes, bands, days[-1:]), "a level")
    stored = base64.b64decode(text.partition("base64,")[2].rstrip(")"))
    picture = Image.open(io.BytesIO(stored))
    assert picture.mode == "P"
    colours = {colour for _, colour in picture.convert("RGB").getcolors(256) or ()}
    for wanted in (plots.COLOURS[0], plots.COLOURS[1]):
        red, green, blue = (int(wanted[at : at + 2], 16) for at in (1, 3, 5))
        assert any(abs(red - r) + abs(green - g) + abs(blue - b) < 12 for r, g, b in colours), wanted


def test_published_assets_are_stale_once_an_evening_after_a_session_was_missed() -> None:
    """The exchange is never closed for longer, and its run is repeated at 21:00; the simulated market stands still."""
    days = pd.to_datetime(sessions(EXCHANGE, dt.date(2013, 1, 2), dt.date(2027, 6, 30))["session_date"])
    longest = days.diff().max() + (dt.datetime.combine(days[0], AGAIN) - dt.datetime.combine(days[0], DUE))
    assert longest < FRESH_FOR < longest + dt.timedelta(hours=12)
    for source, awaited in (("sample", set()), ("yahoo", {"published/market", "published/market_brief"})):
        graph = asset_graph(Settings(source=source))
        keys = [key for key in graph.get_all_asset_keys() if graph.get(key).freshness_policy]
        assert {key.to_user_string() for key in keys} == awaited
