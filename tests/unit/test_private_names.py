"""Private names of Dagster and its packages: every one that we use, and which file of ours to mend when one is gone.

Private is whatever they may change without a word: a module below the package itself, a name that begins with `_`, a
method or a field that their reference does not list, a sentence or a route of theirs that we know by heart. That is why
`pyproject.toml` holds these packages below their next minor. Whoever raises a cap runs this file first. What a name
does is tested where it is used.
"""

import ast
import dis
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from orchestration.settings import PROJECT_ROOT

# As in monkeypatch.setattr("dagster._core.errors.DagsterError", ...).
PRIVATE_PATH = re.compile(r"dagster\w*(\.\w+)*\._\w[\w.]*")
FOLDERS = ("orchestration", "tests", "deploy", "dashboard", "benchmarks")

LOG = "dagster._core.storage.event_log.SqliteEventLogStorage"
LAUNCHER = "dagster._core.launcher.DefaultRunLauncher"
JOB = "dagster._core.definitions.unresolved_asset_job_definition.UnresolvedAssetJobDefinition"
ASSETS_OF_A_JOB = "dagster._core.definitions.assets.job.asset_layer.AssetLayer"
FAILURE = "dagster._core.execution.plan.objects"
SELECTION = "context manifest select exclude selector dagster_dbt_translator current_dbt_indirect_selection_env"
INVOCATION = "process manifest dagster_dbt_translator project_dir target_path raise_on_error cli_version context ..."

