"""The bundle for Superset: what stands in `bundle/`, made complete with what the published version says.

    python -m dashboard.bundle bundle.zip [--database URI]

writes the file that any Superset 6 imports. The YAML in `bundle/` is Superset's own format. What depends on the home is
added here: where the database is, the columns of each dataset with the descriptions of the models, and on
simulated prices a banner on every page.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from orchestration.cli.main import readable_errors
from orchestration.home import Home
from orchestration.market.errors import OrewatchError
from orchestration.settings import load_settings

if TYPE_CHECKING:
    import duckdb

    from orchestration.publish.marts import Mart

BUNDLE = Path(__file__).parent / "bundle"
BANNER = "#### SIMULATED prices: none of them is real"
BANNER_HEIGHT = 9


def rendered(home: Home, simulated: bool, database: str | None = None) -> dict[str, str]:
    """The files of the bundle by name, each as YAML.

    Args:
        home: whose published version is shown.
        simulated: whether every price in it is made up.
        database: SQLAlchemy URI of the tables; the published DuckDB file if not given.

    Raises:
        OrewatchError: nothing is published, or a dataset reads what the published version does not have.
    """
    import duckdb

    from orchestration.publish.marts import marts

    if not home.published_file.exists():
        raise OrewatchError(f"nothing is published below {home.root}: run `make demo` or `orewatch refresh` first")
    tables = marts()
    files: dict[str, str] = {}
    with duckdb.connect(str(home.published_file), read_only=True) as market:
        for path in sorted(BUNDLE.rglob("*.yaml")):
            name = path.relative_to(BUNDLE).as_posix()
            content = yaml.safe_load(path.read_text("utf-8"))
            if name.startswith("databases/"):
                content["sqlalchemy_uri"] = database or f"duckdb:///{home.published_file}"
            elif name.startswith("datasets/"):
                content["columns"] = _columns(name, content, market, tables)
            elif name.startswith("dashboards/") and simulated:
                content["dashboard_title"] += ", SIMULATED prices"
                _add_banner(content["position"])
            files[name] = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return files


def _columns(
    name: str, dataset: Mapping[str, Any], market: "duckdb.DuckDBPyConnection", tables: "Mapping[str, Mart]"
) -> list[dict[str, Any]]:
    """The columns of a dataset's query, described as in the first of its tables that has such a column."""
    import duckdb

    try:
        found = market.execute(f"describe {dataset['sql']}").fetchall()
    except duckdb.Error as error:
        raise OrewatchError(f"dashboard/bundle/{name}: {str(error).splitlines()[0]}") from None
    words = dataset["sql"].replace(".", " ").split()
    read = [table for table in dict.fromkeys(words) if table in tables]
    # A virtual dataset may name columns of its own; those it describes itself.
    own = {column["column_name"]: column["description"] for column in dataset["columns"]}
    return [
        {
            "column_name": column,
            "verbose_name": column.replace("_", " "),
            "type": kind,
            "is_dttm": kind in ("DATE", "TIMESTAMP"),
            "is_active": True,
            "groupby": True,
            "filterable": True,
            "description": own.get(column)
            or next((tables[table].columns[column].strip() for table in read if column in tables[table].columns), None),
        }
        for column, kind, *_ in found
    ]


def _add_banner(position: dict[str, Any]) -> None:
    """Put the banner at the top of every page."""
    for tab in [part for part in position.values() if isinstance(part, dict) and part["type"] == "TAB"]:
        row, text = f"ROW-banner-{tab['id']}", f"MARKDOWN-banner-{tab['id']}"
        parents = [*tab["parents"], tab["id"]]
        meta: dict[str, Any] = {"background": "BACKGROUND_TRANSPARENT"}
        position[row] = {"type": "ROW", "id": row, "children": [text], "parents": parents, "meta": meta}
        meta = {"code": BANNER, "width": 12, "height": BANNER_HEIGHT}
        position[text] = {"type": "MARKDOWN", "id": text, "children": [], "parents": [*parents, row], "meta": meta}
        tab["children"].insert(0, row)


def main(
    file: Annotated[Path, typer.Argument(help="The zip file to write.")],
    database: Annotated[
        str | None,
        typer.Option(help="SQLAlchemy URI of the DuckDB file for that Superset; not given: the one published here."),
    ] = None,
) -> None:
    """Write the bundle as one file that Superset imports."""
    with readable_errors():
        settings = load_settings()
        files = rendered(settings.paths, settings.simulated, database)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, content in files.items():
                bundle.writestr(f"orewatch/{name}", content)
        typer.echo(f"{file}: {len(files)} files")


if __name__ == "__main__":
    typer.run(main)
