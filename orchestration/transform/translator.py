"""How dbt's models and tests read in the UI of Dagster."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtProject

from orchestration.asset_metadata import SIMULATED, about, first_sentence_first
from orchestration.settings import DBT_PROJECT_DIR


class OrewatchTranslator(DagsterDbtTranslator):
    """Describes nodes in the words of their yml; keeps all that dagster-dbt reads itself.

    Args:
        simulated: whether every price of it is made up.
    """

    def __init__(self, simulated: bool) -> None:
        super().__init__()
        self.simulated = simulated
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
            # A model's folder is its group.
            spec = spec.replace_attributes(description=description, group_name=node["fqn"][-2]).merge_attributes(
                metadata=about(node["config"]["meta"]["document"], *(DBT_PROJECT_DIR / file for file in files))
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
        text = f"{_demand(test)} What to do: docs/runbook.md, `{test['name']}`"
        return spec._replace(description=f"{SIMULATED}{text}" if self.simulated else text)


def _demand(test: Mapping[str, Any]) -> str:
    """What a generic test demands, in a sentence."""
    given = test["kwargs"]
    column = given.get("column_name") or ", ".join(given.get("columns", ()))
    match test["name"]:
        case "unique_combination_of_columns":
            return f"One row per {', '.join(given['combination_of_columns'])}."
        case "not_null":
            return f"{column} is never empty."
        case "null_only_of_points":
            return f"{column} is known of everything that has a price."
        case "accepted_values":
            return f"{column} is one of {', '.join(map(str, given['values']))}."
        case "accepted_range":
            bounds = [f"at least {given['min_value']}"] if "min_value" in given else []
            bounds += [f"at most {given['max_value']}"] if "max_value" in given else []
            return f"{column}: where known, {' and '.join(bounds)}."
        case "ohlc_is_possible":
            return "Where a bar has a range, it contains open and close."
        case "vendor_adjustment_agrees":
            return "Our adjusted close and the vendor's tell the same returns."
        case name:
            return f"{name.replace('_', ' ').capitalize()}."
