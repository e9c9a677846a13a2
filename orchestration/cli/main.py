"""The command `orewatch`: what people do daily, on top of the same Dagster job that the UI and the schedule run."""

import datetime as dt
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from orchestration.market.errors import OrewatchError
from orchestration.settings import PROJECT_ROOT, load_settings

app = typer.Typer(
    help="Metals and the companies that mine them: refresh the tables, see what was flagged.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Watchlist = Annotated[str, typer.Option(help="Only the instruments of this watchlist of instruments.csv.")]


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn our own errors, and a disk that is full or cannot be written to, into one line and exit code 2."""
    try:
        yield
    except OrewatchError as error:
        _print_error(str(error))
        raise typer.Exit(2) from None
    except Exception as error:
        from orchestration.files import disk_error

        error_text = disk_error(error, load_settings().home)
        if error_text is None:
            raise
        _print_error(error_text)
        raise typer.Exit(2) from None


def _print_error(text: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(text)}", highlight=False)


@app.command()
@readable_errors()
def refresh(
    symbols: Annotated[
        str, typer.Option(help="Only these symbols, comma-separated, instead of all that need something.")
    ] = "",
    start: Annotated[str, typer.Option(help="Ask again from this date on, YYYY-MM-DD.")] = "",
    end: Annotated[str, typer.Option(help="Ask again up to this date; needs --start.")] = "",
    full: Annotated[bool, typer.Option("--full", help="Ask for the whole history of everything.")] = False,
) -> None:
    """Fetch what is missing, build and audit the tables, publish, and say what was flagged."""
    from contextlib import closing

    from orchestration.instance.loading import loading
    from orchestration.market.universe import load_universe
    from orchestration.transform.dbt import DbtRunner

    settings = load_settings()
    # A wrong seed, or a drop folder that is not there, stops here, before anything is started.
    load_universe(settings.seeds, settings.currency)
    if settings.source == "files":
        settings.drop_folder()
    # dbt begins to read the models while this process still loads Dagster.
    with closing(DbtRunner(settings.paths.dbt, settings.dbt_environment(), prepare=True)) as dbt:
        with loading():
            from orchestration.cli.refresh import run_refresh
            from orchestration.ingest.assets import RefreshConfig

        wanted = [s.strip() for s in symbols.split(",") if s.strip()]
        config = RefreshConfig(symbols=wanted, start=start or None, end=end or None, full=full)
        if not run_refresh(settings, config, dbt=dbt):
            raise typer.Exit(1)


@app.command()
@readable_errors()
def status(watchlist: Watchlist = "") -> None:
    """Show what is stored, how fresh it is, how the last requests ended and which version readers see."""
    from orchestration.cli.status import print_status

    print_status(load_settings(), watchlist=watchlist)


@app.command(name="verify-claims")
@readable_errors()
def verify_claims() -> None:
    """Hold what publications claimed against the published tables: confirmed, refuted or not computable."""
    from orchestration.cli.status import print_claims

    settings = load_settings()
    print_claims(settings.paths, settings.as_of)


@app.command()
@readable_errors()
def verify() -> None:
    """Rebuild every published table from the lake and compare, cell by cell; exit code 1 if anything differs."""
    from orchestration.cli.rebuild import ending_cleanly
    from orchestration.cli.rebuild_report import run_verify

    with ending_cleanly():
        equal = run_verify(load_settings())
    if not equal:
        raise typer.Exit(1)


@app.command(name="as-of")
@readable_errors()
def as_of(
    moment: Annotated[str, typer.Argument(help="2026-06-24T20:30, UTC unless it names a zone; or a date, its end.")],
    to: Annotated[str, typer.Option(help="Folder of the tables; below as_of/ in the source's home without it.")] = "",
    event: Annotated[str, typer.Option(help="Show this event of level_events then and now, by its event_id.")] = "",
    symbol: Annotated[str, typer.Option(help="Show a session of this symbol then and now; needs --date.")] = "",
    date: Annotated[str, typer.Option(help="The session, YYYY-MM-DD; needs --symbol.")] = "",
) -> None:
    """Build the tables as they were known at a past moment, to see what a past alert rested on."""
    from pathlib import Path

    from orchestration.cli.as_of import parse_moment
    from orchestration.cli.rebuild import ending_cleanly
    from orchestration.cli.rebuild_report import run_as_of

    if bool(symbol) != bool(date) or (event and symbol):
        raise OrewatchError("--event, --symbol, --date: allowed: an event alone, or a symbol and a date together")
    at, session = parse_moment(moment), _session(date)
    folder = Path(to).expanduser().resolve() if to else None
    with ending_cleanly():
        run_as_of(load_settings(), at, folder, event or None, (symbol, session) if session else None)


@app.command()
@readable_errors()
def brief(
    date: Annotated[str, typer.Option(help="A past session, YYYY-MM-DD; the latest without it.")] = "",
    watchlist: Watchlist = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the brief as Markdown as well.")] = False,
) -> None:
    """Write the market brief of a session, knowing only what was known then, as a page and as Markdown."""
    from rich.console import Console

    from orchestration.cli.status import print_header
    from orchestration.show.brief.pages import write_brief

    session = _session(date)
    settings = load_settings()
    written = write_brief(settings.paths, session, watchlist)
    console = Console()
    print_header(console, settings.paths, settings.as_of)
    if markdown:
        typer.echo(written.brief.markdown)
    console.print(f"{written.brief.title}\nPage:      {written.html}\nMarkdown:  {written.markdown}", soft_wrap=True)


def _session(text: str) -> dt.date | None:
    """A date as people type it; None for none.

    Raises:
        OrewatchError: it is none.
    """
    if not text:
        return None
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise OrewatchError(f"--date={text}: allowed: a date as YYYY-MM-DD") from None


@app.command()
@readable_errors()
def alerts(
    test: Annotated[bool, typer.Option("--test", help="Send a test message to every channel.")] = False,
) -> None:
    """Show the channels of alerts, what is pending for each and what was sent last."""
    from rich.console import Console

    from orchestration.alerts.overview import print_alerts, try_channels
    from orchestration.market.universe import load_universe

    settings, console = load_settings(), Console()
    universe = load_universe(settings.seeds, settings.currency)
    if not test:
        print_alerts(settings.paths, settings.channels, universe, console)
    elif not try_channels(settings.paths, settings.receivers, universe, console):
        raise typer.Exit(1)


@app.command()
@readable_errors()
def dev(
    port: Annotated[int, typer.Option(help="Port of the web UI on 127.0.0.1.", min=1, max=65535)] = 3000,
) -> None:
    """Open the Dagster web UI, with schedules, on 127.0.0.1."""
    import os
    import shutil
    import signal

    from rich.console import Console

    from orchestration.alerts.overview import print_wrong_filters
    from orchestration.instance.instance import opened_instance
    from orchestration.market.universe import load_universe
    from orchestration.transform.manifest import prepared

    require_free_port(port, "orewatch dev --port NUMBER")
    settings = load_settings()
    print_wrong_filters(settings.channels, load_universe(settings.seeds, settings.currency), Console())
    prepared()
    with opened_instance(settings.paths):
        pass  # web server, daemon and code location find the tables made
    # Relative paths were meant from here; the web server and its code location start in the project's folder.
    os.environ.update(settings.given_environment())
    # Where the links of alerts lead, unless the user says that readers reach it elsewhere.
    os.environ.setdefault("OREWATCH_UI_URL", f"http://127.0.0.1:{port}")
    os.chdir(PROJECT_ROOT)
    dg = shutil.which("dg", path=f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', '')}")  # noqa: PTH120
    if dg is None:
        raise OrewatchError("the command `dg` is missing; install the requirements again: make install")
    # A shell starts what is in the background with SIGINT ignored, and `dg` stops by it, whatever signal it gets.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    os.execv(dg, [dg, "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)])  # noqa: S606


def require_free_port(port: int, another: str) -> None:
    """Refuse a port that cannot be listened on, before anything is started.

    `another` is the command with which one chooses another.

    Raises:
        OrewatchError: it is taken or not allowed; one line says how to choose another.
    """
    import errno
    import socket

    with socket.socket() as probe:
        # As the web server does: a port that was in use a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise OrewatchError(f"port {port} on 127.0.0.1 {reason}; choose another: {another}") from None


if __name__ == "__main__":
    app()
