"""The documents as a test sees them: their code blocks, the commands of a block, their headings and links."""

import re
import shlex
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

from orchestration.settings import PROJECT_ROOT

DOCUMENTS = [
    *(PROJECT_ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((PROJECT_ROOT / "docs").rglob("*.md")),
]

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*) *(?P<argument>.*)")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_PATH = re.compile(r"`((?:orchestration|tests|docs|deploy|dbt_project|benchmarks|macros)/[\w./*-]+)`")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: path in the checkout.
        line: of its first line, as an editor counts.
        language: the word after the fence; empty if there is none.
        argument: what follows it.
        text: without the indentation that it has inside a list.
    """

    document: str
    line: int
    language: str
    argument: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.document}:{self.line}"


def name_of(path: Path) -> str:
    """A document's path in the checkout."""
    return path.relative_to(PROJECT_ROOT).as_posix()


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document."""
    found: list[Block] = []
    lines = path.read_text("utf-8").splitlines()
    number = 0
    while number < len(lines):
        opened = _FENCE.fullmatch(lines[number])
        number += 1
        if opened is None:
            continue
        first = number
        while lines[number].strip() != "```":  # a fence without an end is an IndexError
            number += 1
        text = textwrap.dedent("\n".join(lines[first:number]))
        found.append(Block(name_of(path), first + 1, opened["language"], opened["argument"].strip(), text))
        number += 1
    return found


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """The commands of a shell block; what bash takes for unfinished goes on in the next line."""
    found, unfinished = [], ""
    for line in text.splitlines():
        if not unfinished and (not line.strip() or line.lstrip().startswith("#")):
            continue
        unfinished += line
        if line.endswith("\\") or subprocess.run(["bash", "-n", "-c", unfinished], capture_output=True).returncode:
            unfinished += "\n"
            continue
        found.append(unfinished)
        unfinished = ""
    assert not unfinished, f"no end of: {unfinished}"
    return found


def program(command: str) -> tuple[str, list[str]]:
    """Program and arguments of a command, without the variables in front of it; empty if there are only those."""
    words = shlex.split(command, comments=True)
    while words and _ASSIGNMENT.match(words[0]):
        words.pop(0)
    return (words[0], words[1:]) if words else ("", [])


def links(path: Path) -> list[str]:
    """Targets of the links and pictures of a document."""
    return [found["target"] for found in _LINK.finditer(prose(path))]


def paths_named(path: Path) -> list[str]:
    """Paths of the checkout that a document names as code; `macros/` lies in the dbt project."""
    return [re.sub(r"^macros/", "dbt_project/macros/", found) for found in _PATH.findall(prose(path))]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(path), flags=re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def table_column(text: str) -> list[str]:
    """What stands in backquotes in the first column of the Markdown tables of a text."""
    cells = re.findall(r"^\| (`[^|]*)\|", text, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
