"""What is watched: instruments, levels, pairs, move rules and claims, read and validated from the seed files.

The seeds are the analyst's control panel. Everything about them is checked here, once, when they are loaded;
code further on may rely on it. A wrong value raises `SeedError` with one line naming file, row (as a text
editor counts them), column, value and what is allowed.
"""

import csv
import datetime as dt
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from orchestration.market.calendar import CALENDAR_NAMES
from orchestration.market.errors import SeedError

SEED_FILES = ("instruments", "price_levels", "pairs", "move_rules", "published_claims")

# Measures that a row of published_claims.csv may name.
CLAIM_MEASURES = (
    "close",
    "return_1d",
    "return_ytd",
    "return_1y",
    "largest_fall_rank",
    "broke_level_up",
    "stayed_above_level",
    "beta_252_above",
    "volatility_spike_in_uptrend",
)


@dataclass(frozen=True)
class MoveMeasure:
    """What a row of move_rules.csv may ask of a measure.

    Attributes:
        sessions: the windows that are computed.
        at_least: smallest threshold that makes sense.
        at_most: largest one.
        unit: what the threshold is.
    """

    sessions: tuple[int, ...]
    at_least: float
    at_most: float
    unit: str


# A z score of 0.04 is a percentage in the wrong row, not a rule.
_RETURN = (1e-6, 1.0, "a fraction")
_SCORE = (1.0, 100.0, "a multiple of the dispersion before the day")
MOVE_MEASURES = {
    "return_1d": MoveMeasure((1,), *_RETURN),
    "opening_gap": MoveMeasure((1,), *_RETURN),
    "cumulative_return": MoveMeasure((2, 3, 5, 10, 21), *_RETURN),
    "z_score": MoveMeasure((21, 63), *_SCORE),
    "z_ewma": MoveMeasure((1,), *_SCORE),
    "robust_z": MoveMeasure((252,), *_SCORE),
    "percentile": MoveMeasure((252,), 0.51, 1.0, "a fraction: p means p or above, 1 - p or below"),
    "volume_ratio": MoveMeasure((20,), 1.0, 100.0, "a multiple of the median volume"),
    "price_correction": MoveMeasure((1,), *_RETURN),
}

# Of these a data check tells, not a market check: it was the vendor who moved the price.
DATA_MEASURES = frozenset({"price_correction"})


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and value.strip() == "" else value


def _iso_date(value: object) -> object:
    # pydantic also reads Unix seconds and date-times; a spreadsheet writes midnight behind a date.
    if isinstance(value, str):
        value = value.removesuffix(" 00:00:00")
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise PydanticCustomError("date_format", "not a date")
    return value


def _known_calendar(value: str) -> str:
    if value not in CALENDAR_NAMES:
        raise ValueError("a calendar of exchange_calendars such as XNYS, CMES or XLON")
    return value


_IDENTIFIER = r"^[a-z][a-z0-9_]{0,63}$"
_SYMBOL = r"^[A-Za-z0-9^][A-Za-z0-9.^=_&-]{0,23}$"
_CURRENCY = r"^[A-Z]{2}[A-Za-z]$"
_PATTERNS = {
    _IDENTIFIER: "1 to 64 small letters, digits and _, a letter first",
    _SYMBOL: "1 to 24 letters, digits and . ^ = _ & -, a letter, digit or ^ first",
    _CURRENCY: "a code of three letters such as USD or GBp",
}
Identifier = Annotated[str, Field(pattern=_IDENTIFIER)]
Symbol = Annotated[str, Field(pattern=_SYMBOL)]
OptionalSymbol = Annotated[Symbol | None, BeforeValidator(_blank_is_none)]
Date = Annotated[dt.date, BeforeValidator(_iso_date)]
OptionalDate = Annotated[Date | None, BeforeValidator(_blank_is_none)]
OptionalFloat = Annotated[float | None, BeforeValidator(_blank_is_none)]
OptionalIdentifier = Annotated[str | None, BeforeValidator(_blank_is_none)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=300)]


