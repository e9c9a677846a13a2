"""How far a command is, on the screen."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from orchestration.instance.progress import ProgressReporter

# Where there is no terminal to draw a bar on.
SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def shown_on(console: Console) -> Iterator[ProgressReporter]:
    """Something that shows how far it is: a bar on a terminal, a line now and then where there is none."""
    if not console.is_terminal:
        yield _lines_now_and_then(console)
        return
    with Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        # It may hold what a source said: no markup.
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total, line: bar.update(task, description=line, completed=done, total=total or None)


def _lines_now_and_then(console: Console) -> ProgressReporter:
    shown_at = time.monotonic()

    def report(done: int, total: int, line: str) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= SECONDS_BETWEEN_LINES:
            shown_at = time.monotonic()
            console.print(f"[{done}/{total}] {line}" if total else line, markup=False, highlight=False)

    return report
