"""Seed files: CSV that people write, read row by row into validated models.

A wrong cell raises `SeedError`, one line with file, row (as a text editor counts), column, value and what is allowed.
What the rows mean is in `universe`.
"""

import codecs
import csv
import datetime as dt
import io
import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from orchestration.market.errors import SeedError

# With the signs that turn the direction of writing, and those that show nothing.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")

# A spreadsheet runs a cell that begins so, and readers open the tables in one.
_FORMULA = ("=", "+", "-", "@")
_FREE_TEXT = frozenset({"name", "note", "publisher", "label"})

# A thousand rows are 100 KB.
MAX_SEED_BYTES = 10_000_000

_IDENTIFIER = r"^[a-z][a-z0-9_]{0,63}$"
_SYMBOL = r"^[A-Za-z0-9^][A-Za-z0-9.^=_&-]{0,23}$"
_CURRENCY = r"^[A-Z]{2}[A-Za-z]$"
_CONTRACT_MONTHS = r"^[FGHJKMNQUVXZ]{1,12}\.[A-Z]{2,4}$"
_PATTERNS = {
    _IDENTIFIER: "1 to 64 small letters, digits and _, a letter first",
    _SYMBOL: "1 to 24 letters, digits and . ^ = _ & -, a letter, digit or ^ first",
    _CURRENCY: "a code of three letters such as USD or GBp",
    _CONTRACT_MONTHS: "letters of delivery months and the ending of the vendor's names, such as HKNUZ.CMX",
}


def blank_is_none(value: object) -> object:
    """None for an empty cell."""
    return None if isinstance(value, str) and value.strip() == "" else value


def _iso_date(value: object) -> object:
    # pydantic also reads Unix seconds and date-times; a spreadsheet writes midnight behind a date.
    if isinstance(value, str):
        value = value.removesuffix(" 00:00:00")
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise PydanticCustomError("date_format", "not a date")
    return value


def _hours_and_minutes(value: object) -> object:
    if not isinstance(value, str):
        return value
    # A spreadsheet writes seconds, and leaves out a zero.
    if not (found := re.fullmatch(r"(\d?\d):(\d\d)(:00)?", value, re.ASCII)):
        raise PydanticCustomError("time_format", "not a time")
    return f"{found[1]:0>2}:{found[2]}"


def _words(value: object) -> object:
    # A spreadsheet's user separates them as the language does.
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(word for word in re.split(r"[\s,;|]+", value) if word))


