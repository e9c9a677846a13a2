"""The cells of a price file: numbers and dates as people, programs and spreadsheets write them.

Whether decimals follow a point or a comma, and in which order dates name their parts, is found out of all cells of a
file. Where they leave that open, the file is refused: 3/4/2026 may be two days.
"""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

NUMBERS_ALLOWED = "a number such as 1234.5, or nothing, null, NaN, NA or - where it is unknown"
DATES_ALLOWED = "a date such as 2026-01-30, or a date and time such as 2026-01-30 00:00:00-05:00"

_UNKNOWN = pa.array(["", "null", "none", "nan", "n/a", "na", "n.a.", "#n/a", "-", "--", "\u2013", "\u2014"])
# Bounded digits and exponents: whatever matches is a finite double.
_NUMBER = r"^[+-]?(\d{1,40}(\.\d{0,60})?|\.\d{1,60})([eE][+-]?\d{1,2})?$"
_INFINITE = r"^[+-]?(?i:inf|infinity)$"
_MONEY = r"^[$\x{20ac}\x{a3}] ?|[ \x{a0}\x{202f}]?[$\x{20ac}\x{a3}]$"
_MULTIPLES = {"k": 1e3, "m": 1e6, "b": 1e9}
_MULTIPLE = r"^([+-]?[\d.]{1,40}) ?(?i:k|m|b)$"
# A group of thousands: English, Indian; and with the signs that stand for the comma elsewhere.
_GROUPED = (
    r"^[+-]?(\d{1,3}(,\d{3}){1,12}|\d{1,2}(,\d{2}){1,12},\d{3}|\d{1,3}(['\x{2019} \x{a0}\x{202f}]\d{3}){1,12})"
    r"(\.\d{0,60})?(?i:[kmb]?)$"
)
_GROUPED_ELSEWHERE = r"^[+-]?\d{1,3}([.'\x{2019} \x{a0}\x{202f}]\d{3}){1,12}(,\d{0,60})?(?i:[kmb]?)$"
_GROUPS = r"['\x{2019} \x{a0}\x{202f}]"
_DECIMAL_COMMA = r"^[+-]?\d{1,40},\d{0,60}([eE][+-]?\d{1,2})?(?i:[kmb]?)$"
# Cells that can be read in one way only decide about the others.
_SAYS_POINT = r"\d,\d{3}\.|\d,\d{3},|^[+-]?\d*\.(\d{1,2}|\d{4,60})([eE].*)?$"
_SAYS_COMMA = r"\d[.'\x{2019} \x{a0}\x{202f}]\d{3},|\d\.\d{3}\.|^[+-]?\d*,(\d{0,2}|\d{4,60})([eE].*)?(?i:[kmb]?)$"
_SAYS_NOTHING = r"^[+-]?\d{1,3},\d{3}$"

_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
_TIME = rf"(?:[ T]{_CLOCK}(?: ?[AaPp][Mm])?)?"
_ZONE = r" ?(?:Z|UTC|GMT|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)"
_ISO = rf"^\d{{4}}-\d\d-\d\d(?:[ T]{_CLOCK}(?:{_ZONE})?)?$"
_MIDNIGHT = rf"[ T]00:00(?::00(?:\.0{{1,9}})?)?{_ZONE}$"
_STAMP = rf"[ T]{_CLOCK}{_ZONE}$"
_SLASHES = r"^(?P<a>\d{1,2})[/-](?P<b>\d{1,2})[/-](?P<year>\d{4})" + _TIME + "$"
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905
_NAMED = r"(?P<month>(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))[a-z]{0,6}"
# Besides ISO: the order of the parts is in the writing.
_WRITTEN = (
    r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + _TIME + "$",
    r"^(?P<year>(?:19|20)\d\d)(?P<month>\d\d)(?P<day>\d\d)$",
    r"^(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})" + _TIME + "$",
    rf"^{_NAMED}\.? (?P<day>\d{{1,2}}),? (?P<year>\d{{4}})$",
    rf"^(?P<day>\d{{1,2}})[ -]{_NAMED}\.?[ -](?P<year>\d{{4}}|\d{{2}})$",
)


class AmbiguousError(Exception):
    """Cells that may be read in two ways.

    Args:
        place: of a cell that shows it.
        cell: its text.
        problem: for the message.
        remedy: for the message.
        label: of its column.
    """

    def __init__(self, place: int, cell: str, problem: str, remedy: str, label: str = "") -> None:
        super().__init__(f"'{cell}' {problem}; allowed: {remedy}")
        self.place, self.cell, self.problem, self.remedy, self.label = place, cell, problem, remedy, label


