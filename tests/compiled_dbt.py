"""Models and data tests as dbt compiles them, run in this process: what stands for dbt where dbt is not the subject.

A build by dbt costs some twenty seconds of a core, whatever the market; the same SQL here costs one. It is what a full
refresh runs, in dbt's order, with dbt's data tests, and reports as dbt does: events on a standard output and a
`run_results.json`. An incremental build is not among what it can do: it always is a full refresh.

`tests/integration/test_sample_refresh.py` holds it against dbt itself.
"""

import datetime as dt
import io
import json
import os
import re
import runpy
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
from filelock import FileLock

from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.transform.dbt import FULL_REFRESH, DbtRunner, project_digest
from orchestration.transform.run_results import RUN_RESULTS

# What stands in the compiled SQL for the home and the source of whoever builds.
ROOT, SOURCE = "/root-of-a-home", "source-of-a-home"
_SHARED = DBT_PROJECT_DIR / "target" / "compiled_for_tests"


@dataclass(frozen=True)
class Node:
    """One model or data test.

    Attributes:
        unique_id, kind, name: as in dbt's manifest; kind is `model` or `test`.
        sql: the compiled query.
        relation: `table` or `view`; of a test empty.
        sorted_by: the column in whose order a table is stored; empty: as the query yields it.
        parents: unique ids of the models and tests that must have passed before.
        code: the file of a model in Python, below the dbt project; empty: it is SQL.
    """

    unique_id: str
    kind: str
    name: str
    sql: str
    relation: str
    sorted_by: str
    parents: tuple[str, ...]
    code: str = ""


@cache
def compiled_nodes() -> tuple[Node, ...]:
    """Every model and data test in dbt's order; compiled once for all processes until a file of the project changes."""
    folder = _SHARED
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{project_digest()}.json"
    with FileLock(folder / "lock"):
        if not kept.is_file():
            for old in folder.glob("*.json"):
                old.unlink()
            kept.write_text(json.dumps([asdict(node) for node in _compile()]), "utf-8")
    nodes = json.loads(kept.read_text("utf-8"))
    return tuple(Node(**{**node, "parents": tuple(node["parents"])}) for node in nodes)


def _compile() -> list[Node]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = folder / "target"
        variables = {
            "OREWATCH_SOURCE": SOURCE,
            "OREWATCH_ROOT": ROOT,
            "OREWATCH_WAREHOUSE": str(folder / "warehouse.duckdb"),
        }
        DbtRunner(target, variables).run("--quiet", "compile").check_returncode()
        manifest = json.loads((target / "manifest.json").read_text("utf-8"))
    nodes = {id_: n for id_, n in manifest["nodes"].items() if n["resource_type"] in ("model", "test")}
    # Ephemeral models are part of the SQL of those that read them, which need what these are made of.
    within = {id_: n["depends_on"]["nodes"] for id_, n in nodes.items() if n["config"]["materialized"] == "ephemeral"}
    nodes = {id_: node for id_, node in nodes.items() if id_ not in within}
    for node in nodes.values():
        above = node["depends_on"]["nodes"]
        while any(parent in within for parent in above):
            above = [further for parent in above for further in within.get(parent, [parent])]
        node["depends_on"]["nodes"] = above
    return _in_order(nodes)


def _in_order(nodes: dict[str, Any]) -> list[Node]:
    """As `dbt build` orders them: what stands on a model waits for the model's tests."""
    models = {id_: n["depends_on"]["nodes"] for id_, n in nodes.items() if n["resource_type"] == "model"}
    above: dict[str, set[str]] = {}
    for id_ in TopologicalSorter(models).static_order():
        direct = set(models.get(id_, ())) & models.keys()
        above[id_] = direct.union(*(above[parent] for parent in direct))
    parents = {id_: above[id_] for id_ in models}
    for id_, node in nodes.items():
        if node["resource_type"] == "test":
            config = node["config"]
            # What is built here of dbt's tests; another kind of test would have to be built, too.
            assert (config["severity"], config["error_if"], config["limit"]) == ("ERROR", "!= 0", None), id_
            parents[id_] = set(node["depends_on"]["nodes"]) & models.keys()
            for model in models:
                if parents[id_] <= above[model]:
                    parents[model] = parents[model] | {id_}
    order = TopologicalSorter(parents).static_order()
    return [_node(nodes[id_], tuple(sorted(parents[id_]))) for id_ in order]