Identifier = Annotated[str, Field(pattern=_IDENTIFIER)]
Identifiers = Annotated[tuple[Identifier, ...], BeforeValidator(_words)]
Symbol = Annotated[str, Field(pattern=_SYMBOL)]
Currency = Annotated[str, Field(pattern=_CURRENCY)]
OptionalSymbol = Annotated[Symbol | None, BeforeValidator(blank_is_none)]
Date = Annotated[dt.date, BeforeValidator(_iso_date)]
OptionalDate = Annotated[Date | None, BeforeValidator(blank_is_none)]
OptionalFloat = Annotated[float | None, BeforeValidator(blank_is_none)]
OptionalText = Annotated[str | None, BeforeValidator(blank_is_none)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OptionalContractMonths = Annotated[
    Annotated[str, Field(pattern=_CONTRACT_MONTHS)] | None, BeforeValidator(blank_is_none)
]
OptionalTime = Annotated[dt.time | None, BeforeValidator(_hours_and_minutes), BeforeValidator(blank_is_none)]
Name = Annotated[str, Field(min_length=1, max_length=120)]
Note = Annotated[str, Field(max_length=300)]


class SeedRow(BaseModel):
    """A row of any seed file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


RowT = TypeVar("RowT", bound=SeedRow)


def read_rows(path: Path, model: type[RowT], key: str, within: str | None = None) -> list[tuple[int, RowT]]:
    """Rows of a file that people write, with their row numbers; row 1 is the header.

    Args:
        path: of a seed, or of another file of that kind.
        model: what its columns hold; one whose field has a default may be left out.
        key: the column that names a row; each name stands once.
        within: a column within whose values it does.

    Raises:
        SeedError: the file is missing or cannot be read, or a row is wrong.
    """
    columns = list(model.model_fields)
    needed = [name for name, field in model.model_fields.items() if field.is_required()]
    text = _text_of(path, columns)
    skipped, separator = _separator(text, columns)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    rows: list[tuple[int, RowT]] = []
    first_row: dict[str, int] = {}
    try:
        for _ in range(skipped):
            next(reader)
        header = _header(path.name, next(reader), columns, needed)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row = reader.line_num
            record = _record(f"{path.name}, row {row}", cells, header)
            if separator != ",":
                record = {name: _with_point(cell, model, name) for name, cell in record.items()}
            parsed = _parse(f"{path.name}, row {row}", record, model)
            name = str(getattr(parsed, key))
            same_as = f"{getattr(parsed, within)} {name}" if within else ""
            check_once(f"{path.name}, row {row}", key, name, first_row, row, same_as)
            rows.append((row, parsed))
    except csv.Error as error:
        raise SeedError(f"{path.name}, row {reader.line_num}: {error}; allowed: comma-separated values") from None
    return rows


def is_utf16(content: bytes) -> bool:
    """Whether a text is what a spreadsheet calls Unicode."""
    return content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def listed(values: Iterable[object]) -> str:
    """Values in the words of a message."""
    return ", ".join(str(value) for value in values)


def check_once(where: str, column: str, value: str, first_row: dict[str, int], row: int, same_as: str = "") -> None:
    """Refuse a second row with the same value of a column, or the same `same_as`.

    Args:
        where: begins the message.
        column: its name.
        value: in this row.
        first_row: first row by value; this one is added.
        row: number of this row.
        same_as: compared instead of the value.
    """
    first = first_row.setdefault(same_as or value, row)
    if first != row:
        raise SeedError(
            f"{where}, column {column}: '{value}' stands already in row {first}; allowed: each {column} once"
        )


def _text_of(path: Path, columns: list[str]) -> str:
    """The text of a seed.

    Raises:
        SeedError: it cannot be read, is very large, or is empty.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise SeedError(f"{path.name}: not a regular file; allowed: a readable CSV file")
        with path.open("rb") as stream:
            content = stream.read(MAX_SEED_BYTES + 1)
        if len(content) > MAX_SEED_BYTES:
            raise SeedError(f"{path.name}: more than {MAX_SEED_BYTES} bytes; allowed: at most {MAX_SEED_BYTES}")
        text = content.decode("utf-16" if is_utf16(content) else "utf-8-sig")
    except FileNotFoundError:
        raise SeedError(
            f"{path.name}: the file is missing in {path.parent}; allowed: a CSV with the columns {listed(columns)}"
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
        raise SeedError(f"{path.name}: the file is empty; allowed: a header row with {listed(columns)}")
    return text


def _separator(text: str, columns: list[str]) -> tuple[int, str]:
    """How many lines stand before the header, and the separator with which most of its names are found."""
    lines = text.splitlines()
    skipped = next(n for n, line in enumerate(lines) if line.strip())
    skipped += int(lines[skipped].casefold().startswith("sep=") and len(lines) > skipped + 1)

    def found(separator: str) -> int:
        names = (name.strip().strip('"').casefold() for name in lines[skipped].split(separator))
        return len(set(names).intersection(columns))

    return skipped, max(",;\t", key=found)


def _header(file: str, cells: list[str], columns: list[str], needed: list[str]) -> list[str]:
    """The names of the columns, in the order of the file.

    Raises:
        SeedError: one that is needed is missing, or one is unknown or there twice.
    """
    header = [name.strip() for name in cells]
    while header and not header[-1]:  # columns that a spreadsheet has added
        header.pop()
    header = [name.casefold() if name.casefold() in columns else name for name in header]
    for name in needed:
        if name not in header:
            raise SeedError(f"{file}, row 1: column '{name}' is missing; allowed: {listed(columns)}")
    for name in (_CONTROL.sub("?", name) for name in header):
        if name not in columns:
            raise SeedError(f"{file}, row 1: column '{name}' is unknown; allowed: {listed(columns)}")
        if header.count(name) > 1:
            raise SeedError(f"{file}, row 1: column '{name}' stands twice; allowed: each column once")
    return header


def _record(where: str, cells: list[str], header: list[str]) -> dict[str, str]:
    """Cells by column; a spreadsheet leaves out empty ones at the end of a row.

    Raises:
        SeedError: there are too many cells, or one holds what no seed may hold.
    """
    if any(cell.strip() for cell in cells[len(header) :]):
        raise SeedError(
            f"{where}: {len(cells)} cells where the header has {len(header)}; "
            "allowed: one cell per column (quote a text that holds a comma)"
        )
    record = {name: cell.strip() for name, cell in itertools.zip_longest(header, cells[: len(header)], fillvalue="")}
    for name, cell in record.items():
        if _CONTROL.search(cell):
            raise SeedError(
                f"{where}, column {name}: {cell!a} holds a line break or a control character; allowed: text on one line"
            )
        if name in _FREE_TEXT and cell.startswith(_FORMULA):
            raise SeedError(
                f"{where}, column {name}: {cell!a} would be run as a formula by a spreadsheet; "
                f"allowed: a text that does not begin with {' '.join(_FORMULA)}"
            )
    return record


def _with_point(cell: str, model: type[SeedRow], name: str) -> str:
    """A number with a decimal comma, of a file with semicolons or tabs, with a point instead."""
    is_number = "float" in str(model.model_fields[name].annotation)
    return cell.replace(",", ".") if is_number and re.fullmatch(r"-?\d+,\d+( ?%)?", cell) else cell


def _parse(where: str, record: dict[str, str], model: type[RowT]) -> RowT:
    try:
        return model.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # a rule between columns; its text names the column
            column, _, rest = first["msg"].removeprefix("Value error, ").partition(": ")
            raise SeedError(f"{where}, column {column}: {rest}") from None
        column = str(first["loc"][0])
        value = record.get(column, "")
        allowed = _allowed(first)
        if first["type"] == "float_parsing" and re.fullmatch(r"\d[\d,.'\s]*\d", value):
            allowed += " such as 1234.5, with a point before decimals and no sign between thousands"
        if first["type"] == "date_format" and re.fullmatch(r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}", value):
            allowed += " (in a spreadsheet, give the column the format of a text)"
        shown = "".join(c if c.isprintable() else " " for c in value)
        raise SeedError(f"{where}, column {column}: '{shown}' is not allowed; allowed: {allowed}") from None


def _allowed(error: object) -> str:
    """What pydantic would have accepted, in the words of a person who edits a CSV."""
    e: dict = dict(error)  # type: ignore[call-overload]
    kind, context = e["type"], e.get("ctx", {})
    if kind == "literal_error":
        return re.sub(r"'", "", str(context["expected"])).replace(" or ", ", ")
    if kind.startswith("date"):
        return "a date as YYYY-MM-DD"
    if kind.startswith("time"):
        return "a time of day as 13:25"
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
