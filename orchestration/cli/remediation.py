"""What to do next, for whoever reads that a check of a refresh has failed.

What belongs here: one line each, for the cases a person can do something about at once. The rest is in docs/runbook.md.
"""

from collections.abc import Sequence
from pathlib import Path

from orchestration.home import Home
from orchestration.sources.base import FetchStatus

_YAHOO = {
    FetchStatus.UNREACHABLE: "look at the network (a proxy is taken from HTTPS_PROXY), then refresh again",
    FetchStatus.TIMEOUT: "look at the network (a proxy is taken from HTTPS_PROXY), then refresh again",
    FetchStatus.RATE_LIMITED: "wait an hour, then refresh again; if it comes every day: OREWATCH_YAHOO_CONNECTIONS=2",
    FetchStatus.UNAUTHORISED: "refresh again later; if it stays, remove {folder}",
    FetchStatus.UNKNOWN_SYMBOL: "correct source_symbol in {seeds}/instruments.csv, or delete the row",
    FetchStatus.INCONSISTENT: "the vendor's own error; the next refreshes ask again by themselves",
    FetchStatus.MALFORMED: "refresh again later; if it stays for all symbols, yfinance is too old: update",
}
_ANY = {
    FetchStatus.BROKEN: "this is an error of Orewatch: report it with the log of the run; the other symbols are well"
}
_FILES = {
    FetchStatus.MALFORMED: "mend the file, then refresh again",
    FetchStatus.INCONSISTENT: "correct the dividends of the file or leave out its Adj Close, then refresh again",
}


def after_fetch(home: Home, seeds: Path, files: Path | None, statuses: Sequence[str]) -> list[str]:
    """What to do about symbols that were not delivered: a line for each class of error, in the order given.

    `statuses` are the `FetchStatus` of the failed symbols; none if nothing was there without a fault.
    """
    if not statuses:
        return [f"put one .csv or .parquet per symbol into {files}, named by source_symbol: SIL.csv"]
    known = _ANY | (_FILES if home.source == "files" else _YAHOO)
    folders = {"folder": home.root / "yfinance", "seeds": seeds}
    lines = [known[FetchStatus(s)].format(**folders) for s in dict.fromkeys(statuses) if s in known]
    return list(dict.fromkeys(lines))


def runbook(check: str, described: str) -> str:
    """Where the runbook says what to do about a check.

    `described` is its description: the checks that are not dbt's name their section there.
    """
    anchor = f"docs/runbook.md#{check}"
    return anchor if anchor in described else "docs/runbook.md#failed-checks"
