"""Imports go one way, and nothing is where it does not belong."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "orchestration"

# Each part may import the parts named here (and itself).
ALLOWED = {
    "market": set(),
    "channels": set(),
    "settings": {"market", "channels"},
    "sources": {"market", "settings"},
    "storage": {"market"},
    "loading": set(),
    "spark_cluster": set(),
    "dbt_process": {"settings", "storage", "loading", "spark_cluster"},
    "event_log": set(),
    "run_launcher": {"instance"},
    "resources": {"market", "settings", "sources", "storage", "dbt_process", "instance"},
    "plots": set(),
    "phrases": set(),
    "brief": {"market", "settings", "storage", "plots", "phrases"},
    "assets": {
        "market",
        "settings",
        "sources",
        "storage",
        "resources",
        "brief",
        "dbt_process",
        "instance",
        "spark_cluster",
    },
    "alerts": {"market", "settings", "storage", "channels", "instance", "phrases"},
    "retention": {"settings", "storage", "alerts", "instance"},
    "checks": {"market", "settings", "storage", "assets", "alerts", "plots", "phrases", "retention"},
    "automation": {"market", "settings", "alerts", "checks", "instance", "run_launcher"},
    "build": {"market", "settings", "loading", "resources", "assets", "checks", "automation"},
    "definitions": {"build"},
    "instance": {"market", "settings", "storage"},
    "report": {"market", "settings", "storage", "alerts", "checks", "phrases"},
    "progress": {"resources"},
    "advice": {"settings", "sources"},
    "rebuild": {"market", "settings", "storage", "assets", "resources", "dbt_process"},
    "verify": {"market", "settings", "storage", "assets", "resources", "rebuild"},
    "as_of": {"market", "settings", "storage", "assets", "resources", "rebuild"},
    "rebuild_report": {"settings", "storage", "progress", "report", "verify", "as_of"},
    "refresh": {
        "advice",
        "market",
        "settings",
        "storage",
        "assets",
        "checks",
        "alerts",
        "automation",
        "build",
        "dbt_process",
        "instance",
        "progress",
        "report",
        "retention",
    },
    "cli": {
        "market",
        "settings",
        "storage",
        "assets",
        "alerts",
        "brief",
        "dbt_process",
        "instance",
        "loading",
        "rebuild",
        "rebuild_report",
        "refresh",
        "report",
        "as_of",
    },
}

HEAVY = {
    "pandas",
    "numpy",
    "pyarrow",
    "duckdb",
    "adbc_driver_postgresql",
    "yfinance",
    "exchange_calendars",
    "rich",
    "apprise",
    "matplotlib",
    "jinja2",
}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    used = {name.split(".")[1] for name in imports(path) if name.startswith("orchestration.")}
    assert used - {part} <= ALLOWED[part]


@pytest.mark.parametrize("path", [p for p in modules() if part_of(p) == "market"], ids=lambda p: p.name)
def test_the_domain_is_pure(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & {"dagster", "dagster_dbt", "dbt", "yfinance", "duckdb", "requests", "socket", "urllib"}


def test_yfinance_is_imported_in_one_module() -> None:
    users = [p.name for p in modules() if any(n.split(".")[0] == "yfinance" for n in imports(p))]
    assert users == ["yahoo.py"]


def test_apprise_is_imported_in_one_module_and_only_when_something_is_sent() -> None:
    users = [p.name for p in modules() if any(n.split(".")[0] == "apprise" for n in imports(p))]
    assert users == ["send.py"]
    # Below `if TYPE_CHECKING` and inside functions only.
    assert "apprise" not in {n.split(".")[0] for n in imports(PACKAGE / "alerts" / "send.py", top_level_only=True)}


def test_definitions_does_nothing_else() -> None:
    tree = ast.parse((PACKAGE / "definitions.py").read_text("utf-8"))
    statements = [node for node in tree.body if not isinstance(node, ast.Expr)]
    assert [type(node) for node in statements] == [ast.ImportFrom, ast.Assign]


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in modules()
        if part_of(p) in ("build", "definitions", "automation", "resources", "settings", "channels", "dbt_process")
        or (part_of(p) == "alerts" and p.name != "overview.py")
    ]
    + [PACKAGE / "assets" / name for name in ("ingest.py", "models.py", "publish.py")]
    + [PACKAGE / "checks" / name for name in ("data_quality.py", "levels.py", "moves.py")],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_loading_the_code_location_imports_nothing_heavy(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert not roots & HEAVY
