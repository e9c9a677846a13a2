"""The dbt models as assets, and how their dbt properties read in the UI."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtProject, dbt_assets

from orchestration.assets import OWNERS
from orchestration.assets.shown import first_sentence_first, links, tag_run
from orchestration.dbt_process import WHOLE
from orchestration.market.errors import SettingsError
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.spark_cluster import is_cluster, master_answers

if TYPE_CHECKING:
    from orchestration.storage.publish import Mart

MANIFEST = DBT_PROJECT_DIR / "target" / "manifest.json"
# What dbt writes at the end of a build, of each node.
RUN_RESULTS = "run_results.json"
# Nodes that a sentence names before it only counts.
NAMED = 10


class OrewatchTranslator(DagsterDbtTranslator):
    """Adds owners, source and links, and says where prices are simulated; keeps all that dagster-dbt reads itself.

    Args:
        source: name of the source of prices.
        simulated: whether every price of it is made up.
    """

    def __init__(self, source: str, simulated: bool) -> None:
        super().__init__()
        self.source, self.simulated = source, simulated
        self._specs: dict[tuple[int, str, int], dg.AssetSpec] = {}

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """The asset of one dbt node, described in the words of its yml rather than with its SQL."""
        # Asked for each node by every check and every model that reads it.
        known = self._specs.get(key := (id(manifest), unique_id, id(project)))
        if known is not None:
            return known
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = manifest["nodes"].get(unique_id)
        if node is not None:
            description = first_sentence_first(node["description"])
            files = (node["original_file_path"], node["patch_path"].partition("://")[2])
            spec = spec.replace_attributes(
                description=f"SIMULATED prices. {description}" if self.simulated else description
            ).merge_attributes(
                owners=OWNERS,
                tags={"source": self.source},
                metadata=links(node["config"]["meta"]["document"], *(DBT_PROJECT_DIR / file for file in files)),
            )
        return self._specs.setdefault(key, spec)

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        """The check of one dbt test, with what it demands in words."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        test = manifest["nodes"][unique_id].get("test_metadata")
        if spec is None or not test:
            return spec
        said = f"{_demand(test)} What to do: docs/runbook.md, `{test['name']}`"
        return spec._replace(description=f"SIMULATED prices. {said}" if self.simulated else said)


def _demand(test: Mapping[str, Any]) -> str:
    """What a generic test demands, in a sentence."""
    given = test["kwargs"]
    column = given.get("column_name", "")
    match test["name"]:
        case "grain":
            return f"One row per {', '.join(given['columns'])}."
        case "not_null":
            return f"{column} is never empty."
        case "accepted_values":
            return f"{column} is one of {', '.join(map(str, given['values']))}."
        case "between":
            bounds = [f"at least {given['at_least']}"] if "at_least" in given else []
            bounds += [f"at most {given['at_most']}"] if "at_most" in given else []
            return f"{column}, where it is known, is {' and '.join(bounds)}."
        case "ohlc_is_possible":
            return "Where a bar has a range, it contains open and close."
        case "vendor_adjustment_agrees":
            return "Our adjusted close and the vendor's tell the same returns."
        case name:
            return f"{name.replace('_', ' ').capitalize()}."


def _named_for_people(tests: Iterable[dict[str, Any]]) -> None:
    """Name tests by what they demand of which columns: of which table says the asset, of which values the description.

    dbt puts all of it into one name of up to 200 characters, of which the web UI shows the first and the last ones.
    """
    for node in tests:
        if test := node.get("test_metadata"):
            given = test["kwargs"]
            columns = given.get("columns") or [given["column_name"]] if len(given) > 1 else []
            node["name"] = "_".join([test["name"], *columns])


def _describe_alike(manifest: Mapping[str, Any]) -> None:
    """Describe the columns on the way that have no words of their own: as readers' tables, or the inputs, do theirs."""
    nodes = manifest["nodes"]
    known: dict[str, str] = {}
    for node in [*(nodes[id_] for id_ in sorted(_mart_ids(nodes))), *manifest["sources"].values()]:
        for name, column in node["columns"].items():
            known.setdefault(name, column["description"])
    for node in (node for node in nodes.values() if node["resource_type"] == "model"):
        for name, column in node["columns"].items():
            column["description"] = column["description"] or known.get(name, "")


