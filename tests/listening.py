"""Where processes listen, as Linux says in /proc."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# 127.0.0.1, in IPv4 and mapped into IPv6, or ::1.
LOOPBACK = ("0100007F:", "0000000000000000FFFF00000100007F:", "00000000000000000000000001000000:")


def children(pid: int) -> Iterator[int]:
    """A process and all that it has started."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has just ended
            for child in task.read_text().split():
                yield from children(int(child))


def listening(pids: list[int]) -> set[str]:
    """Addresses on which processes listen, as address:port in the notation of /proc/net/tcp."""
    sockets = set()
    for handle in (handle for pid in pids for handle in Path(f"/proc/{pid}/fd").glob("*")):
        with suppress(OSError):
            if found := re.fullmatch(r"socket:\[(\d+)\]", str(handle.readlink())):
                sockets.add(found[1])
    table = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {fields[1] for fields in table if fields[3] == "0A" and fields[9] in sockets}
