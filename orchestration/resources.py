"""What assets and checks are given at run time: settings, the source, the lock, a place to report progress.

Everything here is built when a run starts, never when the code location loads. Tests override any of it through
`build_definitions(resources=...)`.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import dagster as dg

from orchestration.files import must_link, must_lock
from orchestration.home import Home
from orchestration.instance.runs import home_tags, process_tags
from orchestration.market.universe import Universe, load_universe
from orchestration.settings import Settings
from orchestration.sources.base import BarSource
from orchestration.transform.build_state import convert_earlier_files
from orchestration.transform.dbt import DbtRunner

LOCK_PATIENCE_SECONDS = 6.0


def make_source(settings: Settings, universe: Universe) -> BarSource:
    """The source that the settings name."""
    if settings.source == "yahoo":
        from orchestration.sources.yahoo import YahooSource

        return YahooSource(
            pause_seconds=settings.yahoo_pause_seconds,
            timeout_seconds=settings.yahoo_timeout_seconds,
            attempts=settings.yahoo_attempts,
            backoff_seconds=settings.yahoo_backoff_seconds,
            cache_dir=settings.paths.root / "yfinance",
            connections=settings.yahoo_connections,
        )
    if settings.source == "files":
        from orchestration.sources.files import FilesSource

        return FilesSource(settings.drop_folder())
    from orchestration.sources.sample import SampleSource

    return SampleSource(universe.instruments, settings.as_of)


def _bar_source(context: dg.InitResourceContext) -> BarSource:
    settings: Settings = context.resources.settings
    return make_source(settings, load_universe(settings.seeds, settings.currency))


bar_source_resource = dg.ResourceDefinition(
    _bar_source,
    required_resource_keys={"settings"},
    description="The source of bars that OREWATCH_SOURCE names, made when a run starts.",
)


@contextmanager
def warehouse_lock(home: Home, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the right to write lake and warehouse; wait for whoever holds it, saying so every few seconds.

    The operating system releases the lock when its process ends, however it ends, so a killed run never blocks the
    next. See docs/decisions/0004-one-writer.md.

    Raises:
        SettingsError: the home lies on a file system without locks or symbolic links.
    """
    from filelock import FileLock, Timeout

    home.root.mkdir(parents=True, exist_ok=True)
    must_lock(home.root)
    must_link(home.root)
    lock = FileLock(home.lock)
    patience = 0.1
    while True:
        try:
            lock.acquire(timeout=patience)
            break
        except Timeout:
            say("another refresh is running; waiting for it to finish")
            patience = LOCK_PATIENCE_SECONDS
    try:
        if converted := convert_earlier_files(home.build_state):
            say(converted)
        yield
    finally:
        lock.release()


def _lock_resource(context: dg.InitResourceContext) -> Iterator[None]:
    def say(text: str) -> None:
        if context.log:
            context.log.info(text)
        context.resources.progress(0, 0, text)

    # The first thing that a run of ours asks for: from now on its death is noticed, also if it waits here.
    if context.instance and context.run:
        context.instance.add_run_tags(
            context.run.run_id, {**home_tags(context.resources.settings.paths), **process_tags(context.run.run_id)}
        )
    with warehouse_lock(context.resources.settings.paths, say):
        yield


lock_resource = dg.ResourceDefinition(
    _lock_resource,
    required_resource_keys={"settings", "progress"},
    description="One run at a time may write lake and warehouse; a second one waits here.",
)


def _dbt(context: dg.InitResourceContext) -> Iterator[DbtRunner]:
    settings: Settings = context.resources.settings
    with closing(DbtRunner(settings.paths.dbt, settings.dbt_environment(), prepare=True)) as dbt:
        yield dbt


dbt_resource = dg.ResourceDefinition(
    _dbt,
    required_resource_keys={"settings"},
    description="dbt, which reads the models while the steps before it run.",
)