def _node(node: dict[str, Any], parents: tuple[str, ...]) -> Node:
    sql, config = node["compiled_code"], node["config"]
    in_order = config["materialized"] == "incremental_by_symbol" and config["meta"].get("rebuilt") != "true"
    is_model = node["resource_type"] == "model"
    return Node(
        unique_id=node["unique_id"],
        kind=node["resource_type"],
        name=node["alias"] if is_model else node["name"],
        sql=sql,
        relation=("view" if config["materialized"] == "view" else "table") if is_model else "",
        sorted_by=config["meta"].get("changed_by", "session_date") if in_order else "",
        parents=parents,
        code=node["original_file_path"] if node.get("language") == "python" else "",
    )


def on_home(sql: str, root: Path, source: str) -> str:
    """Compiled SQL that reads lake and reference tables below a folder; `source` is what it says of their prices."""
    # The path stands inside string literals.
    return sql.replace(ROOT, str(root).replace("'", "''")).replace(SOURCE, source)


class _Given:
    """What a model in Python asks of dbt, for one home."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, root: Path) -> None:
        self.connection, self.root = connection, root

    def ref(self, name: str) -> duckdb.DuckDBPyRelation:
        """The rows of a model."""
        return self.connection.sql(f'select * from "{name}"')  # noqa: S608

    def source(self, _: str, name: str) -> duckdb.DuckDBPyRelation:
        """The rows of a reference table."""
        return self.connection.read_parquet(str(self.root / "control" / f"{name}.parquet"))

    def config(self, **_: object) -> None:
        """How dbt is to store it."""


def make(connection: duckdb.DuckDBPyConnection, model: Node, root: Path, source: str) -> None:
    """Make a model's table or view, stored in the order in which dbt stores it.

    What models in Python remember is shared by all homes of all tests: none of it says of which home it is.
    """
    if model.code:
        with mock.patch.dict(os.environ, {"DBT_TARGET_PATH": str(_SHARED)}):
            run = runpy.run_path(str(DBT_PROJECT_DIR / model.code))["model"]
            connection.register("made", run(_Given(connection, root), connection))
        connection.execute(f'create table "{model.name}" as select * from made')  # noqa: S608
        connection.unregister("made")
        return
    sql = on_home(model.sql, root, source)
    if model.sorted_by:
        sql = f"select * from ({sql}\n) as in_order order by {model.sorted_by}"  # noqa: S608
    connection.execute(f'create {model.relation} "{model.name}" as {sql}')


class Finished:
    """A process that has come to its end, as far as Dagster looks at one.

    Args:
        output: what it wrote to its standard output.
        returncode: its exit code.
    """

    args = ("compiled", "models")

    def __init__(self, output: bytes, returncode: int) -> None:
        self.stdout, self.returncode = io.BytesIO(output), returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code."""
        return self.returncode


def picked(selection: str) -> list[Node]:
    """The models that a selection of paths names, and the data tests that look at them.

    Args:
        selection: as dagster-dbt gives it to dbt: paths of models, separated by blanks.
    """
    names = {re.split(r"[/.]", path.removesuffix(".sql").removesuffix(".py"))[-1] for path in selection.split()}
    models = {node.unique_id for node in compiled_nodes() if node.kind == "model" and node.name in names}
    assert len(models) == len(names), selection
    return [
        node
        for node in compiled_nodes()
        if node.unique_id in models or (node.kind == "test" and models.intersection(node.parents))
    ]