# By file of ours: each name, with the parameters that we give or, where a method of ours stands in its place, take.
# These and no others; with `...` at the end, others that may be left out. None: only the name counts.
PRIVATE: dict[str, dict[str, str | None]] = {
    "orchestration/alerts/data_alerts.py": {
        "dagster.DagsterEvent.step_failure_data": None,
        f"{FAILURE}.StepFailureData.error": None,
        f"{FAILURE}.StepFailureData.user_failure_data": None,
        f"{FAILURE}.UserFailureData.description": None,
        "dagster_shared.error.SerializableErrorInfo.cause": None,
        "dagster_shared.error.SerializableErrorInfo.cls_name": None,
        "dagster_shared.error.SerializableErrorInfo.message": None,
    },
    "orchestration/alerts/deliver.py": {
        "dagster.DagsterEvent.asset_check_evaluation_data": None,
        "dagster.DagsterInstance.all_logs": "self run_id of_type ...",
        "dagster.DagsterInstance.get_run_ids": "self filters ...",
        "dagster.DagsterInstance.run_storage": None,
        "dagster._core.storage.runs.SqlRunStorage.get_run_storage_id": "self",
    },
    "orchestration/transform/assets.py": {"dagster.AssetExecutionContext.is_subset": None},
    "orchestration/transform/invocation.py": {
        "dagster.AssetExecutionContext.is_subset": None,
        "dagster_dbt.DbtCliInvocation": INVOCATION,
        "dagster_dbt.asset_utils.get_subset_selection_for_context": SELECTION,
    },
    "orchestration/transform/translator.py": {
        "dagster.AssetCheckSpec._replace": None,
        "dagster_dbt.DagsterDbtTranslator.get_asset_check_spec": "self asset_spec manifest unique_id project",
        "dagster_dbt.DagsterDbtTranslator.get_asset_spec": "self manifest unique_id project",
    },
    "orchestration/asset_metadata.py": {
        "dagster.AssetExecutionContext.run": None,
        "dagster.DagsterInstance.add_run_tags": "self run_id new_tags ...",
    },
    "orchestration/schedules.py": {
        JOB: None,
        "dagster.DagsterInstance.get_runs": "self filters ascending ...",
    },
    "orchestration/signals/checks.py": {"dagster.AssetCheckExecutionContext.run": None},
    "orchestration/publish/copies.py": {"dagster.AssetKey.to_python_identifier": "self ..."},
    "orchestration/publish/audit.py": {"dagster.AssetCheckResult._replace": None},
    "orchestration/instance/event_log.py": {
        "dagster._core.events.log.EventLogEntry": None,
        "dagster._core.events.log.EventLogEntry.dagster_event_type": None,
        "dagster._core.events.log.EventLogEntry.run_id": None,
        LOG: "base_dir inst_data",
        f"{LOG}._connect": "self shard",
        f"{LOG}._db_lock": None,
        f"{LOG}._initdb": "self engine ...",
        f"{LOG}._initialized_dbs": None,
        f"{LOG}.conn_string_for_shard": "self shard_name",
        f"{LOG}.dispose": "self",
        f"{LOG}.from_config_value": "inst_data config_value",
        f"{LOG}.has_table": "self table_name",
        f"{LOG}.index_connection": "self",
        f"{LOG}.path_for_shard": "self run_id",
        f"{LOG}.run_connection": "self run_id",
        f"{LOG}.store_event": "self event",
        f"{LOG}.wipe": "self",
        "dagster._core.storage.sqlite.SQLITE_BUSY_TIMEOUT_SECONDS": None,
        "dagster._serdes.ConfigurableClassData": None,
    },
    "orchestration/instance/runs.py": {
        "dagster.DagsterInstance.add_run_tags": "self run_id new_tags ...",
        "dagster.DagsterRun.remote_job_origin": None,
        "dagster._core.remote_origin.RemoteJobOrigin.location_name": None,
        "dagster.DagsterInstance.get_runs": "self filters ...",
        "dagster.DagsterInstance.report_run_failed": "self dagster_run message ...",
    },
    "orchestration/resources.py": {"dagster.DagsterInstance.add_run_tags": "self run_id new_tags ..."},
    "orchestration/cli/refresh.py": {
        "dagster.DagsterInstance.add_run_tags": "self run_id new_tags ...",
        "dagster.AssetCheckEvaluation.asset_check_key": None,
        "dagster.DagsterEvent.materialization": None,
        "dagster.DagsterEvent.step_failure_data": None,
        "dagster.Definitions.resolve_job_def": "self name",
        "dagster.ExecuteInProcessResult.get_asset_check_evaluations": "self",
        "dagster.ExecuteInProcessResult.get_asset_materialization_events": "self",
        "dagster.JobDefinition.asset_layer": None,
        "dagster._core.definitions.assets.graph.asset_graph.AssetGraph.get_check_spec": "self key",
        f"{ASSETS_OF_A_JOB}.asset_graph": None,
        f"{ASSETS_OF_A_JOB}.executable_asset_keys": None,
        "dagster._core.errors.DagsterAssetCheckFailedError": None,
        "dagster_shared.error.SerializableErrorInfo.cls_name": None,
    },
    "orchestration/instance/old_runs.py": {
        "dagster.DagsterInstance.compute_log_manager": None,
        "dagster.DagsterInstance.event_log_storage": None,
        "dagster.DagsterInstance.get_asset_records": "self ...",
        "dagster.DagsterInstance.get_runs": "self filters ascending ...",
        "dagster.DagsterInstance.run_storage": None,
        "dagster.DagsterInstance.storage_directory": "self",
        "dagster._core.storage.compute_log_manager.ComputeLogManager.delete_logs": "self prefix ...",
        LOG: "base_dir ...",
        f"{LOG}.delete_events": "self run_id",
        f"{LOG}.index_connection": "self",
        f"{LOG}.path_for_shard": "self run_id",
        "dagster._core.storage.event_log.SqlEventLogStorage": None,
        "dagster._core.storage.event_log.base.AssetEntry.last_materialization": None,
        "dagster._core.storage.event_log.base.AssetEntry.last_observation": None,
        "dagster._core.storage.event_log.schema.AssetCheckExecutionsTable": None,
        "dagster._core.storage.event_log.sqlite.sqlite_event_log.INDEX_SHARD_NAME": None,
        "dagster._core.storage.runs.SqlRunStorage": None,
        "dagster._core.storage.runs.SqlRunStorage.connect": "self",
        "dagster._core.storage.runs.SqlRunStorage.delete_run": "self run_id",
        "dagster._core.storage.runs.schema.RunTagsTable": None,
        "dagster._core.storage.runs.schema.RunsTable": None,
    },
    "orchestration/instance/run_launcher.py": {
        "dagster.DagsterInstance.run_launcher": None,
        "dagster.DagsterInstance.run_monitoring_enabled": None,
        "dagster._core.errors.DagsterLaunchFailedError": None,
        "dagster._core.errors.DagsterUserCodeUnreachableError": None,
        LAUNCHER: None,
        f"{LAUNCHER}._get_grpc_client_for_termination": "self run_id",
        f"{LAUNCHER}.check_run_worker_health": "self run",
        f"{LAUNCHER}.launch_run": "self context",
        f"{LAUNCHER}.supports_check_run_worker_health": None,
        "dagster._core.launcher.base.CheckRunHealthResult": "status msg ...",
        "dagster._core.launcher.base.LaunchRunContext": None,
        "dagster._core.launcher.base.WorkerStatus": None,
        "dagster._core.launcher.base.WorkerStatus.FAILED": None,
        "dagster._core.launcher.base.WorkerStatus.RUNNING": None,
        "dagster._core.storage.dagster_run.DagsterRun": None,
        "dagster._grpc.client.DagsterGrpcClient.get_current_runs": "self",
        "dagster._grpc.client.DagsterGrpcClient.socket": None,
        "dagster._grpc.types.GetCurrentRunsResult": None,
        "dagster._grpc.types.GetCurrentRunsResult.current_runs": None,
        "dagster._serdes.deserialize_value": "val as_type ...",
    },
    "tests/evenings.py": {"dagster._time": None, "dagster._time._mockable_get_current_datetime": None},
    "tests/integration/test_synced.py": {
        "dagster._core.definitions.data_version.CachingStaleStatusResolver": "instance asset_graph loading_context ...",
        "dagster._core.definitions.data_version.StaleStatus": None,
        "dagster._core.loader.LoadingContextForTest": "instance",
    },
    "tests/integration/test_team.py": {
        "dagster._core.events.log.EventLogEntry": None,
        "dagster._core.scheduler.instigation.InstigatorTick": None,
        "dagster._core.scheduler.instigation.TickStatus": None,
    },
    "tests/unit/test_deploy.py": {"dagster._core.instance.config.dagster_instance_config": "base_dir ..."},
    "tests/unit/test_event_log.py": {
        "dagster._core.events.log.EventLogEntry": "error_info level user_message run_id timestamp job_name ...",
        LOG: "base_dir ...",
    },
    "tests/integration/test_missed_ticks.py": {
        "dagster._core.test_utils.create_test_daemon_workspace_context": "workspace_load_target instance",
        "dagster._core.test_utils.freeze_time": "new_now",
        "dagster._core.workspace.context.WorkspaceProcessContext": None,
        "dagster._core.workspace.load_target.ModuleTarget": None,
        "dagster._scheduler.scheduler.launch_scheduled_runs": (
            "workspace_process_context logger end_datetime_utc iteration_times ..."
        ),
    },
    "tests/runs.py": {
        "dagster._core.remote_origin.InProcessCodeLocationOrigin": "loadable_target_origin location_name ...",
        "dagster._core.remote_origin.RemoteJobOrigin": None,
        "dagster._core.remote_origin.RemoteRepositoryOrigin": None,
        "dagster._core.types.loadable_target_origin.LoadableTargetOrigin": None,
    },
    "tests/unit/test_retention.py": {"dagster._core.storage.compute_log_manager.ComputeIOType": None},
    "tests/unit/test_run_launcher.py": {
        "dagster._core.errors.DagsterLaunchFailedError": None,
        "dagster._core.errors.DagsterUserCodeUnreachableError": None,
        LAUNCHER: None,
        f"{LAUNCHER}._get_grpc_client_for_termination": None,
        "dagster._core.launcher.base.WorkerStatus": None,
        "dagster._grpc.types.GetCurrentRunsResult": None,
        "dagster._serdes.serialize_value": "val ...",
    },
    "tests/unit/test_schedule.py": {
        "dagster._utils.schedules.schedule_execution_time_iterator": (
            "start_timestamp cron_schedule execution_timezone ..."
        ),
    },
}