class SeedRow(BaseModel):
    """A row of any seed file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# With the signs that turn the direction of writing, and those that show nothing.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")

# A spreadsheet runs a cell that begins so, and readers open the tables in one.
_FORMULA = ("=", "+", "-", "@")
_FREE_TEXT = frozenset({"name", "note", "publisher"})

# A thousand rows are 100 KB.
MAX_SEED_BYTES = 10_000_000

RowT = TypeVar("RowT", bound=SeedRow)


class Instrument(SeedRow):
    """One thing that has a price; a row of instruments.csv."""

    symbol: Symbol
    source_symbol: Symbol
    name: Annotated[str, Field(min_length=1, max_length=120)]
    asset_class: Literal["metal", "etf", "stock", "index"]
    metal: Annotated[Literal["silver", "gold"] | None, BeforeValidator(_blank_is_none)]
    tier: Literal["metal", "senior", "junior", "royalty", "benchmark"]
    calendar: Annotated[str, AfterValidator(_known_calendar)]
    currency: Annotated[str, Field(pattern=_CURRENCY)]
    tick_size: PositiveFloat
    metal_symbol: OptionalSymbol
    sector_symbol: OptionalSymbol
    active_from: OptionalDate


class PriceLevel(SeedRow):
    """A line or a zone of as-traded prices; a row of price_levels.csv."""

    level_id: Identifier
    symbol: Symbol
    lower: PositiveFloat
    upper: PositiveFloat
    kind: Literal["resistance", "support", "psychological", "record"]
    active_from: Date
    note: Text

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.upper < self.lower:
            raise ValueError(f"upper: {self.upper:g} is below lower {self.lower:g}; allowed: upper >= lower")
        return self

    @property
    def is_zone(self) -> bool:
        """Whether the level has two different bounds."""
        return self.upper > self.lower


class Pair(SeedRow):
    """Two instruments whose gap is watched; a row of pairs.csv."""

    pair_id: Identifier
    long_symbol: Symbol
    short_symbol: Symbol
    kind: Literal["junior_senior", "metal_ratio", "miners_to_metal"]
    z_threshold: PositiveFloat


class MoveRule(SeedRow):
    """When a move, or a correction, is large: a score, its window and its threshold; a row of move_rules.csv."""

    rule_id: Identifier
    scope: Literal["all", "asset_class", "tier", "symbol"]
    scope_value: OptionalIdentifier
    measure: Literal[tuple(MOVE_MEASURES)]  # type: ignore[valid-type]
    sessions: Annotated[int, Field(ge=1, le=252)]
    threshold: PositiveFloat
    note: Text

    @model_validator(mode="after")
    def _window_exists(self) -> Self:
        measure = MOVE_MEASURES[self.measure]
        if self.sessions not in measure.sessions:
            raise ValueError(
                f"sessions: {self.sessions} is not computed for {self.measure}; allowed: {_listed(measure.sessions)}"
            )
        if not measure.at_least <= self.threshold <= measure.at_most:
            raise ValueError(
                f"threshold: {self.threshold:g} is not allowed; allowed: {measure.at_least:g} to {measure.at_most:g} "
                f"for {self.measure} ({measure.unit})"
            )
        return self


class Claim(SeedRow):
    """Something a publication said; a row of published_claims.csv."""

    claim_id: Identifier
    published_on: Date
    publisher: Annotated[str, Field(min_length=1, max_length=120)]
    symbol: Symbol
    measure: Literal[CLAIM_MEASURES]  # type: ignore[valid-type]
    argument: OptionalIdentifier
    session_date: Date
    claimed: OptionalFloat
    tolerance: OptionalFloat
    note: Text


@dataclass(frozen=True)
class Universe:
    """All seeds, validated against each other."""

    instruments: tuple[Instrument, ...]
    levels: tuple[PriceLevel, ...]
    pairs: tuple[Pair, ...]
    move_rules: tuple[MoveRule, ...]
    claims: tuple[Claim, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in seed order."""
        return tuple(i.symbol for i in self.instruments)

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol.

        Raises:
            KeyError: the symbol is not in instruments.csv.
        """
        return {i.symbol: i for i in self.instruments}[symbol]


def load_universe(folder: Path) -> Universe:
    """Read and validate the five seed files of `folder`.

    Raises:
        SeedError: the first thing that is wrong, in one line.
    """
    instruments = read_rows(folder / "instruments.csv", Instrument, key="symbol")
    if not instruments:
        raise SeedError("instruments.csv: no rows; allowed: at least one instrument")
    levels = read_rows(folder / "price_levels.csv", PriceLevel, key="level_id")
    pairs = read_rows(folder / "pairs.csv", Pair, key="pair_id")
    rules = read_rows(folder / "move_rules.csv", MoveRule, key="rule_id")
    claims = read_rows(folder / "published_claims.csv", Claim, key="claim_id")
    universe = Universe(
        instruments=tuple(record for _, record in instruments),
        levels=tuple(record for _, record in levels),
        pairs=tuple(record for _, record in pairs),
        move_rules=tuple(record for _, record in rules),
        claims=tuple(record for _, record in claims),
    )
    symbols = set(universe.symbols)
    _check_unique_sources(instruments)
    _check_symbols("instruments.csv", instruments, ("metal_symbol", "sector_symbol"), symbols)
    _check_symbols("price_levels.csv", levels, ("symbol",), symbols)
    _check_symbols("pairs.csv", pairs, ("long_symbol", "short_symbol"), symbols)
    _check_symbols("published_claims.csv", claims, ("symbol",), symbols)
    _check_scopes(rules, universe)
    _check_claim_arguments(claims, universe)
    return universe


def read_rows(path: Path, model: type[RowT], key: str) -> list[tuple[int, RowT]]:
    """Rows of a file that people write, with their row numbers; row 1 is the header.

    Args:
        path: of a seed, or of another file of that kind.
        model: what its columns hold.
        key: the column that names a row; each name stands once.

    Raises:
        SeedError: the file is missing or cannot be read, or a row is wrong.
    """
    columns = list(model.model_fields)
    try:
        text = _text_of(path)
    except FileNotFoundError:
        raise SeedError(
            f"{path.name}: the file is missing in {path.parent}; allowed: a CSV with the columns {_listed(columns)}"
        ) from None
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise SeedError(
            f"{path.name}, row {row}: byte 0x{error.object[error.start]:02x} is not UTF-8; "
            "allowed: a CSV saved as UTF-8 (a spreadsheet calls it CSV UTF-8)"
        ) from None
    except OSError as error:
        raise SeedError(f"{path.name}: cannot be read ({error.strerror}); allowed: a readable CSV file") from None
    if not text.strip():
        raise SeedError(f"{path.name}: the file is empty; allowed: a header row with {_listed(columns)}")
    skipped, separator = _separator(text, columns)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    rows: list[tuple[int, RowT]] = []
    first_seen: dict[str, int] = {}
    try:
        for _ in range(skipped):
            next(reader)
        header = [name.strip() for name in next(reader)]
        while header and not header[-1]:  # columns that a spreadsheet has added
            header.pop()
        header = [name.casefold() if name.casefold() in columns else name for name in header]
        _check_header(path.name, header, columns)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row = reader.line_num
            if any(cell.strip() for cell in cells[len(header) :]):
                raise SeedError(
                    f"{path.name}, row {row}: {len(cells)} cells where the header has {len(header)}; "
                    "allowed: one cell per column (quote a text that holds a comma)"
                )
            # A spreadsheet leaves out empty cells at the end of a row.
            cells = [*cells[: len(header)], *[""] * (len(header) - len(cells))]
            record = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            for name, cell in record.items():
                if _CONTROL.search(cell):
                    raise SeedError(
                        f"{path.name}, row {row}, column {name}: {cell!a} holds a line break or a control "
                        "character; allowed: text on one line"
                    )
                if name in _FREE_TEXT and cell.startswith(_FORMULA):
                    raise SeedError(
                        f"{path.name}, row {row}, column {name}: {cell!a} would be run as a formula by a spreadsheet; "
                        f"allowed: a text that does not begin with {' '.join(_FORMULA)}"
                    )
            if separator != ",":
                record = {name: _with_point(cell, model, name) for name, cell in record.items()}
            parsed = _parse(path.name, row, record, model)
            identity = str(getattr(parsed, key))
            if identity in first_seen:
                raise SeedError(
                    f"{path.name}, row {row}, column {key}: '{identity}' stands already in row "
                    f"{first_seen[identity]}; allowed: each {key} once"
                )
            first_seen[identity] = row
            rows.append((row, parsed))
    except csv.Error as error:
        raise SeedError(f"{path.name}, row {reader.line_num}: {error}; allowed: comma-separated values") from None
    return rows


def _text_of(path: Path) -> str:
    """The text of a seed; what a spreadsheet calls Unicode text is UTF-16."""
    content = _bytes_of(path)
    return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def _separator(text: str, columns: list[str]) -> tuple[int, str]:
    """How many lines stand before the header, and what separates its cells: what most of its names are found with."""
    lines = text.splitlines()
    skipped = next(n for n, line in enumerate(lines) if line.strip())
    skipped += int(lines[skipped].casefold().startswith("sep=") and len(lines) > skipped + 1)

    def found(separator: str) -> int:
        names = (name.strip().strip('"').casefold() for name in lines[skipped].split(separator))
        return len(set(names).intersection(columns))

    return skipped, max(",;\t", key=found)


def _with_point(cell: str, model: type[SeedRow], name: str) -> str:
    """A number of a file with semicolons or tabs, which has them because commas stand before decimals."""
    is_number = "float" in str(model.model_fields[name].annotation)
    return cell.replace(",", ".") if is_number and re.fullmatch(r"-?\d+,\d+", cell) else cell


def _bytes_of(path: Path) -> bytes:
    """The content of a seed.

    Raises:
        SeedError: it is no regular file, or a very large one.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise SeedError(f"{path.name}: not a regular file; allowed: a readable CSV file")
    with path.open("rb") as stream:
        content = stream.read(MAX_SEED_BYTES + 1)
    if len(content) > MAX_SEED_BYTES:
        raise SeedError(f"{path.name}: more than {MAX_SEED_BYTES} bytes; allowed: at most {MAX_SEED_BYTES}")
    return content