class CompiledDbt(DbtRunner):
    """Builds everything, or some models, in this process; what asks for single tests is left to dbt itself.

    Attributes:
        asked: the arguments of every build.
    """

    def __init__(self, settings: Settings, prepare: bool = False) -> None:
        super().__init__(settings.paths.dbt, settings.dbt_environment())
        self.settings = settings
        self.asked: list[tuple[str, ...]] = []

    def build(self, arguments: Sequence[str] = ()) -> Any:
        """As `DbtRunner.build`."""
        self.asked.append(tuple(arguments))
        if tuple(arguments) in ((), FULL_REFRESH):
            nodes = list(compiled_nodes())
        elif arguments[-2] == "--select":
            nodes = picked(arguments[-1])
        else:
            return super().build(arguments)
        self.target.mkdir(parents=True, exist_ok=True)
        events: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        try:
            with duckdb.connect(str(self.settings.paths.warehouse), config={"threads": 1}) as connection:
                self._build(nodes, connection, events, results)
        except (duckdb.Error, OSError) as error:
            events.append({"info": _info("MainEncounteredError", "error", f"Runtime Error {error}"), "data": {}})
        if results:
            ran = {"results": results, "args": {"full_refresh": True}}
            (self.target / RUN_RESULTS).write_text(json.dumps(ran), "utf-8")
        failed = any(event["info"]["level"] == "error" for event in events)
        return Finished(b"".join(json.dumps(event).encode() + b"\n" for event in events), int(failed))

    def _build(
        self,
        nodes: list[Node],
        connection: duckdb.DuckDBPyConnection,
        events: list[dict[str, Any]],
        results: list[dict[str, Any]],
    ) -> None:
        # What is not built now was built before.
        passed = {node.unique_id for node in compiled_nodes()}.difference(node.unique_id for node in nodes)
        for node in nodes:
            begun = dt.datetime.now(dt.UTC)
            failures, sql = None, on_home(node.sql, self.settings.paths.root, self.settings.source)
            if not passed.issuperset(node.parents):
                status, message = "skipped", None
            else:
                try:
                    failures = self._run(connection, node, sql)
                    status, message = ("fail" if failures else "pass" if node.kind == "test" else "success"), None
                    if failures:
                        message = f"Got {failures} result{'s' * (failures > 1)}, configured to fail if != 0"
                except duckdb.Error as error:
                    status, message = "error", f"Runtime Error in {node.kind} {node.name}: {error}"
            if status in ("pass", "success"):
                passed.add(node.unique_id)
            results.append(
                {
                    "unique_id": node.unique_id,
                    "status": status,
                    "message": message,
                    "failures": failures,
                    "compiled_code": sql,
                }
            )
            if status == "skipped":
                continue
            level = "info" if node.unique_id in passed else "error"
            name = "LogTestResult" if node.kind == "test" else "LogModelResult"
            about = {
                "unique_id": node.unique_id,
                "node_status": status,
                "node_started_at": begun.isoformat(),
                "node_finished_at": dt.datetime.now(dt.UTC).isoformat(),
            }
            data = {"node_info": about, "status": status, "num_failures": failures}
            events.append({"info": _info(name, level, message or f"{status} {node.name}"), "data": data})

    def _run(self, connection: duckdb.DuckDBPyConnection, node: Node, sql: str) -> int | None:
        """Build a model, or count the rows that a test finds."""
        if node.kind == "test":
            (found,) = connection.execute(f"select count(*) from ({sql}\n) as found").fetchall()  # noqa: S608
            return int(found[0])
        connection.execute(f'drop {node.relation} if exists "{node.name}"')
        make(connection, node, self.settings.paths.root, self.settings.source)
        return None


def _info(name: str, level: str, message: str) -> dict[str, str]:
    return {"name": name, "level": level, "msg": message, "invocation_id": "compiled"}
