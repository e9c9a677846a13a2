"""The dashboard: its bundle beside the published tables, and a person's way through it in Chromium, offline."""

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from typer.testing import CliRunner

from dashboard.bundle import BUNDLE, rendered
from dashboard.serve import ENVIRONMENT, Superset, prepared
from orchestration.home import Home
from orchestration.market.errors import OrewatchError
from orchestration.publish.marts import mart_names
from orchestration.settings import PROJECT_ROOT
from orchestration.transform.manifest import read_manifest
from tests.browser import CHROMIUM
from tests.homes import clone

pytestmark = pytest.mark.integration

# What the sample has nothing of.
EMPTY = {
    "Bars that something speaks against, newest first",
    "Rejected and warned rows, newest first",
    "What the vendor changed afterwards, newest first",
}


@pytest.fixture(scope="module")
def home(sample_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a published version of the simulated market."""
    return clone(sample_home, tmp_path_factory.mktemp("dashboard") / "home")


@pytest.fixture(scope="module")
def files(home: Path) -> dict[str, Any]:
    """The rendered bundle."""
    return {name: yaml.safe_load(content) for name, content in rendered(Home(home / "sample"), True).items()}


def of(files: dict[str, Any], folder: str) -> list[dict[str, Any]]:
    return [content for name, content in files.items() if name.startswith(f"{folder}/")]


def columns_of(params: dict[str, Any]) -> Iterator[str]:
    """The columns that a chart names, and the metrics."""
    for name in ("all_columns", "groupby", "groupby_b"):
        yield from params.get(name) or []
    if "x_axis" in params:
        yield params["x_axis"]
    yield from (json.loads(order)[0] for order in params.get("order_by_cols") or [])
    filters = [*params["adhoc_filters"], *params.get("adhoc_filters_b", [])]
    yield from (chosen["subject"] for chosen in filters if chosen["expressionType"] == "SIMPLE")
    yield from params.get("column_config") or {}
    yield from (rule["column"] for rule in params.get("conditional_formatting") or [])


def test_every_chart_names_columns_and_metrics_that_its_dataset_has(files: dict[str, Any]) -> None:
    datasets = {dataset["uuid"]: dataset for dataset in of(files, "datasets")}
    for chart in of(files, "charts"):
        dataset, params = datasets[chart["dataset_uuid"]], chart["params"]
        metrics = {metric["metric_name"] for metric in dataset["metrics"]}
        columns = {column["column_name"] for column in dataset["columns"]}
        assert set(columns_of(params)) <= columns | metrics, chart["slice_name"]
        assert {*params.get("metrics", []), *params.get("metrics_b", [])} <= metrics, chart["slice_name"]


def test_every_chart_stands_on_a_page_once(files: dict[str, Any]) -> None:
    (board,) = of(files, "dashboards")
    shown = [part["meta"]["uuid"] for part in board["position"].values() if part != "v2" and part["type"] == "CHART"]
    assert sorted(shown) == sorted(chart["uuid"] for chart in of(files, "charts"))
    # The filters ask the datasets for what can be chosen.
    known = {dataset["uuid"] for dataset in of(files, "datasets")}
    targets = [t for f in board["metadata"]["native_filter_configuration"] for t in f["targets"] if t]
    assert targets
    assert {target["datasetUuid"] for target in targets} <= known


def test_every_chart_of_a_course_of_time_takes_the_dates(files: dict[str, Any]) -> None:
    """Superset applies the filter of dates to those charts only that have such a condition of their own."""
    for chart in of(files, "charts"):
        params = chart["params"]
        over_time = params.get("x_axis") in ("session_date", "sessions") or chart["slice_name"].startswith("Its large")
        for name in ("adhoc_filters", *(["adhoc_filters_b"] if "adhoc_filters_b" in params else [])):
            spans = [c["subject"] for c in params[name] if c.get("operator") == "TEMPORAL_RANGE"]
            assert spans == (["session_date"] if over_time else []), chart["slice_name"]


def test_filters_reach_every_dataset_of_their_pages(files: dict[str, Any]) -> None:
    """A filter that a dataset has no column for would be left out without a word."""
    (board,) = of(files, "dashboards")
    datasets = {d["uuid"]: {c["column_name"] for c in d["columns"]} for d in of(files, "datasets")}
    charts = {chart["uuid"]: datasets[chart["dataset_uuid"]] for chart in of(files, "charts")}
    parts = [part for part in board["position"].values() if part != "v2" and part["type"] == "CHART"]
    # Sector and pair have no tier; raw faults and revisions are looked at whole.
    of_sectors = {"sector_pairs", "sector_spread", "sector_ratios", "sector_breadth", "sector_index"}
    without = {
        "tier": of_sectors,
        "watchlists": of_sectors,
        "metal": set(),
        "symbol": set(),
    }
    raw = {"quality_rejected", "quality_revisions"}
    checked = 0
    for chosen in board["metadata"]["native_filter_configuration"]:
        for target in chosen["targets"]:
            if not target:
                continue
            column = target["column"]["name"]
            for part in parts:
                key = part["id"].removeprefix("CHART-")
                if set(part["parents"]) & set(chosen["scope"]["rootPath"]) and key not in without[column] | raw:
                    assert column in charts[part["meta"]["uuid"]], (column, key)
                    checked += 1
    assert checked > 20


def test_columns_are_described_as_in_the_models(files: dict[str, Any]) -> None:
    (today,) = (dataset for dataset in of(files, "datasets") if dataset["table_name"] == "market_today")
    described = {column["column_name"]: column["description"] for column in today["columns"]}
    assert "fraction" in described["return_1d"].lower()
    undescribed = {
        (dataset["table_name"], column["column_name"])
        for dataset in of(files, "datasets")
        for column in dataset["columns"]
        if not column["description"]
    }
    assert undescribed == set()


def test_the_lineage_says_which_tables_the_dashboard_reads(files: dict[str, Any]) -> None:
    manifest = read_manifest()
    (exposure,) = (e for e in manifest["exposures"].values() if e["name"] == "dashboard")
    words = {word for dataset in of(files, "datasets") for word in dataset["sql"].replace(".", " ").split()}
    assert {id_.split(".")[-1] for id_ in exposure["depends_on"]["nodes"]} == set(mart_names()) & words


def test_simulated_prices_carry_a_banner_on_every_page_and_real_ones_none(home: Path, files: dict[str, Any]) -> None:
    def banners(board: dict[str, Any]) -> int:
        return sum(part != "v2" and part["type"] == "MARKDOWN" for part in board["position"].values())

    (board,) = of(files, "dashboards")
    assert "SIMULATED" in board["dashboard_title"]
    assert banners(board) == sum(part != "v2" and part["type"] == "TAB" for part in board["position"].values()) == 6
    other = home.parent / "real"
    shutil.copytree(home / "sample", other / "files", symlinks=True)
    real = rendered(Home(other / "files"), False)
    (board,) = (yaml.safe_load(text) for name, text in real.items() if name.startswith("dashboards/"))
    assert board["dashboard_title"] == "Orewatch"
    assert banners(board) == 0


def test_a_mart_column_that_is_gone_is_named_with_its_dataset(home: Path) -> None:
    other = home.parent / "changed"
    shutil.copytree(home / "sample", other / "sample", symlinks=True)
    changed = Home(other / "sample")
    changed.published_file.chmod(0o600)
    with duckdb.connect(str(changed.published_file)) as market:
        market.execute("alter table level_daily drop column lower")
    with pytest.raises(OrewatchError, match=r'bundle/datasets/price_and_levels\.yaml: .*"lower"'):
        rendered(changed, True)


def test_without_a_published_version_one_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OrewatchError, match=r"nothing is published below .*: run `make demo`"):
        rendered(Home(tmp_path), True)


def test_without_superset_one_line_says_what_to_do(home: Path, tmp_path: Path) -> None:
    with pytest.raises(OrewatchError, match="run `make dashboard`"):
        prepared(Superset(Home(home / "sample"), True, environment=tmp_path), print)


def test_the_bundle_as_one_file_for_another_superset(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer

    from dashboard.bundle import main

    monkeypatch.setenv("OREWATCH_HOME", str(home))
    app = typer.Typer()
    app.command()(main)
    uri = "duckdb:////srv/market.duckdb"
    target = tmp_path / "orewatch.zip"
    outcome = CliRunner().invoke(app, [str(target), "--database", uri])
    assert outcome.exit_code == 0, outcome.output
    with zipfile.ZipFile(target) as bundle:
        assert len(bundle.namelist()) == len(list(BUNDLE.rglob("*.yaml")))
        assert yaml.safe_load(bundle.read("orewatch/databases/orewatch.yaml"))["sqlalchemy_uri"] == uri


# What follows needs Superset (`make dashboard-environment`) and Debian's Chromium.


@pytest.fixture(scope="module")
def seen(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a person saw; in a network namespace without any route where that is allowed."""
    if not (ENVIRONMENT / "bin" / "gunicorn").exists():
        pytest.skip("Superset is not installed: make dashboard-environment")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    own = tmp_path_factory.mktemp("walked") / "home"
    shutil.copytree(home / "sample", own / "sample", symlinks=True)
    unshare = shutil.which("unshare")
    alone = unshare is not None and subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode == 0
    command = [*([unshare, "-rn"] if alone else []), sys.executable, "-m", "tests.dashboard_walk"]
    done = subprocess.run(
        [*command, *(["--no-network"] if alone else [])],
        env={**os.environ, "OREWATCH_HOME": str(own)},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "home": own, "alone": alone}


@pytest.mark.slow
def test_every_chart_gets_and_shows_its_data(seen: dict[str, Any]) -> None:
    assert sorted(seen["answers"]) == seen["charts"]
    assert len(seen["charts"]) == len(list((BUNDLE / "charts").iterdir()))
    for title, answer in seen["answers"].items():
        assert (answer["status"], answer["said"]) == (200, []), title
        assert (answer["rows"] == 0) == (title in EMPTY), title
    for charts in seen["pages"].values():
        for title, chart in charts.items():
            if title != "banner":
                assert not chart["error"], title
                assert chart["drawn"] or chart["rows"] or title in EMPTY, title


@pytest.mark.slow
def test_simulated_prices_are_said_on_every_page(seen: dict[str, Any]) -> None:
    assert "SIMULATED" in seen["title"]
    assert [charts["banner"] for charts in seen["pages"].values()] == [True] * 6


@pytest.mark.slow
def test_a_person_finds_the_fall_of_sil_and_the_zone(seen: dict[str, Any]) -> None:
    today = seen["pages"]["Market today"]
    assert next(row for row in today["The latest session"]["rows"] if row[0] == "SIL")[1] == "-14.78%"
    zone = next(row for row in today["Watched levels"]["rows"] if row[0] == "silver_54_56_zone")
    assert zone[1:6] == ["SI=F", "above", "support", "54.00", "56.00"]
    assert seen["sil"][0][:3] == ["SIL", "2026-01-30", "-14.8%"]


@pytest.mark.slow
def test_a_person_filters_juniors(seen: dict[str, Any]) -> None:
    assert sorted(row[0] for row in seen["juniors"]) == [
        *("AG", "AGI", "AYA", "EXK", "FSM", "GDXJ", "GGD", "HOC", "PAN", "SILJ", "SVL", "SVM"),
    ]


@pytest.mark.slow
def test_a_person_chooses_metal_and_dates(seen: dict[str, Any]) -> None:
    assert sorted(row[0] for row in seen["silver_juniors"]) == [
        *("AG", "AYA", "EXK", "FSM", "GGD", "HOC", "SILJ", "SVL", "SVM"),
    ]
    # One row for each window, whatever the dates.
    assert seen["rows_of_dates"].pop("Volatility cone") == [3, 3]
    assert len(seen["rows_of_dates"]) == 6
    for title, (before, after) in seen["rows_of_dates"].items():
        assert 0 < after < before / 2, title


@pytest.mark.slow
def test_nothing_is_wider_than_a_phone(seen: dict[str, Any]) -> None:
    assert set(seen["phone_widths"].values()) == {390}


@pytest.mark.slow
def test_a_new_version_is_seen_without_a_restart(seen: dict[str, Any]) -> None:
    assert next(row for row in seen["after_new_version"] if row[0] == "SIL")[2] == "12,345.67"


@pytest.mark.slow
def test_a_mart_column_that_is_gone_fails_the_charts_that_read_it(seen: dict[str, Any]) -> None:
    assert seen["failed_without_column"] == ["Return of the latest session", "The latest session"]
    assert "return_1d" in seen["said_without_column"]


@pytest.mark.slow
def test_sql_lab_reads_the_published_files_and_nothing_else(seen: dict[str, Any]) -> None:
    said = seen["sql"]
    assert said["table"] == said["part"]
    assert json.loads(said["table"])[0]["bars"] > 50_000
    assert "root:" not in said["other file"]
    assert "disabled" in said["other file"]
    for change in ("write", "change"):
        assert "error" in said[change].lower(), said[change]
    assert not (seen["home"] / "sample" / "written.csv").exists()


@pytest.mark.slow
def test_key_and_password_stay_with_their_owner(seen: dict[str, Any]) -> None:
    folder = seen["home"] / "sample" / "dashboard"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600
    password = seen["server"]["password"].encode()
    assert len(password) >= 16
    assert not [path for path in folder.rglob("*") if path.is_file() and password in path.read_bytes()]


@pytest.mark.slow
def test_another_start_keeps_password_and_bundle(seen: dict[str, Any]) -> None:
    """Nothing is made or imported again, and what is listened on is loopback."""
    superset = Superset(Home(seen["home"] / "sample"), True)
    # The walk has published a version without a column: the bundle of the version before is meant.
    current = superset.home.published / "current"
    current.unlink()
    current.symlink_to("versions/1")
    said: list[str] = []
    prepared(superset, said.append)
    assert said == []
    # Unless another password is asked for.
    prepared(superset, said.append, new_password=True)
    assert len(said) == 1
    assert "password" in said[0]
    assert seen["server"]["password"] not in said[0]