def _check_header(file: str, header: list[str], columns: list[str]) -> None:
    for name in columns:
        if name not in header:
            raise SeedError(f"{file}, row 1: column '{name}' is missing; allowed: {_listed(columns)}")
    for name in (_CONTROL.sub("?", name) for name in header):
        if name not in columns:
            raise SeedError(f"{file}, row 1: column '{name}' is unknown; allowed: {_listed(columns)}")
        if header.count(name) > 1:
            raise SeedError(f"{file}, row 1: column '{name}' stands twice; allowed: each column once")


def _parse(file: str, row: int, record: dict[str, str], model: type[RowT]) -> RowT:
    try:
        return model.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # a rule between columns; its text names the column
            column, _, rest = first["msg"].removeprefix("Value error, ").partition(": ")
            raise SeedError(f"{file}, row {row}, column {column}: {rest}") from None
        column = str(first["loc"][0])
        value = record.get(column, "")
        allowed = _allowed(first)
        if first["type"] == "float_parsing" and re.fullmatch(r"\d[\d,.'\s]*\d", value):
            allowed += " such as 1234.5, with a point before decimals and no sign between thousands"
        if first["type"] == "date_format" and re.fullmatch(r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}", value):
            allowed += " (in a spreadsheet, give the column the format of a text)"
        shown = "".join(c if c.isprintable() else " " for c in value)
        raise SeedError(f"{file}, row {row}, column {column}: '{shown}' is not allowed; allowed: {allowed}") from None