# What we know by heart of their text. By file of ours: what stands there, the file of theirs, and what stands there.
TEXTS: dict[str, dict[str, tuple[str, str]]] = {
    "benchmarks/steps.py": {
        "dagster_dbt/core/dbt_cli_invocation.py:_stream_stdout": (
            "dagster_dbt/core/dbt_cli_invocation.py",
            "def _stream_stdout(",
        ),
        "instance/methods/event_methods.py:handle_new_event": (
            "dagster/_core/instance/methods/event_methods.py",
            "def handle_new_event(",
        ),
        "dagster/_core/instance/instance.py:get": ("dagster/_core/instance/instance.py", "def get("),
    },
    "deploy/compose.yaml": {
        "/server_info": ("dagster_webserver/webserver.py", 'Route("/server_info"'),
        "dagster api grpc-health-check": ("dagster/_cli/api.py", 'name="grpc-health-check"'),
    },
    "deploy/dagster.yaml": {"scheme: postgresql+psycopg2": ("dagster_postgres/utils.py", 'f"{scheme}://')},
    "orchestration/transform/run_results.py": {
        "Errors parsed from dbt logs:": ("dagster_dbt/core/dbt_cli_invocation.py", "Errors parsed from dbt logs:"),
    },
    "orchestration/transform/dbt.py": {
        '"DAGSTER_DBT_CLI": "true"': ("dagster_dbt/core/resource.py", '"DAGSTER_DBT_CLI": "true"'),
    },
    "orchestration/instance/event_log.py": {
        '"history" / "runs"': ("dagster/_core/instance/ref.py", '"history", "runs"'),
    },
    "orchestration/instance/run_launcher.py": {
        "after telling it to shut down": ("dagster/_grpc/server.py", "after telling it to shut down"),
    },
    "tests/integration/test_team.py": {
        '"event_logs"': ("dagster/_core/storage/event_log/schema.py", '"event_logs",'),
        '"job_ticks"': ("dagster/_core/storage/schedules/schema.py", '"job_ticks",'),
        '"runs"': ("dagster/_core/storage/runs/schema.py", '"runs",'),
    },
}


