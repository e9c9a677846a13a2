"""One stand-in for Yahoo for the whole test session: yfinance keeps one connection per process."""

from collections.abc import Iterator

import pytest

from tests.yahoo_loopback import Market, YahooLoopback


@pytest.fixture(scope="session")
def yahoo_server() -> Iterator[YahooLoopback]:
    """The running stand-in, with this process's environment pointing at it."""
    with YahooLoopback(Market(None)) as running, pytest.MonkeyPatch.context() as environment:
        for name, value in running.environment.items():
            environment.setenv(name, value)
        yield running
