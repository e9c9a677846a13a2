"""What the documents show is so: commands and Python blocks run, rows of CSV blocks are seeds, links lead somewhere.

Everything happens in a scratch folder that looks like a checkout, on one home that is built once, with the simulated
market. What a test cannot run stands in `INSTEAD`, with what is run in its place.
"""

import csv
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestration.duckdb_io import rows
from orchestration.publish.marts import mart_names
from orchestration.settings import DBT_PROJECT_DIR, PROJECT_ROOT, Settings
from orchestration.transform.manifest import read_manifest
from tests import documents
from tests.documents import DOCUMENTS, Block
from tests.jobs import asset_graph
from tests.postgres_server import PASSWORD, PASSWORD_IN_URL, PostgresServer, postgres_server
from tests.s3_server import s3_server

pytestmark = pytest.mark.integration

# What a test cannot run as it stands: the command, why, and what is run instead.
LONG, ENDLESS, INTERNET = "takes minutes", "never ends", "needs the internet"
BUILDS, TEST = "builds all tables once more", "a test inside a test"
SERVER, CONTAINERS = "needs a server's administrator; test_team.py does the same", "needs containers"
INSTEAD = {
    "make install": ("installs packages", "make -n install"),
    "make lint": ("another part of CI", "make -n lint"),
    "make test": ("would run this test", "make -n test"),
    "make test-all": ("would run this test", "make -n test-all"),
    "make golden": ("tests/golden/test_golden.py is the same", "make -n golden"),
    "make torture": (LONG, "make -n torture"),
    "make bench": (LONG, "make -n bench; python -c 'import benchmarks.everyday'"),
    "make bench-large": (LONG, "make -n bench-large"),
    "make bench-evening": (LONG, "make -n bench-evening; python -c 'import benchmarks.evening'"),
    "make bench-lake": (LONG, "make -n bench-lake; python -c 'import benchmarks.lake'"),
    "make bench-publish": (LONG, "make -n bench-publish"),
    "python -m benchmarks.publish 1000 20 --home somewhere --rounds 1": (
        LONG,
        "has 'python -m benchmarks.publish' instruments years --home --rounds",
    ),
    "make bench-yahoo": (LONG, "make -n bench-yahoo; python -c 'import benchmarks.yahoo'"),
    ".venv/bin/python -m benchmarks.everyday --steps": (LONG, "grep -e --steps $CHECKOUT/benchmarks/everyday.py"),
    "python -m benchmarks.large 1000 20 --home somewhere --rounds 3": (
        LONG,
        "has 'python -m benchmarks.large' instruments years --home --rounds",
    ),
    "python -m benchmarks.increments 1000 20 --home elsewhere --rounds 1": (
        LONG,
        "has 'python -m benchmarks.increments' instruments years --home --rounds",
    ),
    "make dev": (ENDLESS, "make -n dev; has 'orewatch dev' --port"),
    "make dashboard": (ENDLESS, "make -n dashboard; has 'python -m dashboard.serve' --port --new-password"),
    "make team": (
        f"{ENDLESS}; test_team.py starts the same",
        "make -n team-release team-code-server team-webserver team-daemon",
    ),
    "sudo -u postgres createuser --pwprompt dagster": (
        SERVER,
        "grep DAGSTER_POSTGRES_USER=dagster $CHECKOUT/deploy/team.env",
    ),
    "sudo -u postgres createdb --owner=dagster dagster": (
        SERVER,
        "grep DAGSTER_POSTGRES_DB=dagster $CHECKOUT/deploy/team.env",
    ),
    "docker compose --file deploy/compose.yaml up --build --detach": (CONTAINERS, "ls $CHECKOUT/deploy/compose.yaml"),
    "docker compose --file deploy/compose.yaml exec code-server orewatch status": (
        CONTAINERS,
        "grep '^  code-server:' $CHECKOUT/deploy/compose.yaml; orewatch status",
    ),
    "git pull": (INTERNET, "git --version"),
    "OREWATCH_SOURCE=yahoo make refresh": (INTERNET, "OREWATCH_SOURCE=yahoo make status; make -n refresh"),
    "orewatch alerts --test": (INTERNET, "orewatch alerts; has 'orewatch alerts' --test"),
    ".venv/bin/python -m pytest tests/unit/test_universe.py": (TEST, "ls $CHECKOUT/tests/unit/test_universe.py"),
    ".venv/bin/python -m pytest tests/unit/test_bars.py -k duplicate": (
        TEST,
        "grep 'def test.*duplicate' $CHECKOUT/tests/unit/test_bars.py",
    ),
    "make manifest": ("prepared before any test", "make -n manifest"),
    ".venv/bin/dbt test --select trend,test_type:unit --project-dir dbt_project --profiles-dir dbt_project": (
        "test_unit_tests_of_models.py runs them all",
        "has '.venv/bin/dbt test' --select --project-dir --profiles-dir",
    ),
    "Rscript tests/golden/producers/ttr.R series tests/golden": (
        "needs R",
        "ls $CHECKOUT/tests/golden/producers/ttr.R",
    ),
    "orewatch refresh --symbols SIL --full": ("as the line above it", "has 'orewatch refresh' --symbols --full"),
    "orewatch verify": (f"{BUILDS}; test_verify_and_as_of.py runs it", "orewatch verify --help"),
    "orewatch as-of 2026-06-24T21:00 --event EVENT_ID": (
        f"{BUILDS}; test_verify_and_as_of.py runs it",
        "has 'orewatch as-of' --event",
    ),
    "orewatch as-of 2026-06-24 --symbol SI=F --date 2026-06-24 --to somewhere/else": (
        f"{BUILDS}; test_verify_and_as_of.py runs it",
        "has 'orewatch as-of' --symbol --date --to",
    ),
    "OREWATCH_SOURCE=files OREWATCH_FILES=path/to/folder make refresh": (
        f"{BUILDS}; test_files_refresh.py runs it",
        "OREWATCH_SOURCE=files OREWATCH_FILES=path/to/folder make status; make -n refresh",
    ),
}
# Programs that a block may call, and targets of make that may run here; all else has to stand above.
PROGRAMS = {"orewatch", "make", ".venv/bin/python", "export", "cp", "ls", "ln", "mv"}
TARGETS = {"demo", "refresh", "status", "claims"}

