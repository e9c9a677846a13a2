"""What the stand-in can be told to do wrong: for one symbol or all, for ever or for the next few requests."""

import threading
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """A way in which a request can go wrong."""

    RATE_LIMITED = "rate_limited"  # 429, plain text
    NOT_FOUND = "not_found"  # 404, the chart's own error
    NO_DATA_IN_RANGE = "no_data_in_range"  # 400, the chart's own error
    UNAUTHORISED = "unauthorised"  # 401
    SERVER_ERROR = "server_error"  # 500, a page of HTML
    UNAVAILABLE = "unavailable"  # 200 with the maintenance page
    PHANTOM_SHELL = "phantom_shell"  # 200 for a symbol that never traded
    EMPTY_SHELL = "empty_shell"  # 200 for a real symbol without bars
    NULL_RESULT = "null_result"  # 200 with `result: null`
    TRUNCATED = "truncated"  # 200, the JSON stops in the middle, the transfer is complete
    BROKEN_OFF = "broken_off"  # 200, the connection ends before the announced length
    NOT_JSON = "not_json"  # 200, a page of HTML
    CONSENT = "consent"  # 302 to the form that European visitors meet
    HANG = "hang"  # no answer until the client gives up
    RESET = "reset"  # the connection is reset


CHART = ("timezone", "chart")  # the probe for the time zone asks the same address


@dataclass
class _Rule:
    fault: Fault
    symbol: str | None
    endpoints: tuple[str, ...]
    left: int | None


class Faults:
    """The faults in force; safe to change while the server runs."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def set(
        self,
        fault: Fault,
        symbol: str | None = None,
        *,
        times: int | None = None,
        endpoints: tuple[str, ...] = CHART,
    ) -> None:
        """Let requests fail.

        Args:
            fault: how.
            symbol: only this source symbol; None means every one.
            times: only so many requests; None means all. yfinance asks twice per attempt where the status is
                400 or more.
            endpoints: of cookie, consent, crumb, timezone, chart, summary.
        """
        with self._lock:
            self._rules.append(_Rule(fault, symbol, endpoints, times))

    def clear(self) -> None:
        """Be well again."""
        with self._lock:
            self._rules.clear()

    def take(self, endpoint: str, symbol: str | None) -> Fault | None:
        """The fault for this request, if any; the oldest rule that applies is used up first."""
        with self._lock:
            for rule in self._rules:
                if endpoint not in rule.endpoints or rule.symbol not in (None, symbol) or rule.left == 0:
                    continue
                if rule.left is not None:
                    rule.left -= 1
                return rule.fault
        return None
