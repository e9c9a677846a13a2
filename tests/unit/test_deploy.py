"""`deploy/` is of one piece: what is started without containers, what runs in them, and what both read agree."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
import yaml
from dagster._core.instance.config import dagster_instance_config

from orchestration.instance.instance import INSTANCE_CONFIG
from orchestration.settings import PROJECT_ROOT, Settings
from tests.deployment import DEPLOY, RELEASE, as_in_a_shell, health_check, procfile, read, services, team_environment

PROCESSES = sorted(procfile())
LONG_LIVED = sorted(set(PROCESSES) - {RELEASE})
DATABASE = "postgres"
# What Dagster's own commands read, named for their options.
READ_BY_COMMANDS = {"DAGSTER_GRPC_HOST", "DAGSTER_GRPC_PORT", "DAGSTER_WEBSERVER_HOST", "DAGSTER_WEBSERVER_PORT"}
SECRET = "DAGSTER_POSTGRES_PASSWORD"  # noqa: S105


def makefile() -> str:
    return (PROJECT_ROOT / "Makefile").read_text("utf-8")


def image(variable: str) -> str:
    """A variable that the image sets."""
    (value,) = re.findall(rf"^(?:ENV| +) ?{variable}=(\S+)", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    return value


def environment(service: str) -> dict[str, str | None]:
    """What a service of compose.yaml is given, its files included."""
    described = services()[service]
    files = {"team.env": team_environment()}
    return {**files[described["env_file"]], **described["environment"]}


def variables(config: Any) -> Iterator[str]:
    """The environment variables that a configuration of Dagster names."""
    if isinstance(config, dict):
        if set(config) == {"env"}:
            yield config["env"]
        for value in config.values():
            yield from variables(value)
    elif isinstance(config, list):
        for value in config:
            yield from variables(value)


def seconds(text: str) -> int:
    """A span of time as compose writes it."""
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_container_runs_what_the_procfile_says(name: str) -> None:
    plain = shlex.split(procfile()[name])
    wanted = ["sh", "-c", procfile()[name]] if "&&" in plain else plain
    assert shlex.split(as_in_a_shell(services()[name]["command"])) == wanted


def test_the_same_processes_everywhere() -> None:
    assert set(services()) == {*PROCESSES, DATABASE}
    (team,) = re.findall(r"^TEAM := (.*)$", makefile(), re.MULTILINE)
    assert sorted(team.split()) == LONG_LIVED
    assert set(read("compose.yaml")["volumes"]) == {
        mount.partition(":")[0] for service in services().values() for mount in service["volumes"]
    }


def test_every_variable_is_set_for_who_reads_it() -> None:
    read_by_all = set(variables(read("dagster.yaml")))
    read_from_files = read_by_all | set(variables(read("workspace.yaml")))
    assert read_from_files | READ_BY_COMMANDS == {*team_environment(), SECRET}
    for name in PROCESSES:
        assert read_from_files <= set(environment(name)), name
        assert SECRET in environment(name)
    # And so does make, before anything is started.
    assert ". ./deploy/team.env" in makefile()
    assert f"${{{SECRET}:?" in makefile()


def test_hosts_are_loopback_without_containers_and_services_in_them() -> None:
    here = {variable: value for variable, value in team_environment().items() if variable.endswith("_HOST")}
    assert set(here.values()) == {"127.0.0.1"}
    for name in PROCESSES:
        there = environment(name)
        assert {variable: value for variable, value in there.items() if variable in here} == {
            "DAGSTER_GRPC_HOST": "code-server",
            "DAGSTER_WEBSERVER_HOST": "webserver",
            "DAGSTER_POSTGRES_HOST": DATABASE,
        }
        ports = {variable: value for variable, value in team_environment().items() if variable.endswith("_PORT")}
        assert ports.items() <= there.items()


def test_the_web_ui_alone_is_published_and_to_this_machine_alone() -> None:
    port = team_environment()["DAGSTER_WEBSERVER_PORT"]
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"webserver": [f"127.0.0.1:{port}:{port}"]}
    assert not [name for name, service in services().items() if {"network_mode", "privileged"} & set(service)]


def test_the_database_is_the_one_that_dagster_asks_for() -> None:
    ours, its = team_environment(), services()[DATABASE]
    assert its["environment"]["POSTGRES_USER"] == ours["DAGSTER_POSTGRES_USER"]
    assert its["environment"]["POSTGRES_DB"] == ours["DAGSTER_POSTGRES_DB"]
    assert its["environment"]["POSTGRES_PASSWORD"] == environment("daemon")[SECRET]
    asked = health_check(DATABASE)
    assert asked[asked.index("--username") + 1] == ours["DAGSTER_POSTGRES_USER"]
    assert asked[asked.index("--dbname") + 1] == ours["DAGSTER_POSTGRES_DB"]
    assert ours["DAGSTER_POSTGRES_PORT"] == "5432"  # as the image listens
    # The driver that is installed, whatever SQLAlchemy takes by default.
    (database,) = read("dagster.yaml")["storage"]["postgres"].values()
    assert sqlalchemy.make_url(f"{database['scheme']}://host/database").get_driver_name() == "psycopg2"


def test_no_secret_stands_in_a_file() -> None:
    for name, service in services().items():
        for variable, value in service["environment"].items():
            if re.search("PASSWORD|ALERTS|URL", variable):
                assert value is None or value.startswith(f"${{{SECRET}:?"), (name, variable)
    assert not [name for name in team_environment() if "PASSWORD" in name]
    (database,) = read("dagster.yaml")["storage"]["postgres"].values()
    assert database["password"] == {"env": SECRET}


def test_every_setting_reaches_the_code_server_and_nobody_else() -> None:
    given = {name for name in environment("code-server") if name.startswith("OREWATCH_")}
    settings = {f"OREWATCH_{name.upper()}" for name in Settings.model_fields}
    # Folders of the container: the image names the home, whoever brings files of their own names the others.
    assert given == settings - {"OREWATCH_HOME", "OREWATCH_FILES", "OREWATCH_SEEDS"}
    assert environment("code-server")["OREWATCH_SOURCE"].startswith("${OREWATCH_SOURCE:?")  # type: ignore[union-attr]
    for name in set(services()) - {"code-server"}:
        assert not [variable for variable in services()[name]["environment"] if variable.startswith("OREWATCH_")]


def test_what_is_stored_is_on_a_volume() -> None:
    for name in PROCESSES:
        assert services()[name]["volumes"] == [f"home:{image('OREWATCH_HOME')}"]
    assert image("DAGSTER_HOME").startswith(image("OREWATCH_HOME") + "/")


@pytest.mark.parametrize("name", [*LONG_LIVED, DATABASE])
def test_what_ends_is_started_again_and_what_hangs_is_seen(name: str) -> None:
    assert services()[name]["restart"] == "unless-stopped"
    assert health_check(name)


def test_the_tables_are_there_before_anybody_reads_them() -> None:
    needs = {name: service.get("depends_on", {}) for name, service in services().items()}
    assert needs[RELEASE] == {DATABASE: {"condition": "service_healthy"}}
    assert needs["code-server"] == {RELEASE: {"condition": "service_completed_successfully"}}
    for name in set(LONG_LIVED) - {"code-server"}:
        assert needs[name] == {"code-server": {"condition": "service_healthy"}}
    assert re.search(rf"^team: team-{RELEASE}\b", makefile(), re.MULTILINE)


def test_the_instance_is_the_usual_one_on_postgresql() -> None:
    usual, ours = yaml.safe_load(INSTANCE_CONFIG.read_text("utf-8")), read("dagster.yaml")
    del usual["event_log_storage"]  # of SQLite
    assert {name: {**ours[name], **usual[name]} for name in usual} == {name: ours[name] for name in usual}
    assert set(ours) - set(usual) == {"storage", "run_queue"}
    dagster_instance_config(str(DEPLOY))  # or it raises


def test_the_queue_waits_as_long_as_a_restart_may_take() -> None:
    queue = read("dagster.yaml")["run_queue"]
    waits = queue["max_user_code_failure_retries"] * queue["user_code_failure_retry_delay"]
    assert waits >= seconds(services()["code-server"]["stop_grace_period"])


def test_the_workspace_is_the_usual_location() -> None:
    (usual,) = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text("utf-8"))["load_from"]
    (ours,) = read("workspace.yaml")["load_from"]
    assert ours["grpc_server"]["location_name"] == usual["python_module"]["location_name"]
    assert usual["python_module"]["module_name"] in shlex.split(procfile()["code-server"])
