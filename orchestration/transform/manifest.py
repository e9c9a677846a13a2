"""The dbt manifest, prepared ahead: its nodes, and their names and descriptions as people read them."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestration.market.errors import SettingsError
from orchestration.settings import DBT_PROJECT_DIR

MANIFEST = DBT_PROJECT_DIR / "target" / "manifest.json"
# Seconds that a manifest is waited for which is being written.
WAITS = (0.1, 0.2, 0.4, 0.8, 1.6)
# Nodes that a sentence names before it only counts.
NAMED = 10


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
        SettingsError: the manifest has not been prepared, or is not whole.
    """
    return _read_manifest(prepared(manifest_path), manifest_path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_manifest(manifest_path: Path, _: int) -> dict[str, Any]:
    manifest = _written(manifest_path)
    # dagster-dbt would make an object of dbt's of each, at every start.
    unit_tests = manifest.pop("unit_tests").keys()
    children = {
        id_: sorted(set(ids) - unit_tests) for id_, ids in manifest["child_map"].items() if id_ not in unit_tests
    }
    _named_for_people(node for node in manifest["nodes"].values() if node["resource_type"] == "test")
    _describe_alike(manifest)
    return {**manifest, "unit_tests": {}, "child_map": children}


def _written(manifest_path: Path) -> dict[str, Any]:
    """What dbt has written; it writes in place, so whoever reads at that moment sees a part, and reads again."""
    import orjson

    for seconds in WAITS:
        with suppress(orjson.JSONDecodeError):
            found: dict[str, Any] = orjson.loads(manifest_path.read_bytes())
            return found
        time.sleep(seconds)
    raise SettingsError(f"{manifest_path} is not whole; run `make manifest`")


def data_tests() -> set[str]:
    """The data tests that must have passed before readers get the tables, by dbt's unique id: all that there are."""
    return {id_ for id_, node in read_manifest()["nodes"].items() if node["resource_type"] == "test"}


def mart_ids(nodes: Mapping[str, Any]) -> list[str]:
    """Unique ids of the models that readers get."""
    return [id_ for id_, n in nodes.items() if n["resource_type"] == "model" and "marts" in n["fqn"]]


def named(unique_ids: Iterable[str]) -> str:
    """Models and tests of dbt in a few words: how many, and the first ones by name."""
    names = sorted(id_.split(".")[2] for id_ in unique_ids)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} of the models and tests: {', '.join(names[:NAMED])}{more}"


def _named_for_people(tests: Iterable[dict[str, Any]]) -> None:
    """Name tests by what they demand of which columns: of which table says the asset, of which values the description.

    dbt puts all of it into one name of up to 200 characters, of which the web UI shows the first and the last ones.
    """
    for node in tests:
        if test := node.get("test_metadata"):
            given = test["kwargs"]
            columns = _columns_of(given)
            node["name"] = "_".join([test["name"].removesuffix("_combination_of_columns"), *columns])


def _columns_of(given: Mapping[str, Any]) -> list[str]:
    """The columns that a test looks at; of several with the same bounds the first."""
    if several := given.get("columns", []):
        return [several[0], "and", str(len(several) - 1), "more"]
    return given.get("combination_of_columns") or [given["column_name"]] if len(given) > 1 else []


def _describe_alike(manifest: Mapping[str, Any]) -> None:
    """Describe the columns on the way that have no words of their own: as readers' tables, or the inputs, do theirs."""
    nodes = manifest["nodes"]
    known: dict[str, str] = {}
    for node in [*(nodes[id_] for id_ in sorted(mart_ids(nodes))), *manifest["sources"].values()]:
        for name, column in node["columns"].items():
            known.setdefault(name, column["description"])
    for node in (node for node in nodes.values() if node["resource_type"] == "model"):
        for name, column in node["columns"].items():
            column["description"] = column["description"] or known.get(name, "")
