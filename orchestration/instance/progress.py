"""How long work tells whoever waits how far it is."""

from collections.abc import Callable

# Told about each symbol: (done, asked for, one line).
ProgressReporter = Callable[[int, int, str], None]


def silent_progress(done: int, total: int, line: str) -> None:
    """Report to nobody; the run's own log still has every line."""