# What `make test` and other tests leave in the environment.
OF_THIS_RUN = {"DAGSTER_HOME", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}

# Blocks about a PostgreSQL server run beside one, those about an object store beside that.
POSTGRES_HOST = "db.example.org"
OBJECT_STORE = "docs/object-store.md"

EVERY_BLOCK = [block for path in DOCUMENTS for block in documents.blocks(path)]


def server_of(block: Block) -> str:
    if POSTGRES_HOST in block.text:
        return "postgres"
    return "store" if block.document == OBJECT_STORE else ""


def of(language: str, server: str = "") -> list[Block]:
    return [block for block in EVERY_BLOCK if block.language == language and server_of(block) == server]


@dataclass
class Checkout:
    """A folder that looks like a checkout, with a home that is built.

    Attributes:
        folder: where commands are typed.
        environment: of every command.
        done: commands that have run on the home as it stands; another block need not run them again.
    """

    folder: Path
    environment: dict[str, str]
    done: set[str] = field(default_factory=set)

    @property
    def published_file(self) -> Path:
        return self.folder / "data/sample/published/current/market.duckdb"

    def run(self, arguments: list[str | Path], what: str) -> str:
        ran = subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, f"{what}\n{ran.stdout[-2000:]}\n{ran.stderr[-3000:]}"
        return ran.stdout

    def shell(self, block: Block) -> None:
        """The commands of a block in one shell, as a person types them one after the other."""
        script: list[str] = []
        on_the_home = True
        for command in documents.commands(block.text):
            # A variable may mean another home or source for all that follows.
            on_the_home = on_the_home and "=" not in command
            if on_the_home and command in self.done:
                continue
            if on_the_home:
                self.done.add(command)
            name, arguments = documents.program(command)
            if command in INSTEAD:
                command = INSTEAD[command][1]
            else:
                unknown = f"{block.place}: {command}: a program that no test runs; see PROGRAMS and INSTEAD"
                assert name in PROGRAMS | {""}, unknown
                assert name != "make" or set(arguments) <= TARGETS, unknown
            script.append(command)
        if script:
            self.run(["bash", "-euxo", "pipefail", "-c", "\n".join(script)], block.place)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The shipped seeds and the rows of all CSV blocks, refreshed once by `make demo`."""
    folder = tmp_path_factory.mktemp("checkout")
    programs = Path(sys.executable).parent
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(DBT_PROJECT_DIR / "seeds", folder / "dbt_project/seeds")
    for block in of("csv"):
        # Rows of a shipped seed, or a whole file of a folder of one's own.
        whole = "/" in block.argument
        path = folder / block.argument if whole else folder / "dbt_project/seeds" / block.argument
        path.parent.mkdir(exist_ok=True)
        with path.open("w" if whole else "a", encoding="utf-8") as seed:
            seed.write(block.text + "\n")
    (folder / "path/to/folder").mkdir(parents=True)
    (folder / "shims").mkdir()
    # What is installed and prepared stays as it is, whatever its age.
    make = [f"{shutil.which('make')}", "-f", f"{PROJECT_ROOT}/Makefile", f"VENV={sys.prefix}"]
    make += ["-o", f"{sys.prefix}/.installed", "-o", "dbt_project/target/manifest.json"]
    make += ["-o", ".venv-dashboard/.installed", "DASHBOARD=.venv-dashboard"]
    scripts = {
        "make": f'exec {shlex.join(make)} "$@"',
        "has": 'said=$($1 --help)\nshift\nfor option; do echo "$said" | grep -e "$option"; done',
    }
    for name, script in scripts.items():
        (folder / "shims" / name).write_text(f"#!/bin/sh\nset -e\n{script}\n", "utf-8")
        (folder / "shims" / name).chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in OF_THIS_RUN},
        "PATH": f"{folder / 'shims'}:{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT_ROOT),
        "CHECKOUT": str(PROJECT_ROOT),
        "HOME": str(folder),
        # or every process lets matplotlib look for fonts
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "OREWATCH_HOME": str(folder / "data"),
        "OREWATCH_SEEDS": str(folder / "dbt_project/seeds"),
        "COLUMNS": "120",
    }
    made = Checkout(folder, environment)
    said = made.run(["make", "demo"], "make demo")
    assert "SIMULATED" in said
    assert "Published version 1" in said
    made.done.add("make demo")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("block", of("sh"), ids=lambda block: block.place)
def test_commands(checkout: Checkout, block: Block) -> None:
    checkout.shell(block)


@pytest.mark.slow
@pytest.mark.parametrize("block", of("python"), ids=lambda block: block.place)
def test_python(checkout: Checkout, block: Block) -> None:
    checkout.run([sys.executable, "-c", block.text], block.place)


def test_everything_that_is_not_run_is_shown_somewhere() -> None:
    shown = {command for block in of("sh") for command in documents.commands(block.text)}
    assert set(INSTEAD) <= shown


def test_blocks_without_a_language_hold_no_commands() -> None:
    """Nor do parts of files; the line of a crontab is no person's."""
    assert {b.language for b in EVERY_BLOCK} <= {"sh", "python", "csv", "sql", "jinja", "yaml", ""}
    for block in [*of(""), *of("jinja"), *of("yaml")]:
        assert not [
            line for line in block.text.splitlines() if line.startswith(("$ ", "make ", "orewatch ", ".venv"))
        ], block


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "seed", "key"),
    [
        ("instruments", "instruments", "symbol"),
        ("level_status", "price_levels", "level_id"),
        ("pair_spreads", "pairs", "pair_id"),
        ("move_rule_hits", "move_rules", "rule_id"),
        ("claim_checks", "published_claims", "claim_id"),
        ("signal_statistics", "event_studies", "study_id"),
    ],
)
def test_rows_of_the_guides_are_all_it_takes(checkout: Checkout, table: str, seed: str, key: str) -> None:
    added = [
        row[0] for block in of("csv") if block.argument == f"{seed}.csv" for row in csv.reader(block.text.splitlines())
    ]
    assert added
    found = {row[key] for row in rows(checkout.published_file, f"select distinct {key} from {table}")}  # noqa: S608
    assert set(added) <= found


