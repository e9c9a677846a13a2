"""A stand-in for Yahoo on the loopback interface, for tests that run the genuine client.

`YahooLoopback(market)` is a context manager; a process that runs with its `environment` reaches it instead of
Yahoo. In the process of the test itself, set that environment before the first request.
"""

from tests.yahoo_loopback.faults import Fault, Faults
from tests.yahoo_loopback.market import Bar, Listing, Market, weekdays
from tests.yahoo_loopback.server import Request, YahooLoopback

__all__ = ["Bar", "Fault", "Faults", "Listing", "Market", "Request", "YahooLoopback", "weekdays"]