def is_theirs(module: str) -> bool:
    root = module.partition(".")[0]
    return root == "dagster" or root.startswith("dagster_")


def is_private(word: object) -> bool:
    return isinstance(word, str) and word.startswith("_") and not word.startswith("__")


# What there is.


def has(owner: Any, name: str) -> bool:
    """Whether a class has a name, be it one that its `__init__` gives every object."""
    if hasattr(owner, name):
        return True
    inits = (vars(cls).get("__init__") for cls in getattr(owner, "__mro__", ()))
    codes = (init.__code__ for init in inits if hasattr(init, "__code__"))
    return any(i.opname == "STORE_ATTR" and i.argval == name for code in codes for i in dis.get_instructions(code))


def found(name: str) -> Any:
    """What stands behind a dotted name; None for what only objects have.

    Raises:
        LookupError: nothing.
    """
    root, *rest = name.split(".")
    path, thing = root, importlib.import_module(root)
    for part in rest:
        path = f"{path}.{part}"
        if hasattr(thing, part):
            thing = getattr(thing, part)
        elif isinstance(thing, ModuleType):
            try:
                thing = importlib.import_module(path)
            except ModuleNotFoundError:
                raise LookupError(path) from None
        elif has(thing, part):
            return None
        else:
            raise LookupError(path)
    return thing


def is_module(name: str) -> bool:
    try:
        return isinstance(found(name), ModuleType)
    except LookupError:
        return False