def decimal_sign(columns: Mapping[str, tuple[bool, pa.ChunkedArray]]) -> str:
    """Whether decimals follow a point or a comma in the numbers of a file.

    Args:
        columns: by label, text or other columns, each with whether whole numbers are usual in it, as in a volume.

    Raises:
        AmbiguousError: `2,345` may be thousands or decimals, and no other cell decides.
    """
    texts = [
        (label, is_whole, pc.replace_substring_regex(_trimmed(column), _MONEY, ""))
        for label, (is_whole, column) in columns.items()
        if pa.types.is_string(column.type)
    ]
    if not any(_count(text, r",|\.\d+\.") for _, _, text in texts):
        return "."
    points = sum(_count(text, _SAYS_POINT) for _, _, text in texts)
    commas = sum(_count(text, _SAYS_COMMA) for _, _, text in texts)
    unclear: AmbiguousError | None = None
    for label, is_whole, text in texts:
        place = -1 if is_whole else pc.index(pc.match_substring_regex(text, _SAYS_NOTHING), True).as_py()
        if unclear is None and place >= 0:
            cell = text[place].as_py()
            meanings = f"may be {cell.replace(',', '')} or {cell.replace(',', '.')}"
            remedy = "a point before decimals, and no sign between thousands"
            unclear = AmbiguousError(place, cell, meanings, remedy, label)
    if unclear is not None and not points and not commas:
        raise unclear
    return "," if commas > points else "."