@pytest.mark.slow
def test_what_the_guides_say_of_their_rows(checkout: Checkout) -> None:
    def value(sql: str) -> object:
        return next(iter(rows(checkout.published_file, sql)[0].values()))

    assert value("select count(*) from daily_bars where symbol = 'HMY'") > 2000  # type: ignore[operator]
    hits = "select string_agg(rule_id, ' ') from move_rule_hits where symbol = 'HL' and measure = 'return_1d'"
    assert value(f"{hits} and session_date = '2026-01-30'") == "hecla_daily_move"
    events = "select count(*) from level_events where level_id = 'silver_80_support' and event = 'close_cross'"
    assert value(f"{events} and session_date = '2026-01-30' and direction = 'down'") == 1
    # Of a folder of its own: explorers are companies, and what is quoted abroad is valued.
    export, refresh, *_ = documents.commands(next(b.text for b in of("sh") if b.document == "docs/guides/universe.md"))
    checkout.run(["bash", "-euc", f"{export}\n{refresh}"], "docs/guides/universe.md")
    own = Settings(home=checkout.folder / "my-data").paths.published_file
    sectors = {row["sector"] for row in rows(own, "select distinct sector from sector_daily")}
    assert sectors == {f"{metal}_{group}" for metal in ("copper", "uranium") for group in ("miners", "producer")} | {
        "uranium_explorer"
    }
    valued = {
        (row["symbol"], row["quote_currency"])
        for row in rows(own, "select distinct symbol, quote_currency from currencies")
    }
    assert valued == {("IVN", "CAD"), ("SFR", "AUD"), ("YCA", "GBp")}
    assert rows(own, "select distinct source from daily_bars") == [{"source": "sample"}]
    verdicts = "select string_agg(distinct verdict) from claim_checks where claim_id like 'desk%'"
    assert value(verdicts) == "confirmed"
    refuted = "select count(*) from claim_checks where claim_id like 'note%' and verdict"
    assert (value(f"{refuted} is not null"), value(f"{refuted} = 'refuted'")) == (11, 1)


