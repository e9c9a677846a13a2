"""The dbt models as assets, and how their dbt properties read in the UI."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtProject, dbt_assets

from orchestration.market.errors import SettingsError
from orchestration.resources import environment
from orchestration.settings import DBT_PROJECT_DIR, Settings

MANIFEST = DBT_PROJECT_DIR / "target" / "manifest.json"


class OrewatchTranslator(DagsterDbtTranslator):
    """Adds owners, and says where prices are simulated; keeps everything that dagster-dbt reads from the manifest.

    Args:
        simulated: whether every price of the source is made up.
    """

    def __init__(self, simulated: bool) -> None:
        super().__init__()
        self.simulated = simulated

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """The asset of one dbt node, described in the words of its yml rather than with its SQL."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        description = manifest["nodes"].get(unique_id, {}).get("description") or spec.description
        if self.simulated:
            description = f"SIMULATED prices. {description}"
        return spec.replace_attributes(description=description).merge_attributes(owners=["team:orewatch"])


def dbt_build_args(full_refresh: bool = False) -> list[str]:
    """Arguments of the production build: models and data tests; unit tests belong to development and CI."""
    return ["build", "--exclude-resource-type", "unit_test", *(["--full-refresh"] if full_refresh else [])]


def mart_names(manifest_path: Path = MANIFEST) -> list[str]:
    """The tables that readers get, from the manifest.

    Raises:
        SettingsError: the manifest has not been prepared.
    """
    import orjson

    nodes = orjson.loads(prepared(manifest_path).read_bytes())["nodes"].values()
    return sorted(n["name"] for n in nodes if n["resource_type"] == "model" and "marts" in n["fqn"])


def prepared(manifest_path: Path = MANIFEST) -> Path:
    """The manifest's path, if it is there.

    Raises:
        SettingsError: it is not; the message says how to make it.
    """
    if not manifest_path.is_file():
        raise SettingsError(f"{manifest_path} is missing; run `make manifest`")
    return manifest_path


def build_models(settings: Settings) -> dg.AssetsDefinition:
    """All dbt models and their tests, built in one step."""

    @dbt_assets(
        manifest=prepared(),
        project=DbtProject(DBT_PROJECT_DIR, profiles_dir=DBT_PROJECT_DIR),
        dagster_dbt_translator=OrewatchTranslator(settings.simulated),
        name="dbt_models",
        required_resource_keys={"settings", "warehouse_lock", "progress", "dbt"},
    )
    def dbt_models(context: dg.AssetExecutionContext) -> Iterator[Any]:
        current: Settings = context.resources.settings
        context.resources.progress(0, 0, "building the tables")
        events: list[Any] = []
        with environment(current.dbt_environment()):
            invocation = context.resources.dbt.cli(
                dbt_build_args(), context=context, target_path=current.root / "dbt", raise_on_error=False
            )
            # Held back until dbt has let go of the warehouse: the counts below open it.
            events.extend(invocation.stream())
        from orchestration.storage.warehouse import table_facts

        facts = table_facts(current.warehouse_path)
        for event in events:
            if isinstance(event, dg.Output):
                yield event.with_metadata({**event.metadata, **facts.get(event.output_name.rpartition("__")[2], {})})
            else:
                yield event
        if not invocation.is_successful():
            raise dg.Failure(
                description="a model or a blocking data test failed; readers keep the last published version: "
                + dbt_failures(invocation.get_artifact("run_results.json")),
                allow_retries=False,
            )

    return dbt_models


def dbt_failures(run_results: Mapping[str, Any]) -> str:
    """The failed nodes of a dbt run in one line, each with dbt's own message."""
    failed = [
        f"{r['unique_id'].split('.')[2]}: {(r.get('message') or r['status']).strip().splitlines()[0]}"
        for r in run_results["results"]
        if r["status"] in ("error", "fail")
    ]
    return "; ".join(failed) or "dbt stopped before it ran anything"