def _allowed(error: object) -> str:
    """What pydantic would have accepted, in the words of a person who edits a CSV."""
    e: dict = dict(error)  # type: ignore[call-overload]
    kind, context = e["type"], e.get("ctx", {})
    if kind == "literal_error":
        return re.sub(r"'", "", str(context["expected"])).replace(" or ", ", ")
    if kind.startswith("date"):
        return "a date as YYYY-MM-DD"
    if kind.startswith(("float", "greater", "less", "finite", "int")):
        if kind == "greater_than":
            return f"a number above {context['gt']:g}"
        return {
            "greater_than_equal": "a whole number from 1",
            "less_than_equal": "a whole number up to 252",
            "finite_number": "a finite number",
        }.get(kind, "a whole number" if kind.startswith("int") else "a number")
    if kind == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    if kind == "string_too_short":
        return "a text that is not empty"
    if kind == "string_too_long":
        return f"a text of at most {context['max_length']} characters"
    return str(e["msg"]).removeprefix("Value error, ")


def _check_unique_sources(instruments: list[tuple[int, Instrument]]) -> None:
    seen: dict[str, int] = {}
    for row, instrument in instruments:
        # Two symbols on one source symbol would also collide as files on a case-insensitive disk.
        source_symbol = instrument.source_symbol.upper()
        if source_symbol in seen:
            raise SeedError(
                f"instruments.csv, row {row}, column source_symbol: '{instrument.source_symbol}' stands already in "
                f"row {seen[source_symbol]}; allowed: each source_symbol once"
            )
        seen[source_symbol] = row


