"""One stand-in for Yahoo for the whole test session: yfinance keeps one connection per process."""

from collections.abc import Iterator

import pytest

from tests.yahoo_loopback import Market, YahooLoopback


@pytest.fixture(scope="session")
def _running_yahoo() -> Iterator[YahooLoopback]:
    with YahooLoopback(Market(None)) as running:
        yield running


@pytest.fixture
def yahoo_server(_running_yahoo: YahooLoopback, monkeypatch: pytest.MonkeyPatch) -> YahooLoopback:
    """The running stand-in, with this process's environment pointing at it while the test runs.

    No longer: it names a proxy, through which a later test's processes would look for each other.
    """
    for name, value in _running_yahoo.environment.items():
        monkeypatch.setenv(name, value)
    return _running_yahoo