def fits(parameters: str, theirs: dict[str, inspect.Parameter]) -> bool:
    ours = parameters.split()
    if ours[-1] != "...":
        return ours == list(theirs)
    needed = [
        name
        for name, parameter in theirs.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    return set(needed) <= set(ours[:-1]) <= set(theirs)


def in_version(module: str) -> str:
    package = module.partition(".")[0].replace("_", "-")
    return f"{package} {version(package)}"


def complaint(file: str, name: str, parameters: str | None) -> str | None:
    """What is wrong with a name, and what to do about it, in a sentence; None if nothing is."""
    try:
        thing = found(name)
    except LookupError:
        return f"{name} is gone in {in_version(name)}: mend {file}, and its row here"
    if parameters is None:
        return None
    theirs = dict(inspect.signature(thing).parameters)
    if fits(parameters, theirs):
        return None
    return f"{name} has changed in {in_version(name)}, it takes ({', '.join(theirs)}): mend {file}, and its row here"


@pytest.mark.parametrize(
    ("file", "name", "parameters"),
    [(file, name, parameters) for file, names in PRIVATE.items() for name, parameters in names.items()],
)
def test_a_private_name_is_what_we_take_it_for(file: str, name: str, parameters: str | None) -> None:
    wrong = complaint(file, name, parameters)
    assert wrong is None, wrong


@pytest.mark.parametrize(
    ("file", "ours", "their_file", "theirs"),
    [(file, ours, *theirs) for file, texts in TEXTS.items() for ours, theirs in texts.items()],
)
def test_a_private_text_is_what_we_take_it_for(file: str, ours: str, their_file: str, theirs: str) -> None:
    package = their_file.partition("/")[0]
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parents[1] / their_file
    there = path.is_file() and theirs in path.read_text("utf-8")
    assert there, f"`{theirs}` of {their_file} is gone in {in_version(package)}: mend {file}, and its row here"
    assert ours in (PROJECT_ROOT / file).read_text("utf-8"), f"{file} no longer says `{ours}`: strike its row here"


# What we use.


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


def defined(tree: ast.AST) -> Iterator[str]:
    """The private names that a file makes itself."""
    for node in nodes(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def words(tree: ast.AST) -> Iterator[str]:
    """The names that a file says, in code or as a string of nothing else."""
    for node in nodes(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.FunctionDef(name=word):
                yield word
            case ast.alias(name=word):
                yield word
            case ast.Constant(value=str(word)):
                yield word


def imported(tree: ast.AST) -> dict[str, str]:
    """What a file imports of theirs: the whole name by the word that stands for it."""
    whole = {}
    for node in nodes(tree):
        match node:
            case ast.Import(names=aliases):
                whole |= {alias.asname or alias.name: alias.name for alias in aliases if is_theirs(alias.name)}
            case ast.ImportFrom(module=str(module), names=aliases, level=0) if is_theirs(module):
                whole |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in aliases}
    return whole


def overridden(tree: ast.AST) -> Iterator[tuple[str, list[str] | None]]:
    """What classes of ours put in the place of something of theirs: its name, and the parameters of a method."""
    whole = imported(tree)
    for node in (node for node in nodes(tree) if isinstance(node, ast.ClassDef)):
        for base in map(ast.unparse, node.bases):
            first, _, rest = base.partition(".")
            if first not in whole:
                continue
            name = ".".join(filter(None, (whole[first], rest)))
            try:
                theirs = found(name)
            except LookupError:  # the test of the name says so
                continue
            methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
            for method in methods.values():
                if has(theirs, method.name) and not method.name.startswith("__"):
                    decorators = {ast.unparse(decorator) for decorator in method.decorator_list}
                    taken = [argument.arg for argument in method.args.args][1 if "classmethod" in decorators else 0 :]
                    yield f"{name}.{method.name}", None if "property" in decorators else taken
            for attribute in set(defined(node)) - set(methods):
                if has(theirs, attribute):
                    yield f"{name}.{attribute}", None


def reached(tree: ast.AST, ours: set[str]) -> Iterator[str]:
    """The names such as `thing._name` in a file that imports something of theirs, but for those that we make.

    Args:
        tree: what the file says.
        ours: private names that files of ours make.
    """
    whole = imported(tree)
    mine = set(defined(tree))
    plain = [alias for node in nodes(tree) if isinstance(node, ast.Import) for alias in node.names]
    of_others = {alias.asname or alias.name for alias in plain} - set(whole)
    for node in nodes(tree) if whole else ():
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=word):
                makers = mine
            case ast.Attribute(value=ast.Name(id=module)) if module in of_others:  # such as os._exit
                continue
            case ast.Attribute(attr=word):
                makers = ours
            case ast.Call(func=function, args=[_, ast.Constant(value=word), *_]):
                if not ast.unparse(function).endswith(("getattr", "setattr", "delattr")):
                    continue
                makers = ours
            case _:
                continue
        if is_private(word) and word not in makers:
            yield word


def undeclared(file: str, tree: ast.AST, ours: set[str]) -> Iterator[str]:
    """What a file uses that is private and stands in no row of it.

    Args:
        file: its path in the project.
        tree: what it says.
        ours: private names that files of ours make.
    """
    rows = PRIVATE.get(file, {})
    for name in imported(tree).values():
        module, _, word = name.rpartition(".")
        if (is_private(word) or "." in module or (module and is_module(name))) and name not in rows:
            yield name
    for name, taken in overridden(tree):
        if name not in rows or (taken is not None and taken != (rows[name] or "").split()):
            yield f"{name}, which a class of ours replaces"
    known = {name.rpartition(".")[2] for name in rows}
    yield from (word for word in reached(tree, ours) if word not in known)
    strings = (node.value for node in nodes(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    yield from (text for text in strings if text not in rows and re.fullmatch(PRIVATE_PATH, text))


@cache
def files() -> dict[str, ast.AST]:
    """Our files that name Dagster, but for this one."""
    paths = [path for folder in FOLDERS for path in sorted((PROJECT_ROOT / folder).rglob("*.py"))]
    texts = {path.relative_to(PROJECT_ROOT).as_posix(): path.read_text("utf-8") for path in paths}
    this = Path(__file__).relative_to(PROJECT_ROOT).as_posix()
    return {file: ast.parse(text) for file, text in texts.items() if "dagster" in text and file != this}


def test_every_private_name_that_we_use_has_its_row() -> None:
    ours = {name for tree in files().values() for name in defined(tree)}
    missing = [f"{file}: {name}" for file, tree in files().items() for name in undeclared(file, tree, ours)]
    assert not missing, "private names of Dagster without a row that fits in PRIVATE:\n" + "\n".join(missing)


def test_no_row_is_left_over() -> None:
    said = {file: {*words(tree), *imported(tree).values()} for file, tree in files().items()}
    left_over = [
        f"{file}: {name}"
        for file, names in PRIVATE.items()
        for name in names
        if name.rpartition(".")[2] not in said.get(file, ())
    ]
    assert not left_over, "rows of PRIVATE that their file does not use any more:\n" + "\n".join(left_over)


# The caps.


def requirements() -> list[tuple[str, str]]:
    """What `pyproject.toml` wants of Dagster: each requirement, with the list in which it stands."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = {"dependencies": project["dependencies"], **project["optional-dependencies"]}
    return [(name, line) for name, lines in lists.items() for line in lines if line.startswith("dagster")]


def locked(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^(dagster[\w-]*)==(\S+)", lock.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize(("where", "line"), requirements())
def test_a_package_with_private_names_stays_below_its_next_minor(where: str, line: str) -> None:
    wanted = Requirement(line)
    now = Version(version(wanted.name))
    caps = [bound.version for bound in wanted.specifier if bound.operator == "<"]
    assert caps == [f"{now.major}.{now.minor + 1}"], f"{line} in {where} has no cap below the minor after {now}"
    for lock in PROJECT_ROOT.glob("requirements*.lock"):
        assert wanted.specifier.contains(locked(lock)[wanted.name]), (line, lock.name)


def test_no_package_with_private_names_is_without_a_cap() -> None:
    used = {name.partition(".")[0] for names in PRIVATE.values() for name in names}
    used |= {their_file.partition("/")[0] for texts in TEXTS.values() for their_file, _ in texts.values()}
    # Dagster itself asks for exactly one version of this one.
    used -= {"dagster_shared"}
    capped = {Requirement(line).name.replace("-", "_") for _, line in requirements()}
    assert used == {"dagster", "dagster_dbt", "dagster_postgres", "dagster_webserver"}
    assert used <= capped


# This test itself.


def test_what_is_gone_or_changed_is_said_with_the_file_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint("ours.py", f"{LOG}._initdb", "self engine ...") is None
    monkeypatch.setattr(f"{LOG}._initdb", lambda self, engine, shard: None)
    said = complaint("ours.py", f"{LOG}._initdb", "self engine ...")
    assert said == (
        f"{LOG}._initdb has changed in {in_version('dagster')}, it takes (self, engine, shard): mend ours.py, and its"
        " row here"
    )
    monkeypatch.delattr(f"{LOG}._initdb")
    said = complaint("ours.py", f"{LOG}._initdb", "self engine ...")
    assert said == f"{LOG}._initdb is gone in {in_version('dagster')}: mend ours.py, and its row here"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from dagster._core.errors import DagsterError", "dagster._core.errors.DagsterError"),
        ("from dagster import _check", "dagster._check"),
        ("import dagster_dbt.asset_utils as utils", "dagster_dbt.asset_utils"),
        ("from dagster_dbt import asset_utils", "dagster_dbt.asset_utils"),
        ("import dagster as dg\ndg.DagsterInstance.get()._ref", "_ref"),
        ("import dagster as dg\nclass Launcher(dg.DefaultRunLauncher):\n    def f(self): self._run_ids", "_run_ids"),
        ("import dagster as dg\nmonkeypatch.setattr(dg.x, '_run_ids', set())", "_run_ids"),
        ("monkeypatch.setattr('dagster._core.errors.DagsterError', None)", "dagster._core.errors.DagsterError"),
        (
            "import dagster as dg\nclass Launcher(dg.DefaultRunLauncher):\n    def join(self, timeout): ...",
            "dagster.DefaultRunLauncher.join, which a class of ours replaces",
        ),
        (
            "import dagster as dg\nclass Launcher(dg.DefaultRunLauncher):\n    def f(self): self._run_ids = set()",
            "dagster.DefaultRunLauncher._run_ids, which a class of ours replaces",
        ),
        ("import dagster as dg\nclass Job(dg.Config):\n    def f(self): self._mine = dg.DagsterInstance.get()", None),
        ("import os, dagster\nos._exit(0)", None),
    ],
)
def test_a_private_name_without_a_row_is_found(source: str, name: str | None) -> None:
    assert list(undeclared("ours.py", ast.parse(source), set())) == ([name] if name else [])
