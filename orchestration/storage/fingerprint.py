"""What a published version was made from, as one short text.

Equal fingerprints mean: the same bars, the same seeds and sessions, the same models. A refresh that finds the
fingerprint of the published version unchanged has nothing to build.
"""

import hashlib
from pathlib import Path

from orchestration.storage.lake import Lake


def fingerprint(lake: Lake, control_dir: Path, dbt_project_dir: Path) -> str:
    """Fingerprint of everything that the marts depend on.

    The log of fetches counts by each symbol's latest status only: asking again and finding nothing changes nothing.
    """
    digest = hashlib.sha256()
    for name, size in lake.files():
        if not name.startswith("fetches/"):
            digest.update(f"{name}:{size}\n".encode())
    for symbol, status in sorted(lake.latest_statuses().items()):
        digest.update(f"{symbol}={status}\n".encode())
    for path in sorted(control_dir.glob("*.parquet")):
        digest.update(path.name.encode() + path.read_bytes())
    for pattern in ("*.yml", "models/**/*", "macros/**/*", "tests/**/*"):
        for path in sorted(dbt_project_dir.glob(pattern)):
            if path.is_file():
                digest.update(str(path.relative_to(dbt_project_dir)).encode() + path.read_bytes())
    return digest.hexdigest()[:32]
