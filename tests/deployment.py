"""What the files of `deploy/` say, as tests read them."""

from typing import Any

import yaml

from orchestration.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"

# Done once before the others, which go on for ever.
RELEASE = "release"


def procfile() -> dict[str, str]:
    """The commands of deploy/Procfile, by process."""
    return dict(line.split(": ", 1) for line in _lines("Procfile"))


def team_environment() -> dict[str, str]:
    """The variables of deploy/team.env."""
    return dict(line.split("=", 1) for line in _lines("team.env"))


def _lines(name: str) -> list[str]:
    lines = (DEPLOY / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def read(name: str) -> dict[str, Any]:
    """A YAML file of deploy/."""
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def services() -> dict[str, dict[str, Any]]:
    """The services of deploy/compose.yaml."""
    return read("compose.yaml")["services"]


def as_in_a_shell(text: str) -> str:
    """A text of deploy/compose.yaml as its container sees it: `$$` is a dollar sign that is not compose's."""
    return text.replace("$$", "$")


def health_check(name: str) -> list[str]:
    """The command with which a service of deploy/compose.yaml is asked how it is."""
    kind, *words = services()[name]["healthcheck"]["test"]
    words = [as_in_a_shell(word) for word in words]
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words
