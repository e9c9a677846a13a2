"""The drop folder: one CSV or Parquet file per source symbol, put there by the user.

Which file answers which request; what is in it, see `price_file.py`. A request is answered only with a file that the
folder's own listing shows, so no source symbol can name anything outside of it.
"""

import functools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from orchestration.market.bars import empty_raw
from orchestration.market.calendar import time_zone
from orchestration.market.errors import SeedError
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.price_basis import PriceBasis
from orchestration.market.seeds import SeedRow, Symbol, read_rows
from orchestration.sources.base import FetchOutcome, FetchStatus, outcome_of
from orchestration.sources.price_file import BASIS_FILE, read_price_file
from orchestration.sources.price_table import MalformedFileError, printable

SUFFIXES = (".csv", ".parquet")
# A century of daily bars is 3 MB. What a file may need in memory, by this and `price_table.MAX_ROWS`: below 1 GB.
MAX_FILE_BYTES = 64 * 1024 * 1024


class FileBasis(SeedRow):
    """The basis of the prices of one file; a row of price_basis.csv in the drop folder."""

    symbol: Symbol
    price_basis: Literal["traded", "split_adjusted", "dividend_adjusted"]


@dataclass(frozen=True)
class DeclaredBases:
    """The content of price_basis.csv."""

    bases: dict[str, PriceBasis]  # by source symbol or symbol, in small letters
    fault: str = ""  # what is wrong with the file; empty if nothing
    words: frozenset[str] = frozenset()  # of a file with a fault, in small letters: a ticker among them cannot be read

    def of(self, tickers: Sequence[str]) -> PriceBasis | None:
        """The declared basis of a file; None if there is none.

        Raises:
            MalformedFileError: price_basis.csv has a fault and names the file.
        """
        names = [ticker.casefold() for ticker in tickers]
        if self.words.intersection(names):
            raise MalformedFileError(self.fault)
        return next((self.bases[name] for name in names if name in self.bases), None)


class FilesSource:
    """Bars from `SI=F.csv`, `SIL.parquet` and so on; names match whatever their case.

    Args:
        folder: the drop folder.
        max_bytes: the largest file that is read.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    @property
    def local(self) -> bool:
        """Files are read again as a whole at every refresh."""
        return True

    def fetch(self, requests: Sequence[FetchRequest]) -> Iterator[FetchOutcome]:
        """One outcome per request, in order.

        A request for the whole history is answered with every row of the file, those in the future included, because
        validation names them; a forced range with its rows, and with those whose date cannot be read.
        """
        try:
            names = self._listing()
        except OSError as error:
            detail = f"{self.folder}: cannot be read ({error.strerror}); allowed: a readable folder"
            for request in requests:
                yield _failure(request, FetchStatus.UNREACHABLE, detail)
            return
        declared = self._declared_bases()
        for request in requests:
            there = names.get(request.source_symbol.casefold(), [])
            yield outcome_of(functools.partial(self._outcome, there, declared), request)

    def _listing(self) -> dict[str, list[str]]:
        """File names by source symbol."""
        names: dict[str, list[str]] = {}
        for path in sorted(self.folder.iterdir()):
            if path.suffix.casefold() in SUFFIXES:
                names.setdefault(path.stem.casefold(), []).append(path.name)
        return names

    def _declared_bases(self) -> DeclaredBases:
        path = next((path for path in self.folder.iterdir() if path.name.casefold() == BASIS_FILE), None)
        if path is None:
            return DeclaredBases({})
        try:
            rows = read_rows(path, FileBasis, key="symbol")
        except SeedError as error:
            # It may be about any symbol that stands in the file, and about no other.
            text = path.read_bytes().decode("utf-8", "replace").replace("\0", "")
            return DeclaredBases({}, str(error), frozenset(re.split(r"[\s,;\"]+", text.casefold())))
        return DeclaredBases({row.symbol.casefold(): PriceBasis(row.price_basis) for _, row in rows})

    def _outcome(self, names: list[str], declared: DeclaredBases, request: FetchRequest) -> FetchOutcome:
        symbol = printable(request.source_symbol)
        if not names:
            return _failure(request, FetchStatus.ABSENT, f"no {symbol}.csv or {symbol}.parquet in {self.folder}")
        if len(names) > 1:
            detail = f"{' and '.join(names)} both hold {symbol}; allowed: one file per source symbol"
            return _failure(request, FetchStatus.MALFORMED, detail)
        try:
            path = self._inside(names[0])
            tickers = (request.source_symbol, request.symbol)
            file = read_price_file(path, tickers, self.max_bytes, _zone(request), declared.of(tickers))
        except MalformedFileError as error:
            return _failure(request, FetchStatus.MALFORMED, str(error))
        except OSError as error:
            detail = f"{names[0]}: cannot be read ({error.strerror}); allowed: a readable file"
            return _failure(request, FetchStatus.MALFORMED, detail)
        except MemoryError:
            return _failure(request, FetchStatus.MALFORMED, f"{names[0]}: needs more memory than there is")
        if file.bars.empty:
            return _failure(request, FetchStatus.EMPTY, f"{names[0]}: no rows below the header")
        bars = file.bars
        if request.start is not None:
            day = bars["session_date"]
            wanted = day.between(pd.Timestamp(request.start), pd.Timestamp(request.end)) | day.isna()
            bars = bars[wanted].reset_index(drop=True)
        notes = [file.note] if file.note else []
        if file.unreadable:
            notes.append(f"{file.unreadable} of {len(file.bars)} rows cannot be read")
        detail = f"{names[0]}: {'; '.join(notes)}" if notes else ""
        return FetchOutcome(request, FetchStatus.OK, bars, file.currency, detail, basis=file.basis)

    def _inside(self, name: str) -> Path:
        """The regular file of that name; a link is followed only where it stays in the folder."""
        path = self.folder / name
        real = Path(os.path.realpath(path, strict=True))
        if not real.is_relative_to(os.path.realpath(self.folder, strict=True)):
            raise MalformedFileError(f"{name}: a link that leaves the drop folder; allowed: a file inside it")
        if not stat.S_ISREG(real.stat().st_mode):
            raise MalformedFileError(f"{name}: not a regular file; allowed: a CSV or Parquet file")
        return path


def _zone(request: FetchRequest) -> str | None:
    return time_zone(request.calendar) if request.calendar else None


def _failure(request: FetchRequest, status: FetchStatus, detail: str) -> FetchOutcome:
    return FetchOutcome(request, status, empty_raw(), detail=detail)