@pytest.mark.parametrize("path", DOCUMENTS, ids=documents.name_of)
def test_links(path: Path) -> None:
    for target in documents.links(path):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), f"{documents.name_of(path)}: {target}"
        assert there.is_relative_to(PROJECT_ROOT), f"{documents.name_of(path)}: {target}"
        if anchor:
            assert anchor in documents.anchors(there), f"{documents.name_of(path)}: {target}"
    for name in documents.paths_named(path):
        assert "/target/" in name or list(PROJECT_ROOT.glob(name)), f"{documents.name_of(path)}: {name}"


def test_every_page_is_in_the_index() -> None:
    index = PROJECT_ROOT / "docs/index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in documents.links(index)}
    pages = {path.resolve() for path in DOCUMENTS} - {index.resolve()}
    listed_as_a_folder = {p for p in pages if p.parent.name in ("decisions", "pictures")}
    assert pages - listed_as_a_folder <= linked


def test_pictures_are_small() -> None:
    for path in (PROJECT_ROOT / "docs/pictures").glob("*.png"):
        assert path.stat().st_size < 150_000, path.name


def test_tables_are_those_that_are_published() -> None:
    text = (PROJECT_ROOT / "docs/bi.md").read_text("utf-8").partition("## The tables")[2].partition("\n## ")[0]
    assert sorted(documents.table_column(text)) == sorted(mart_names())