def numbers(column: pa.ChunkedArray, decimal: str = ".", multiples: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Values as float64 with NaN for unknown, and which cells are not numbers.

    Args:
        column: texts or numbers.
        decimal: the sign before decimals in the texts.
        multiples: whether `2.49M` is a number.

    Raises:
        TypeError: the column holds something else.
    """
    kind = column.type
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numpy(column.cast(pa.float64(), safe=False)), np.zeros(len(column), dtype=bool)
    if not pa.types.is_string(kind):
        raise TypeError
    text = _trimmed(column)
    # With decimal commas a point may separate thousands: whole numbers alone are read at once.
    good = pc.match_substring_regex(text, _NUMBER if decimal == "." else r"^[+-]?\d{1,40}$")
    unknown = pc.is_in(pc.utf8_lower(text), value_set=_UNKNOWN)
    values = _numpy(pc.if_else(good, text, pa.scalar(None, pa.string())).cast(pa.float64()))
    bad = ~_numpy(pc.or_(good, unknown)).astype(bool)
    if not bad.any():
        return values, bad
    places = np.flatnonzero(bad)
    values = values.copy()
    values[places], bad[places] = _unusual_numbers(text.take(pa.array(places)), decimal, multiples)
    return values, bad


def _unusual_numbers(text: pa.ChunkedArray, decimal: str, multiples: bool) -> tuple[np.ndarray, np.ndarray]:
    """Numbers with signs between thousands, of money, infinite, in multiples, or with a decimal comma."""
    infinite = _numpy(pc.match_substring_regex(text, _INFINITE)).astype(bool)
    negative = _numpy(pc.starts_with(text, "-")).astype(bool)
    plain = pc.replace_substring_regex(text, _MONEY, "")
    if decimal == ".":
        grouped = pc.match_substring_regex(plain, _GROUPED)
        plain = pc.if_else(grouped, pc.replace_substring_regex(plain, f",|{_GROUPS}", ""), plain)
    else:
        grouped = pc.match_substring_regex(plain, _GROUPED_ELSEWHERE)
        plain = pc.if_else(grouped, pc.replace_substring_regex(plain, rf"\.|{_GROUPS}", ""), plain)
        with_comma = pc.match_substring_regex(plain, _DECIMAL_COMMA)
        has_point = pc.match_substring(plain, ".")
        plain = pc.if_else(with_comma, pc.replace_substring(plain, ",", "."), plain)
        # A point that is no sign between thousands has no meaning here.
        plain = pc.if_else(pc.and_not(has_point, grouped), pa.scalar("?"), plain)
    factor = np.ones(len(text))
    if multiples:
        ends = pc.utf8_lower(pc.utf8_slice_codeunits(plain, -1))
        many = pc.match_substring_regex(plain, _MULTIPLE)
        pairs = zip(ends.to_pylist(), many.to_pylist(), strict=True)
        factor = np.array([_MULTIPLES[end] if is_one else 1.0 for end, is_one in pairs])
        shorter = pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(plain, 0, -1))
        plain = pc.if_else(many, shorter, plain)
    good = pc.match_substring_regex(plain, _NUMBER)
    values = _numpy(pc.if_else(good, plain, pa.scalar(None, pa.string())).cast(pa.float64())) * factor
    values = np.where(infinite, np.where(negative, -np.inf, np.inf), values)
    return values, ~(_numpy(good).astype(bool) | infinite)


def dates(
    column: pa.ChunkedArray, zone: str | None = None, month_first: bool | None = None
) -> tuple[pd.Series, np.ndarray]:
    """The days that cells name (datetime64[s], NaT for unreadable), and which cells are not dates.

    A stamp with an offset is a moment, and its day is the exchange's date at that moment; unless it is midnight where
    the stamp was written and not at the exchange: then somebody wrote a bare date so, and that date counts. Without an
    offset the written date counts.

    Args:
        column: texts, dates or moments.
        zone: time zone of the exchange; None: the written date counts.
        month_first: how dates with slashes begin, where no cell shows it.

    Raises:
        AmbiguousError: `3/4/2026` may be two days, and no other cell decides.
        TypeError: the column holds something else.
    """
    kind = column.type
    if pa.types.is_string(kind):
        days = _written_dates(_trimmed(column), zone, month_first)
    elif pa.types.is_date(kind):
        days = column.cast(pa.timestamp("s")).to_pandas()
    elif pa.types.is_timestamp(kind):
        days = column.to_pandas()
        if kind.tz is not None:
            days = _days_of_moments(days.dt.tz_convert("UTC"), days.dt.tz_localize(None), zone)
    else:
        raise TypeError
    days = days.astype("datetime64[s]").dt.normalize()
    days = days.where((days >= pd.Timestamp("0001-01-01")) & (days <= pd.Timestamp("9999-12-31")))
    return days, days.isna().to_numpy()


def _written_dates(text: pa.ChunkedArray, zone: str | None, month_first: bool | None) -> pd.Series:
    """Texts as dates; all that are written with slashes in the same order."""
    iso = pc.match_substring_regex(text, _ISO)
    written = pc.if_else(iso, pc.utf8_slice_codeunits(text, 0, 10), pa.scalar(None, pa.string()))
    days = pd.to_datetime(written.to_pandas(), format="%Y-%m-%d", errors="coerce")
    if not pc.all(iso).as_py():
        for pattern in _WRITTEN:
            if _count(text, pattern):
                parts = _parts(text, pattern)
                days = days.fillna(_days_of(parts["year"], parts["month"], parts["day"]))
        if _count(text, _SLASHES):
            days = days.fillna(_with_slashes(text, month_first))
    stamped = _numpy(pc.and_(iso, pc.match_substring_regex(text, _STAMP))).astype(bool)
    places = np.flatnonzero(stamped & days.notna().to_numpy())
    if zone is None or not len(places):
        return days
    stamps = text.take(pa.array(places))
    in_iso = pc.replace_substring_regex(
        pc.replace_substring_regex(stamps, r" ?(?:UTC|GMT)$", "Z"), r" ([+-]\d+)", r"\1"
    )
    moments = pd.to_datetime(in_iso.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    clock = pd.to_timedelta(np.where(_numpy(pc.match_substring_regex(stamps, _MIDNIGHT)), 0, 1), unit="h")
    here = _days_of_moments(moments, days.iloc[places].reset_index(drop=True) + clock, zone)
    days = days.copy()
    days.iloc[places] = here.to_numpy()
    return days


def _days_of_moments(moments: pd.Series, written: pd.Series, zone: str | None) -> pd.Series:
    """The exchange's own dates of moments.

    Args:
        moments: in UTC.
        written: the same on the clock that wrote them.
        zone: time zone of the exchange.
    """
    if zone is None:
        return written
    there = moments.dt.tz_convert(zone).dt.tz_localize(None)
    bare_date = (written == written.dt.normalize()) & (there != there.dt.normalize())
    return there.dt.normalize().where(~bare_date, written)


def _with_slashes(text: pa.ChunkedArray, month_first: bool | None) -> pd.Series:
    parts = _parts(text, _SLASHES)
    first, second = (pd.to_numeric(parts[name]) for name in ("a", "b"))
    day_leads, month_leads = (first > 12).to_numpy(), (second > 12).to_numpy()
    remedy = "dates such as 2026-01-30"
    if day_leads.any() and month_leads.any():
        place = int(np.flatnonzero(month_leads)[0])
        other = text[int(np.flatnonzero(day_leads)[0])].as_py()
        raise AmbiguousError(place, text[place].as_py(), f"has the month first, '{other}' the day", remedy)
    if day_leads.any() or month_leads.any():
        month_first = bool(month_leads.any())
    if month_first is None:
        place = int(np.flatnonzero(first.notna())[0])
        problem = "may have the day or the month first, and no other row tells"
        raise AmbiguousError(place, text[place].as_py(), problem, remedy)
    return _days_of(parts["year"], *((first, second) if month_first else (second, first)))


def _parts(text: pa.ChunkedArray, pattern: str) -> pd.DataFrame:
    found = pc.extract_regex(text, pattern)
    return pd.DataFrame({name: pc.struct_field(found, name).to_pandas() for name in re.compile(pattern).groupindex})


def _days_of(years: pd.Series, months: pd.Series, days: pd.Series) -> pd.Series:
    names = {name: number for number, name in enumerate(_MONTHS, 1)}
    numbers = pd.to_numeric(months.astype(object).map(lambda m: names.get(m.lower(), m) if isinstance(m, str) else m))
    # Spreadsheets leave the century out: it is this one, up to 2069.
    full = pd.to_numeric(years)
    full = full.where(full >= 100, full + np.where(full < 70, 2000, 1900))
    return pd.to_datetime(pd.DataFrame({"year": full, "month": numbers, "day": pd.to_numeric(days)}), errors="coerce")


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(pc.fill_null(column, ""))


def _count(text: pa.ChunkedArray, pattern: str) -> int:
    return pc.sum(pc.match_substring_regex(text, pattern)).as_py() or 0


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
