"""The five files that said before `build_state.json` what it says; read once, when a home of that time is first used.

To be removed one release after 0.1.
"""

import json
from pathlib import Path
from typing import Any

NAMES = ("build.json", "audit.json", "premises.json", "changes.json", "withheld.json")


def earlier_files(folder: Path) -> list[Path]:
    """Those that are there."""
    return [path for name in NAMES if (path := folder / name).is_file()]


def read_earlier_files(folder: Path) -> dict[str, Any]:
    """What they say, by field of `BuildState`, as its JSON has it; nothing is checked but that it is JSON."""
    built, audited, inputs, changed, blocked = (_read(folder / name) for name in NAMES)
    found = {
        "built": built,
        "audited": audited.get("fingerprint"),
        "inputs": inputs,
        "changed": changed,
        "blocked": {"reason": blocked.get("reason"), "since": blocked.get("at")},
    }
    return {name: part for name, part in found.items() if part}


def _read(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