def test_settings_and_their_defaults() -> None:
    text = (PROJECT_ROOT / "docs/configuration.md").read_text("utf-8")
    described = dict.fromkeys(n for n in documents.table_column(text) if n.startswith("OREWATCH_"))
    assert set(described) == {f"OREWATCH_{name.upper()}" for name in Settings.model_fields}
    for name, known in Settings.model_fields.items():
        if isinstance(known.default, (int, float)):
            assert f"| `OREWATCH_{name.upper()}` | `{known.default:g}` |" in text


def test_the_runbook_knows_every_check_of_the_data(tmp_path: Path) -> None:
    runbook = PROJECT_ROOT / "docs/runbook.md"
    known = documents.anchors(runbook)
    tests = {
        node["test_metadata"]["name"]
        for node in read_manifest()["nodes"].values()
        if node["resource_type"] == "test" and node.get("test_metadata")
    }
    assert tests <= set(documents.table_column(runbook.read_text("utf-8")))
    graph = asset_graph(Settings(home=tmp_path))
    described = [graph.get_check_spec(key).description or "" for key in graph.asset_check_keys]
    named = {d.partition("docs/runbook.md#")[2] for d in described if "docs/runbook.md#" in d}
    assert len(named) == 12
    assert named <= known


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.mark.slow
def test_postgresql_as_it_is_described(checkout: Checkout, server: PostgresServer) -> None:
    """Roles and database, publication, and reading, in the order in which a person does it."""
    select, create = of("sql")  # bi.md, configuration.md
    for statement in filter(
        str.strip, create.text.replace("'...'", "'" + PASSWORD.replace("'", "''") + "'").split(";")
    ):
        server.rows(statement)
    settings, (reading,) = of("sh", "postgres"), of("python", "postgres")
    here = (f"PASSWORD@{POSTGRES_HOST}:5432", f"{PASSWORD_IN_URL}@127.0.0.1:{server.port}")
    for block in settings:
        assert here[0] in block.text
        checkout.shell(Block(block.document, block.line, "sh", "", block.text.replace(*here)))
    assert here[0] in reading.text
    checkout.run([sys.executable, "-c", reading.text.replace(*here)], reading.place)
    import adbc_driver_postgresql.dbapi as postgres

    url = f"postgresql://analyst:{PASSWORD_IN_URL}@127.0.0.1:{server.port}/market"
    with postgres.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(select.text.replace("orewatch.", "orewatch_sample."))
        assert cursor.fetchall()[0][0] == "SI=F"


@pytest.mark.slow
def test_the_object_store_as_it_is_described(checkout: Checkout) -> None:
    """Variables, a refresh, and reading, in the order in which a person does it."""
    (setting,), (reading,) = of("sh", "store"), of("python", "store")
    with s3_server() as running:
        endpoint = running.environment["AWS_ENDPOINT_URL"]
        assert "https://store.example.org" in setting.text
        text = setting.text.replace("https://store.example.org", endpoint)
        checkout.shell(Block(setting.document, setting.line, "sh", "", text))
        client = 'endpoint_override="store.example.org"'
        assert client in reading.text
        here = f'endpoint_override="{endpoint.removeprefix("http://")}", scheme="http"'
        said = subprocess.run(
            [sys.executable, "-c", reading.text.replace(client, here)],
            env={**checkout.environment, **running.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert said.returncode == 0, said.stderr
    assert "SI=F" in said.stdout
