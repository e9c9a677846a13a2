"""What dagster-dbt has and does not offer: its private names are used here and nowhere else.

dagster-dbt's own start of a build asks dbt for its version in one more process and loads dbt's adapter into this one,
which takes as long as half of the models.
"""

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation

from orchestration.settings import DBT_PROJECT_DIR
from orchestration.transform.dbt import DbtRunner
from orchestration.transform.run_results import RUN_RESULTS, Ran


def run_dbt(
    dbt: DbtRunner,
    context: dg.AssetExecutionContext,
    manifest: Mapping[str, Any],
    translator: DagsterDbtTranslator,
    arguments: Sequence[str],
) -> Ran:
    """Build what a step was asked for, to its end: all models and tests, or some of them.

    Args:
        dbt: what runs it.
        context: of the step.
        manifest: the nodes of dbt.
        translator: how they read in Dagster.
        arguments: of dbt beside what names these.
    """
    from packaging.version import Version

    results = dbt.target / RUN_RESULTS
    # dbt writes it only once it has run something; an old one would answer for this run.
    results.unlink(missing_ok=True)
    invocation = DbtCliInvocation(
        process=dbt.build([*arguments, *_selection(context, manifest, translator)]),
        manifest=manifest,
        dagster_dbt_translator=translator,
        project_dir=DBT_PROJECT_DIR,
        target_path=dbt.target,
        raise_on_error=False,
        cli_version=Version(importlib.metadata.version("dbt-core")),
        context=context,
    )
    # All of them, until dbt has let go of the warehouse: whoever counts rows opens it.
    events = tuple(invocation.stream())
    return Ran(results, invocation.is_successful(), invocation.get_error(), events, _reported(events))


def asked_for(context: dg.AssetExecutionContext) -> set[str]:
    """The models and tests, by dbt's unique id, that a step is to run."""
    assets = context.assets_def
    specs: list[dg.AssetSpec | dg.AssetCheckSpec] = [assets.specs_by_key[key] for key in context.selected_asset_keys]
    specs += [assets.get_spec_for_check_key(key) for key in context.selected_asset_check_keys]
    return {spec.metadata["dagster_dbt/unique_id"] for spec in specs}


def _reported(events: Iterable[Any]) -> frozenset[str]:
    """The models and tests of which dbt has reported to Dagster, by dbt's unique id."""
    heard = (event for event in events if isinstance(event, dg.Output | dg.AssetCheckResult))
    reported = (event.metadata.get("unique_id") for event in heard)
    return frozenset(str(getattr(id_, "value", id_)) for id_ in reported)


def _selection(
    context: dg.AssetExecutionContext, manifest: Mapping[str, Any], translator: DagsterDbtTranslator
) -> list[str]:
    """Arguments of dbt that name what a step was asked for; none, if that is everything."""
    from dagster_dbt.asset_utils import get_subset_selection_for_context

    if not context.is_subset:
        return []
    selection, indirect = get_subset_selection_for_context(
        context=context,
        manifest=manifest,
        select=None,
        exclude=None,
        selector=None,
        dagster_dbt_translator=translator,
        current_dbt_indirect_selection_env=None,
    )
    return [*selection, *(("--indirect-selection", indirect) if indirect else ())]