# Tag of the columns that say when a run saw something.
RUN_TIME = "run_time"


def marts(manifest_path: Path = MANIFEST) -> "dict[str, Mart]":
    """The tables that readers get, by name, from the manifest.

    A table with several `grain` tests has the grain of most columns, which says most about what lies together.

    Raises:
        SettingsError: the manifest has not been prepared.
    """
    from orchestration.storage.publish import Mart

    nodes = read_manifest(manifest_path)["nodes"]
    grains: dict[str, tuple[str, ...]] = dict.fromkeys(_mart_ids(nodes), ())
    for node in nodes.values():
        test = node.get("test_metadata") or {}
        model = node.get("attached_node")
        if test.get("name") == "grain" and model in grains:
            grains[model] = max(grains[model], tuple(test["kwargs"]["columns"]), key=len)
    return {
        nodes[id_]["name"]: Mart(
            grain=grain,
            description=nodes[id_]["description"],
            columns={name: column["description"] for name, column in nodes[id_]["columns"].items()},
            run_times=frozenset(
                n for n, column in nodes[id_]["columns"].items() if RUN_TIME in column["config"]["tags"]
            ),
            changes=_changes(nodes[id_]),
        )
        for id_, grain in sorted(grains.items())
    }


def _changes(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of tables of changes that say from which session on builds replace rows of a model.

    The strategy `changed_rows` does what its macro does (macros/incremental.sql); of everything else nothing is known.
    """
    from orchestration.storage.changes import KNOWN, RANKED_ON

    config = node.get("config") or {}
    meta = config.get("meta") or {}
    if (config.get("materialized"), config.get("incremental_strategy")) != ("incremental", "changed_rows"):
        return ()
    if meta.get("changed_by", "session_date") != "session_date":
        return ()
    said = [f"{meta.get('changes', 'int_changes')}.{meta.get('changed_from', 'changed_from')}"]
    if config.get("unique_key") or config.get("post-hook"):
        # Rows with the keys of those that were built go too, or more follows, on whichever session: known of ranks.
        if not any(id_.endswith(".int_ranked_changes") for id_ in node["depends_on"]["nodes"]):
            return ()
        said.append(RANKED_ON)
    return tuple(said) if set(said) <= set(KNOWN) else ()


def data_tests() -> set[str]:
    """The data tests that must have passed before readers get the tables, by dbt's unique id: all that there are."""
    return {id_ for id_, node in read_manifest()["nodes"].items() if node["resource_type"] == "test"}


def mart_names() -> list[str]:
    """The tables that readers get; without what only a publication needs, and imports."""
    nodes = read_manifest()["nodes"]
    return [nodes[id_]["name"] for id_ in sorted(_mart_ids(nodes))]


def _mart_ids(nodes: Mapping[str, Any]) -> list[str]:
    return [id_ for id_, n in nodes.items() if n["resource_type"] == "model" and "marts" in n["fqn"]]


def mart_grains() -> dict[str, tuple[str, ...]]:
    """The columns of which each table that readers get has one row per value."""
    return {name: mart.grain for name, mart in marts().items()}


def prepared(manifest_path: Path = MANIFEST) -> Path:
    """The manifest's path, if it is there.

    Raises:
        SettingsError: it is not; the message says how to make it.
    """
    if not manifest_path.is_file():
        raise SettingsError(f"{manifest_path} is missing; run `make manifest`")
    return manifest_path


def read_manifest(manifest_path: Path = MANIFEST) -> dict[str, Any]:
    """The manifest without dbt's unit tests, which are no part of a build; read once, not to be changed.

    Raises:
        SettingsError: the manifest has not been prepared.
    """
    return _read_manifest(prepared(manifest_path), manifest_path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_manifest(manifest_path: Path, _: int) -> dict[str, Any]:
    import orjson

    manifest = orjson.loads(manifest_path.read_bytes())
    # dagster-dbt would make an object of dbt's of each, at every start.
    unit_tests = manifest.pop("unit_tests").keys()
    children = {
        id_: sorted(set(ids) - unit_tests) for id_, ids in manifest["child_map"].items() if id_ not in unit_tests
    }
    _named_for_people(node for node in manifest["nodes"].values() if node["resource_type"] == "test")
    _describe_alike(manifest)
    return {**manifest, "unit_tests": {}, "child_map": children}


def build_models(settings: Settings) -> dg.AssetsDefinition:
    """All dbt models and their tests, built in one step."""
    manifest, translator = read_manifest(), OrewatchTranslator(settings.source, settings.simulated)

    @dbt_assets(
        manifest=manifest,
        project=DbtProject(DBT_PROJECT_DIR, profiles_dir=DBT_PROJECT_DIR),
        dagster_dbt_translator=translator,
        name="dbt_models",
        required_resource_keys={"settings", "warehouse_lock", "progress", "ready_dbt"},
    )
    def dbt_models(context: dg.AssetExecutionContext) -> Iterator[Any]:
        from orchestration.assets.held_back import blamed, hold_back
        from orchestration.storage.changes import note_build, take_changes
        from orchestration.storage.fingerprint import fingerprint
        from orchestration.storage.lake import Lake
        from orchestration.storage.premises import premises, why_whole, write_premises
        from orchestration.storage.records import is_as_built, remove_records, write_reason, write_record
        from orchestration.storage.spark_tables import load_tables
        from orchestration.storage.warehouse import table_facts

        current: Settings = context.resources.settings
        target = current.root / "dbt"
        # Of what a killed build has left, nothing is known: the record comes back with the end of this one.
        lake = Lake(current.lake_dir)
        require_engine(current)
        taken_for_granted = premises(lake, current.control_dir, DBT_PROJECT_DIR, current.engine)
        if lake.row_count("bars") < current.full_refresh_below_bars:
            # As fast as an incremental build, and cannot be wrong.
            whole = f"fewer than {current.full_refresh_below_bars:,} bars are stored"
        else:
            whole = why_whole(current.premises_record, taken_for_granted, lake, current.control_dir)
            if not whole and not is_as_built(current.build_record, current.warehouse_path):
                whole = "the warehouse is not the one that the last build left"
        tag_run(context, current, build="whole" if whole else "incremental")
        context.log.info(f"all tables are built from the first bar on: {whole}" if whole else "an incremental build")
        context.resources.progress(0, 0, "building the tables" if whole else "bringing the tables up to date")
        remove_records(current.audit_record, current.build_record, current.premises_record)
        changes = take_changes(current.changes_record, current.warehouse_path)
        # Taken before dbt reads anything: what arrives meanwhile is not part of this build.
        built_from = fingerprint(lake, current.control_dir, DBT_PROJECT_DIR)
        if not context.is_subset:
            threading.Thread(target=_load_drawing, daemon=True).start()

        def build() -> tuple[DbtCliInvocation, list[Any]]:
            # dbt writes it only once it has run something; an old one would answer for this run.
            (target / RUN_RESULTS).unlink(missing_ok=True)
            if whole and not context.is_subset:
                _start_over(current)
            begun = _begin_build(context, manifest, translator, target, whole=bool(whole) or context.is_subset)
            # Held back until dbt has let go of the warehouse: the counts below open it.
            return begun, list(begun.stream())

        invocation, events = build()
        if not whole and not context.is_subset and (why := stopped(invocation, target)):
            # Whatever is wrong with what earlier builds have left, a whole one does without it.
            whole = f"an incremental build stopped: {why}"
            context.log.warning(f"all tables are built from the first bar on: {whole}")
            tag_run(context, current, build="whole")
            context.resources.progress(0, 0, f"building all tables anew, as {whole}")
            invocation, events = build()
        if not invocation.is_successful() and current.engine == "duckdb" and not context.is_subset:
            reasons = blamed(target / RUN_RESULTS, manifest, current.warehouse_path)
            if reasons and hold_back(current, reasons):
                for symbol, reason in reasons.items():
                    context.log.warning(f"{symbol} is held back: {reason}")
                whole = "other bars are held back than before"
                tag_run(context, current, build="whole", held_back=", ".join(reasons))
                context.resources.progress(0, 0, f"building all tables without the new bars of {', '.join(reasons)}")
                taken_for_granted = premises(lake, current.control_dir, DBT_PROJECT_DIR, current.engine)
                built_from = fingerprint(lake, current.control_dir, DBT_PROJECT_DIR)
                invocation, events = build()
        # Without an output nothing was built, and what dbt could not open cannot be counted either.
        built_any = any(isinstance(event, dg.Output) for event in events)
        if current.engine == "spark" and invocation.is_successful():
            context.resources.progress(0, 0, "loading what Spark has built")
            load_tables(current.spark_dir, current.warehouse_path)
        facts = table_facts(current.warehouse_path) if built_any and current.warehouse_path.is_file() else {}
        for event in events:
            if isinstance(event, dg.Output):
                yield event.with_metadata({**event.metadata, **facts.get(event.output_name.rpartition("__")[2], {})})
            else:
                yield event
        if not invocation.is_successful():
            said = dbt_failures(target / RUN_RESULTS) or dbt_complaint(invocation.get_error())
            write_reason(current.withheld_record, f"a model or a blocking data test failed: {said}")
            raise dg.Failure(
                description=f"a model or a blocking data test failed; readers keep the last published version: {said}",
                allow_retries=False,
            )
        ran = passed_nodes(target / RUN_RESULTS) & _told(events)
        if left_out := _asked_for(context) - ran:
            said = f"dbt ended without an error, and did not run {named(left_out)}"
            write_reason(current.withheld_record, said)
            raise dg.Failure(
                description=f"{said}; readers keep the last published version. Is dbt_project/target/manifest.json of"
                " these models? make manifest",
                allow_retries=False,
            )
        # Part of the models, built alone, leaves the others on older rows: no record, so nothing is published from it.
        if not context.is_subset:
            write_record(current.build_record, built_from, ran & data_tests(), current.warehouse_path)
            write_premises(current.premises_record, taken_for_granted)
            if not whole:
                note_build(current.changes_record, changes, current.warehouse_path)

    return dbt_models


def _asked_for(context: dg.AssetExecutionContext) -> set[str]:
    """The models and tests, by dbt's unique id, that this step is to run."""
    assets = context.assets_def
    specs: list[dg.AssetSpec | dg.AssetCheckSpec] = [assets.specs_by_key[key] for key in context.selected_asset_keys]
    specs += [assets.get_spec_for_check_key(key) for key in context.selected_asset_check_keys]
    return {spec.metadata["dagster_dbt/unique_id"] for spec in specs}


def _told(events: Iterable[Any]) -> set[str]:
    """The models and tests of which dbt has told Dagster, by dbt's unique id."""
    told = (event.metadata.get("unique_id") for event in events if isinstance(event, dg.Output | dg.AssetCheckResult))
    return {str(getattr(id_, "value", id_)) for id_ in told}


def _start_over(settings: Settings) -> None:
    """Take away what earlier builds have left, whatever state it is in: a whole build needs nothing of it."""
    from orchestration.storage.records import files_of, remove_records
    from orchestration.storage.spark_tables import start_over

    if settings.engine == "spark":
        start_over(settings.spark_dir)
    elif settings.warehouse_path.is_file():
        # Its log first: DuckDB would read one that lies beside a new file.
        remove_records(*reversed(files_of(settings.warehouse_path)))


def require_engine(settings: Settings) -> None:
    """Do nothing if what runs the models is there.

    Raises:
        SettingsError: it is not; the message says what to install or to start.
    """
    if settings.engine != "spark":
        return
    if not (find_spec("pyspark") and find_spec("dbt.adapters.spark")):
        raise SettingsError("OREWATCH_ENGINE=spark needs dbt-spark and pyspark: run `make spark-environment`")
    if not settings.has_java:
        raise SettingsError("OREWATCH_ENGINE=spark needs Java 17: on Debian, apt-get install default-jre-headless")
    if is_cluster(settings.spark) and not master_answers(settings.spark):
        raise SettingsError(
            f"OREWATCH_SPARK={settings.spark}: nothing answers there. Start the master and its workers, "
            "or let Spark run in this process: OREWATCH_SPARK=local[*]"
        )


def _begin_build(
    context: dg.AssetExecutionContext,
    manifest: dict[str, Any],
    translator: DagsterDbtTranslator,
    target: Path,
    whole: bool,
) -> DbtCliInvocation:
    """A build of what was asked for, as dagster-dbt would start it, in the process that has read the models already.

    dagster-dbt's own start asks dbt for its version in one more process and loads dbt's adapter into this one, which
    takes as long as half of the models.
    """
    import importlib.metadata

    from dagster_dbt.asset_utils import get_subset_selection_for_context
    from packaging.version import Version

    arguments = list(WHOLE if whole else ())
    if context.is_subset:
        selection, indirect = get_subset_selection_for_context(
            context=context,
            manifest=manifest,
            select=None,
            exclude=None,
            selector=None,
            dagster_dbt_translator=translator,
            current_dbt_indirect_selection_env=None,
        )
        arguments += [*selection, *(("--indirect-selection", indirect) if indirect else ())]
    return DbtCliInvocation(
        process=context.resources.ready_dbt.build(arguments),
        manifest=manifest,
        dagster_dbt_translator=translator,
        project_dir=DBT_PROJECT_DIR,
        target_path=target,
        raise_on_error=False,
        cli_version=Version(importlib.metadata.version("dbt-core")),
        context=context,
    )


def _load_drawing() -> None:
    """Load what only the steps after the build need, while this process waits for dbt."""
    import jinja2  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.dates  # noqa: F401

    import orchestration.brief.write  # noqa: F401


def stopped(invocation: DbtCliInvocation, target: Path) -> str:
    """What has stopped a build, in one line; empty if nothing has, or no more than data tests that found something."""
    if invocation.is_successful():
        return ""
    if (target / RUN_RESULTS).is_file():
        return dbt_failures(target / RUN_RESULTS, statuses=("error",))
    return dbt_complaint(invocation.get_error())


def dbt_failures(run_results_path: Path, statuses: Sequence[str] = ("error", "fail")) -> str:
    """The failed nodes of a dbt run in one line, each with dbt's own message; empty if dbt named none.

    Args:
        run_results_path: what dbt wrote.
        statuses: which nodes count; `fail` is a data test that found something, `error` whatever could not be run.
    """
    import orjson

    try:
        run_results = orjson.loads(run_results_path.read_bytes())
    except FileNotFoundError:
        return ""
    failed = [
        f"{r['unique_id'].split('.')[2]}: {(r.get('message') or r['status']).strip().splitlines()[0]}"
        for r in run_results["results"]
        if r["status"] in statuses
    ]
    return "; ".join(failed)


def passed_nodes(run_results_path: Path) -> set[str]:
    """Unique ids of the models that a dbt run has built and of the tests that passed; none if it ran nothing.

    A test whose severity is a warning has done its work when it has run.
    """
    import orjson

    try:
        run_results = orjson.loads(run_results_path.read_bytes())
    except FileNotFoundError:
        return set()
    return {r["unique_id"] for r in run_results["results"] if r["status"] in ("success", "pass", "warn")}


def named(unique_ids: Iterable[str]) -> str:
    """Models and tests of dbt in a few words: how many, and the first ones by name."""
    names = sorted(id_.split(".")[2] for id_ in unique_ids)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} of the models and tests: {', '.join(names[:NAMED])}{more}"


def dbt_complaint(error: Exception | None) -> str:
    """What dbt logged as errors, in one line: all there is if it stopped before it ran anything."""
    text = str(getattr(error, "description", None) or error or "dbt did not say why it stopped")
    # Before its own words stand the command and advice for people at a terminal.
    before, _, own = text.partition("Errors parsed from dbt logs:")
    return " ".join((own.strip() or before).split())
