"""What a published version was made from, as one short text.

Equal fingerprints mean: the same bars, the same seeds and sessions, the same models. A refresh that finds the
fingerprint of the published version unchanged has nothing to build.

A fingerprint has two parts, `<everything>.<definitions>`: definitions are what says which events there are in given
bars, the models and the seeds that they read. They travel with the fingerprint because they must be those of the
build, not those of the moment at which somebody asks.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.ingest.lake import Lake

# Reference tables that decide what an event is; sessions grow every day, claims are about publications.
DEFINING = ("instruments", "price_levels", "pairs", "move_rules")

# With what the Python models run.
EVIDENCE_CODE = "../orchestration/evidence/*.py"
PROJECT_FILES = ("*.yml", "models/**/*", "macros/**/*", "tests/**/*", EVIDENCE_CODE)


def fingerprint(lake: "Lake", reference: Path, dbt_project_dir: Path) -> str:
    """Fingerprint of everything that the marts depend on.

    The log of fetches counts by each symbol's latest status only: asking again and finding nothing changes nothing.
    """
    digest = hashlib.sha256()
    for name, size in lake.files():
        if not name.startswith("fetches/"):
            digest.update(f"{name}:{size}\n".encode())
    for symbol, status in sorted(lake.latest_statuses().items()):
        digest.update(f"{symbol}={status}\n".encode())
    for path in sorted(reference.glob("*.parquet")):
        digest.update(path.name.encode() + path.read_bytes())
    for path in project_files(dbt_project_dir):
        digest.update(str(path.relative_to(dbt_project_dir)).encode() + path.read_bytes())
    return f"{digest.hexdigest()[:32]}.{_definitions(reference, dbt_project_dir)}"


def project_files(dbt_project_dir: Path) -> Iterator[Path]:
    """The files of the dbt project that decide what a build makes, in an order that stays."""
    for pattern in PROJECT_FILES:
        yield from filter(Path.is_file, sorted(dbt_project_dir.glob(pattern)))


def definitions_of(fingerprint: str) -> str:
    """The part of a fingerprint that changes with the definitions of events only; empty if it has none."""
    return fingerprint.partition(".")[2]


def _definitions(reference: Path, dbt_project_dir: Path) -> str:
    """Of the SQL alone: descriptions and tests of models define nothing."""
    digest = hashlib.sha256()
    paths = [reference / f"{name}.parquet" for name in DEFINING]
    for folder in ("models", "macros"):
        paths += sorted((dbt_project_dir / folder).rglob("*.sql"))
    for path in filter(Path.is_file, paths):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
