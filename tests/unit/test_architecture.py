"""Imports go one way, and nothing is where it does not belong."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import TypeGuard

import pytest

from orchestration.signals.registry import signals
from orchestration.signals.signal import Signal

PACKAGE = Path(__file__).resolve().parents[2] / "orchestration"
DBT = PACKAGE.parent / "dbt_project"

# A room, or a module beside the rooms, may import what stands before it. The order of the data: docs/architecture.md.
ORDER = (
    "market",
    "channels",
    "home",
    "settings",
    "files",
    "duckdb_io",
    "instance",
    "asset_metadata",
    "sources",
    "ingest",
    "evidence",
    "transform",
    "publish",
    "signals",
    "alerts",
    "show",
    "resources",
    "schedules",
    "build",
    "definitions",
    "cli",
)

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
    place = ORDER.index(part_of(path))
    used = {name.split(".")[1] for name in imports(path) if name.startswith("orchestration.")}
    assert not {room for room in used if ORDER.index(room) > place}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Inside a room too; what is imported while a function runs counts like the rest."""
    names = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in modules()}
    sorter = TopologicalSorter({name: imports(path) & names.keys() for name, path in names.items()})
    sorter.prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", [p for p in modules() if part_of(p) == "market"], ids=lambda p: p.name)
def test_the_domain_is_pure(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & {"dagster", "dagster_dbt", "dbt", "yfinance", "duckdb", "requests", "socket", "urllib"}


def test_yfinance_is_imported_in_one_module() -> None:
    users = [p.name for p in modules() if any(n.split(".")[0] == "yfinance" for n in imports(p))]
    assert users == ["yahoo.py"]


def test_apprise_is_imported_in_one_module_and_only_when_something_is_sent() -> None:
    users = [p.name for p in modules() if any(n.split(".")[0] == "apprise" for n in imports(p))]
    assert users == ["apprise_service.py"]
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
        if part_of(p) in ("build", "definitions", "schedules", "resources", "settings", "channels", "home", "files")
        or (part_of(p) in ("signals", "alerts") and p.name not in ("overview.py", "plots.py", "retention.py"))
        or p.name in ("assets.py", "audit.py", "copies.py", "marts.py")
    ]
    + [PACKAGE / "transform" / "dbt.py"],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_loading_the_code_location_imports_nothing_heavy(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert not roots & HEAVY


def test_kinds_of_signals_are_named_in_their_own_files_only() -> None:
    names = {kind.name for kind in signals()}
    own = {
        path
        for path in (PACKAGE / "signals").glob("*.py")
        if any(
            isinstance(value, Signal) for value in vars(import_module(f"orchestration.signals.{path.stem}")).values()
        )
    }
    assert len(own) >= 5
    others = [p for p in modules() if part_of(p) in ("signals", "alerts", "show", "cli") and p not in own]
    for path in others:
        used = {PACKAGE.parent / f"{name.replace('.', '/')}.py" for name in imports(path)}
        assert not used & own, path
        assert not _chosen_by(path) & names, path


def _chosen_by(path: Path) -> set[object]:
    """The texts that a module compares with, or looks something up by."""
    chosen: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Compare):
            chosen += [node.left, *node.comparators]
        elif isinstance(node, ast.Subscript):
            chosen.append(node.slice)
        elif isinstance(node, ast.Dict):
            chosen += node.keys
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            chosen += node.args
    return {part.value for found in chosen if found for part in ast.walk(found) if isinstance(part, ast.Constant)}


def test_no_metal_and_no_tier_is_named_but_in_the_seeds_and_the_sample_market() -> None:
    named = re.compile(r"(?<![a-z])(silver|gold|senior|junior|royalt)", re.IGNORECASE)
    code: dict[Path, list[str]] = {}
    for path in modules():
        if not path.name.startswith("sample"):
            tree = ast.parse(path.read_text("utf-8"))
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            told = [node.value.value for node in ast.walk(tree) if _is_documentation(node)]
            names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
            code[path] = [text for text in {*texts, *names} - {*told} if isinstance(text, str)]
    for folder in ("models", "macros", "tests"):
        for path in (DBT / folder).rglob("*.sql"):
            code[path] = [re.sub(r"{#.*?#}|--[^\n]*", "", path.read_text("utf-8"), flags=re.DOTALL)]
    for path in (PACKAGE.parent / "dashboard").rglob("*.yaml"):
        code[path] = [path.read_text("utf-8")]
    assert len(code) > 200
    left = {path: found for path, texts in code.items() if (found := list(filter(named.search, texts)))}
    assert left == {}


def _is_documentation(node: ast.AST) -> TypeGuard[ast.Expr]:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_loading_the_code_location_imports_nothing_heavy_that_dagster_does_not() -> None:
    program = (
        "import sys, dagster, dagster_dbt; known = set(sys.modules); import orchestration.definitions;"
        f" print(sorted({HEAVY} & (set(sys.modules) - known)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[-2] == "[]"