def _check_symbols(file: str, rows: Iterable[tuple[int, SeedRow]], columns: Iterable[str], symbols: set[str]) -> None:
    for row, record in rows:
        for column in columns:
            symbol = getattr(record, column)
            if symbol is not None and symbol not in symbols:
                raise SeedError(
                    f"{file}, row {row}, column {column}: '{symbol}' is unknown; allowed: a symbol of instruments.csv"
                )


def _check_scopes(rules: list[tuple[int, MoveRule]], universe: Universe) -> None:
    allowed: dict[str, set[str]] = {
        "asset_class": {i.asset_class for i in universe.instruments},
        "tier": {i.tier for i in universe.instruments},
        "symbol": set(universe.symbols),
    }
    for row, rule in rules:
        where = f"move_rules.csv, row {row}, column scope_value: '{rule.scope_value or ''}'"
        if rule.scope == "all":
            if rule.scope_value is not None:
                raise SeedError(f"{where} is not allowed; allowed: nothing, because scope is 'all'")
        elif rule.scope_value not in allowed[rule.scope]:
            raise SeedError(f"{where} is unknown; allowed: {_listed(sorted(allowed[rule.scope]))}")
        elif rule.measure == "volume_ratio" and (
            rule.scope_value == "metal"
            if rule.scope == "asset_class"
            else rule.scope == "symbol" and universe.instrument(str(rule.scope_value)).asset_class == "metal"
        ):
            raise SeedError(
                f"{where} is not allowed; allowed: anything but the asset class metal for volume_ratio "
                "(the volume of a front-month future says when contracts roll)"
            )


def _check_claim_arguments(claims: list[tuple[int, Claim]], universe: Universe) -> None:
    """Claims about a level or about another instrument must name one that exists."""
    levels = {level.level_id: level for level in universe.levels}
    for row, claim in claims:
        where = f"published_claims.csv, row {row}, column argument: '{claim.argument or ''}'"
        if claim.measure in ("broke_level_up", "stayed_above_level"):
            if claim.argument not in levels:
                raise SeedError(f"{where} is unknown; allowed: a level_id of price_levels.csv")
        elif claim.measure == "beta_252_above":
            if claim.argument not in universe.symbols:
                raise SeedError(f"{where} is unknown; allowed: a symbol of instruments.csv")
        elif claim.argument is not None:
            raise SeedError(f"{where} is not allowed; allowed: nothing for the measure {claim.measure}")
        if claim.measure in ("close", "return_1d", "return_ytd", "return_1y", "largest_fall_rank"):
            _check_claimed_number(row, claim)


def _check_claimed_number(row: int, claim: Claim) -> None:
    for column in ("claimed", "tolerance"):
        value = getattr(claim, column)
        if value is None or not math.isfinite(value) or (column == "tolerance" and value < 0):
            raise SeedError(
                f"published_claims.csv, row {row}, column {column}: '{'' if value is None else value}' "
                f"is not allowed; allowed: a number for the measure {claim.measure}"
            )


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(v) for v in values)
