"""What earlier builds have found of the same numbers, so that a full refresh need not find it again.

A move's return period takes a hundredth of a second, a home has thousands of moves, and only the latest are new. Each
is kept under a digest of the returns before it and of itself: if one of them changes, nothing is known any more. The
file may be deleted at any time.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.evidence import return_periods
from orchestration.ingest.parquet import write_parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = tuple[float | None, ...] | None

# Of one series of numbers after the other; the code that looks at them is a part of it.
DIGEST_BYTES = 16
# Of a thousand instruments the first search takes minutes: what it has found is kept if it is killed.
SAVED_EVERY = 60.0
# Above, what nobody asked for is forgotten.
MOST = 1_000_000
_CODE = Path(return_periods.__file__).read_bytes()


class Memory:
    """What is known of numbers, by their key, in a file.

    Args:
        path: of the file; one that is not there, or cannot be read, knows nothing.
        names: of the numbers that are found.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, list(names)
        self._known: dict[bytes, Numbers] = {}
        self._saved = time.monotonic()
        self._asked: dict[bytes, Numbers] = {}
        try:
            table = pq.read_table(path, partitioning=None)
            values = zip(*(table[name].to_pylist() for name in self.names), strict=True)
            found = zip(table["key"].to_pylist(), table["is_found"].to_pylist(), values, strict=True)
            self._known = {key: numbers if is_found else None for key, is_found, numbers in found}
        except (OSError, pa.ArrowInvalid, KeyError):
            self._known = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._asked or key in self._known

    def __getitem__(self, key: bytes) -> "Numbers":
        self._asked.setdefault(key, self._known.get(key))
        return self._asked[key]

    def __setitem__(self, key: bytes, numbers: "Numbers") -> None:
        self._asked[key] = numbers
        if time.monotonic() - self._saved > SAVED_EVERY:
            self.save()

    def save(self) -> None:
        """Keep what is known; of very much only what was asked for.

        Raises:
            OSError: the file cannot be written.
        """
        self._saved = time.monotonic()
        kept = self._known | self._asked
        kept = self._asked if len(kept) > MOST else kept
        if kept.keys() == self._known.keys():
            return
        columns = {
            name: pa.array([numbers and numbers[at] for numbers in kept.values()], pa.float64())
            for at, name in enumerate(self.names)
        }
        is_found = pa.array([numbers is not None for numbers in kept.values()])
        names = pa.array(list(kept), pa.binary(DIGEST_BYTES))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(self.path, pa.table({"key": names, "is_found": is_found, **columns}))


def keys(values: "Floats", places: "Sequence[int]", about: str) -> list[bytes]:
    """A key for each of some places of a series: a digest of all numbers up to it.

    Args:
        values: in their order.
        places: ascending.
        about: what is to be found of them.
    """
    digest, found, read = hashlib.blake2b(_CODE + about.encode(), digest_size=DIGEST_BYTES), [], 0
    for place in places:
        digest.update(np.ascontiguousarray(values[read : place + 1]).tobytes())
        found.append(digest.digest())
        read = place + 1
    return found
