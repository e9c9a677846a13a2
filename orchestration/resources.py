"""What assets and checks are given at run time: settings, the source, the lock, a place to report progress.

Everything here is built when a run starts, never when the code location loads. Tests override any of it through
`build_definitions(resources=...)`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from orchestration.market.universe import Universe, load_universe
from orchestration.settings import Settings
from orchestration.sources.base import BarSource

# Told about each symbol: (done, asked for, one line).
ProgressReporter = Callable[[int, int, str], None]

LOCK_PATIENCE_SECONDS = 10.0


def make_source(settings: Settings, universe: Universe) -> BarSource:
    """The source that the settings name."""
    if settings.source == "yahoo":
        from orchestration.sources.yahoo import YahooSource

        return YahooSource(
            pause_seconds=settings.yahoo_pause_seconds,
            timeout_seconds=settings.yahoo_timeout_seconds,
            attempts=settings.yahoo_attempts,
            backoff_seconds=settings.yahoo_backoff_seconds,
            cache_dir=settings.root / "yfinance",
        )
    if settings.source == "files":
        from orchestration.sources.files import FilesSource

        assert settings.files is not None  # noqa: S101  (settings checked it)
        return FilesSource(settings.files)
    from orchestration.sources.sample import SampleSource

    return SampleSource(universe.instruments, settings.as_of)


@dg.resource(description="The source of bars that OREWATCH_SOURCE names.")
def bar_source(context: dg.InitResourceContext) -> BarSource:
    """The source, made when the run starts."""
    settings: Settings = context.resources.settings
    return make_source(settings, load_universe(settings.seeds))


bar_source_resource = dg.ResourceDefinition(
    bar_source.resource_fn, required_resource_keys={"settings"}, description=bar_source.description
)


@contextmanager
def warehouse_lock(settings: Settings, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the right to write lake and warehouse; wait for whoever holds it.

    The operating system releases the lock when its process ends, however it ends, so a killed run never blocks the
    next. See docs/decisions/0004-one-writer.md.
    """
    from filelock import FileLock, Timeout

    settings.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.lock_path)
    waited = 0.0
    while True:
        try:
            lock.acquire(timeout=LOCK_PATIENCE_SECONDS if waited else 0.1)
            break
        except Timeout:
            if not waited:
                say(f"another run holds {settings.lock_path.name}; waiting for it to finish")
            waited += LOCK_PATIENCE_SECONDS
    try:
        yield
    finally:
        lock.release()


def _lock_resource(context: dg.InitResourceContext) -> Iterator[None]:
    log = context.log
    with warehouse_lock(context.resources.settings, log.info if log else print):
        yield


lock_resource = dg.ResourceDefinition(
    _lock_resource,
    required_resource_keys={"settings"},
    description="One run at a time may write lake and warehouse; a second one waits here.",
)


def silent_progress(done: int, total: int, line: str) -> None:
    """Report to nobody; the run's own log still has every line."""


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a child process and put the old ones back."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
