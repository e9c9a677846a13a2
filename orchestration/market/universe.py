"""What is watched: instruments, levels, pairs, move rules and claims, and what they may be called.

The seeds are the analyst's control panel. They are checked against each other here, when they are loaded; code further
on may rely on it. How a file is read is in `seeds`.
"""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_serializer, model_validator

from orchestration.market import seeds
from orchestration.market.calendar import CALENDAR_NAMES
from orchestration.market.currency import DOLLAR, DollarPrice, dollar_prices, rate_of, rates_needed
from orchestration.market.errors import SeedError

SEED_FILES = (
    "groups",
    "instruments",
    "price_levels",
    "pairs",
    "move_rules",
    "event_studies",
    "published_claims",
)

# Used where a folder of seeds has none.
SHIPPED_GROUPS = Path(__file__).resolve().parents[2] / "dbt_project" / "seeds" / "groups.csv"

# Names of groups that mean something here. All others are the analyst's.
FUTURE, FX = "metal", "fx"
METAL_ITSELF, BENCHMARK = "metal", "benchmark"

# Exchange rates trade from Monday to Friday, around the clock.
FX_CALENDAR = "24/5"

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
    "return_period",
    "share_up_after",
)
# Horizons of studies, in sessions; those of `orchestration.evidence.outcomes`.
STUDY_SESSIONS = (5, 21, 63)


@dataclass(frozen=True)
class MoveMeasure:
    """What a row of move_rules.csv may set: windows that are computed, and thresholds that make sense."""

    sessions: Sequence[int]
    at_least: float
    at_most: float
    unit: str


# A z score of 0.04 is a percentage in the wrong row, not a rule.
_FRACTION = "a fraction"
_RETURN = (1e-6, 1.0, _FRACTION)
_SCORE = (1.0, 100.0, "a multiple of the dispersion before the day")
MOVE_MEASURES = {
    "return_1d": MoveMeasure((1,), *_RETURN),
    "opening_gap": MoveMeasure((1,), *_RETURN),
    "cumulative_return": MoveMeasure(range(1, 253), *_RETURN),
    "drawdown": MoveMeasure((1,), *_RETURN),
    "distance_from_52w_high": MoveMeasure((1,), *_RETURN),
    "point_change": MoveMeasure((1,), 1e-6, 1e6, "points"),
    "z_score": MoveMeasure((21, 63), *_SCORE),
    "z_ewma": MoveMeasure((1,), *_SCORE),
    "robust_z": MoveMeasure((252,), *_SCORE),
    "percentile": MoveMeasure((252,), 0.51, 1.0, "a fraction: p means p or above, 1 - p or below"),
    "volume_ratio": MoveMeasure((20,), 1.0, 100.0, "a multiple of the median volume"),
    "price_correction": MoveMeasure((1,), *_RETURN),
}

# Events of which a row of event_studies.csv may ask what followed; of returns of one session it says how large.
RETURN = "return_1d"
STUDIED = (
    RETURN,
    "large_move",
    "level_cross",
    "level_confirmed",
    "level_retest",
    "role_flip",
    "zone",
    "round_number",
    "extreme",
    "volatility_spike",
    "verdict",
)

# How a vendor writes the front-month series of a future.
FRONT = "=F"

# Averages of `trend` on which a level may be watched.
AVERAGES = ("sma_50", "sma_200")

# Reported by a data check, not by a market check: it was the vendor who moved the price.
DATA_MEASURES = frozenset({"price_correction"})


def _known_calendar(value: str) -> str:
    if value not in CALENDAR_NAMES:
        raise ValueError("a calendar of exchange_calendars such as XNYS, CMES or XLON")
    return value


class Group(seeds.SeedRow):
    """A name that rows of other files may use; a row of groups.csv."""

    kind: Literal["asset_class", "metal", "tier", "pair_kind"]
    name: seeds.Identifier
    label: Annotated[str, Field(min_length=1, max_length=60)]
    order: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _no_sector_of_all(self) -> Self:
        if self.kind == "tier" and self.name == "miners":
            raise ValueError("name: 'miners' is not allowed; allowed: another name for a tier (it means all tiers)")
        return self


class Instrument(seeds.SeedRow):
    """One thing that has a price; a row of instruments.csv."""

    symbol: seeds.Symbol
    source_symbol: seeds.Symbol
    name: seeds.Name
    asset_class: str
    metal: seeds.OptionalText
    tier: str
    calendar: Annotated[str, AfterValidator(_known_calendar)]
    currency: seeds.Currency
    tick_size: seeds.PositiveFloat
    metal_symbol: seeds.OptionalSymbol
    sector_symbol: seeds.OptionalSymbol
    active_from: seeds.OptionalDate
    settlement_time: seeds.OptionalTime = None
    watchlists: seeds.Identifiers = ()
    contract_months: seeds.OptionalContractMonths = None

    @field_serializer("watchlists")
    def _in_one_cell(self, names: tuple[str, ...]) -> str:
        return " ".join(names)

    @property
    def clock(self) -> str:
        """What says when its closing prices are made: its exchange, or a settlement before the exchange closes."""
        return f"{self.calendar} {self.settlement_time:%H:%M}" if self.settlement_time else self.calendar


class PriceLevel(seeds.SeedRow):
    """A line or a zone; a row of price_levels.csv.

    It is held against the instrument's price as traded, or against a series: one of `AVERAGES`, of which the close is a
    multiple, or a pair of pairs.csv, whose price ratio it is then.
    """

    level_id: seeds.Identifier
    symbol: seeds.Symbol
    lower: seeds.PositiveFloat
    upper: seeds.PositiveFloat
    kind: Literal["resistance", "support", "psychological", "record"]
    active_from: seeds.Date
    note: seeds.Note
    series: seeds.OptionalText = None
    known_since: seeds.OptionalDate = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.upper < self.lower:
            raise ValueError(f"upper: {self.upper:g} is below lower {self.lower:g}; allowed: upper >= lower")
        return self

    @property
    def is_zone(self) -> bool:
        """Whether the level has two different bounds."""
        return self.upper > self.lower


class Pair(seeds.SeedRow):
    """Two instruments whose gap is watched; a row of pairs.csv."""

    pair_id: seeds.Identifier
    long_symbol: seeds.Symbol
    short_symbol: seeds.Symbol
    kind: str
    z_threshold: seeds.PositiveFloat


class MoveRule(seeds.SeedRow):
    """When a move or a correction is large: a measure, its window, its threshold; a row of move_rules.csv."""

    rule_id: seeds.Identifier
    scope: Literal["all", "asset_class", "tier", "symbol"]
    scope_value: seeds.OptionalText
    measure: Literal[tuple(MOVE_MEASURES)]  # type: ignore[valid-type]
    sessions: Annotated[int, Field(ge=1, le=252)]
    threshold: seeds.PositiveFloat
    note: seeds.Note

    @model_validator(mode="before")
    @classmethod
    def _percent(cls, row: dict[str, Any]) -> dict[str, Any]:
        measure = MOVE_MEASURES.get(row.get("measure", ""))
        if measure and "%" in str(row.get("threshold")) and not measure.unit.startswith(_FRACTION):
            raise ValueError(f"threshold: {row['threshold']} is not allowed; allowed: {measure.unit}, without %")
        return _with_fraction(row)

    @model_validator(mode="after")
    def _window_exists(self) -> Self:
        measure = MOVE_MEASURES[self.measure]
        if self.sessions not in measure.sessions:
            windows = measure.sessions
            allowed = seeds.listed(windows) if len(windows) < 10 else f"{windows[0]} to {windows[-1]}"
            raise ValueError(f"sessions: {self.sessions} is not computed for {self.measure}; allowed: {allowed}")
        if not measure.at_least <= self.threshold <= measure.at_most:
            raise ValueError(
                f"threshold: {self.threshold:g} is not allowed; allowed: {measure.at_least:g} to {measure.at_most:g} "
                f"for {self.measure} ({measure.unit})"
            )
        return self


class EventStudy(seeds.SeedRow):
    """What is studied beside signals: events of one kind and direction; a row of event_studies.csv."""

    study_id: seeds.Identifier
    scope: Literal["symbol", "tier", "all"]
    scope_value: seeds.OptionalText
    signal: Literal[STUDIED]  # type: ignore[valid-type]
    direction: Literal["up", "down"]
    threshold: Annotated[Annotated[float, Field(gt=0, le=1)] | None, BeforeValidator(seeds.blank_is_none)]
    note: seeds.Note

    @model_validator(mode="before")
    @classmethod
    def _percent(cls, row: dict[str, Any]) -> dict[str, Any]:
        return _with_fraction(row)

    @model_validator(mode="after")
    def _threshold_of_returns(self) -> Self:
        if (self.threshold is None) == (self.signal == RETURN):
            allowed = "a fraction above 0, or 5%" if self.signal == RETURN else f"nothing, unless signal is {RETURN}"
            value = "" if self.threshold is None else f"{self.threshold:g}"
            raise ValueError(f"threshold: '{value}' is not allowed; allowed: {allowed}")
        if self.study_id in STUDIED:
            raise ValueError(f"study_id: '{self.study_id}' is not allowed; allowed: another name than that of a signal")
        return self


class Claim(seeds.SeedRow):
    """A statement of a publication; a row of published_claims.csv."""

    claim_id: seeds.Identifier
    published_on: seeds.Date
    publisher: seeds.Name
    symbol: seeds.Symbol
    measure: Literal[CLAIM_MEASURES]  # type: ignore[valid-type]
    argument: seeds.OptionalText
    session_date: seeds.Date
    claimed: seeds.OptionalFloat
    tolerance: seeds.OptionalFloat
    note: seeds.Note


@dataclass(frozen=True)
class Universe:
    """All seeds, validated against each other."""

    groups: tuple[Group, ...]
    instruments: tuple[Instrument, ...]
    levels: tuple[PriceLevel, ...]
    pairs: tuple[Pair, ...]
    move_rules: tuple[MoveRule, ...]
    event_studies: tuple[EventStudy, ...]
    claims: tuple[Claim, ...]
    base_currency: str = DOLLAR
    dollar_prices: tuple[DollarPrice, ...] = ()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in seed order."""
        return tuple(i.symbol for i in self.instruments)

    @property
    def watchlists(self) -> dict[str, tuple[str, ...]]:
        """The symbols of each watchlist, in seed order."""
        names = dict.fromkeys(name for instrument in self.instruments for name in instrument.watchlists)
        return {name: tuple(i.symbol for i in self.instruments if name in i.watchlists) for name in names}

    def names_of(self, kind: str) -> tuple[str, ...]:
        """The declared names of a kind of group, in their order."""
        return tuple(g.name for g in sorted(self.groups, key=lambda g: g.order) if g.kind == kind)

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol.

        Raises:
            KeyError: the symbol is not in instruments.csv.
        """
        return {i.symbol: i for i in self.instruments}[symbol]


def load_universe(folder: Path, base_currency: str = DOLLAR) -> Universe:
    """Read and validate the seed files of `folder`.

    Without a `groups.csv` the shipped one holds; without an `event_studies.csv` none but signals are studied. Exchange
    rates that are needed and stand in no row are added.

    Args:
        folder: of the seed files.
        base_currency: in which prices are compared.

    Raises:
        SeedError: the first thing that is wrong, in one line.
    """
    own_groups = folder / "groups.csv"
    groups = seeds.read_rows(own_groups if own_groups.exists() else SHIPPED_GROUPS, Group, key="name", within="kind")
    instruments = seeds.read_rows(folder / "instruments.csv", Instrument, key="symbol")
    if not instruments:
        raise SeedError("instruments.csv: no rows; allowed: at least one instrument")
    levels = seeds.read_rows(folder / "price_levels.csv", PriceLevel, key="level_id")
    pairs = seeds.read_rows(folder / "pairs.csv", Pair, key="pair_id")
    rules = seeds.read_rows(folder / "move_rules.csv", MoveRule, key="rule_id")
    own_studies = folder / "event_studies.csv"
    studies = seeds.read_rows(own_studies, EventStudy, key="study_id") if own_studies.exists() else []
    claims = seeds.read_rows(folder / "published_claims.csv", Claim, key="claim_id")
    universe = Universe(
        groups=tuple(record for _, record in groups),
        instruments=tuple(record for _, record in instruments),
        levels=tuple(record for _, record in levels),
        pairs=tuple(record for _, record in pairs),
        move_rules=tuple(record for _, record in rules),
        event_studies=tuple(record for _, record in studies),
        claims=tuple(record for _, record in claims),
    )
    symbols = set(universe.symbols)
    _check_declared("instruments.csv", instruments, {name: name for name in ("asset_class", "metal", "tier")}, universe)
    _check_declared("pairs.csv", pairs, {"kind": "pair_kind"}, universe)
    _check_rates(instruments)
    _check_unique_sources(instruments)
    _check_contracts(instruments)
    _check_symbols("instruments.csv", instruments, ("metal_symbol", "sector_symbol"), symbols)
    _check_symbols("price_levels.csv", levels, ("symbol",), symbols)
    _check_symbols("pairs.csv", pairs, ("long_symbol", "short_symbol"), symbols)
    _check_symbols("published_claims.csv", claims, ("symbol",), symbols)
    _check_series(levels, universe)
    _check_scopes("move_rules.csv", rules, universe)
    _check_volume_rules(rules, universe)
    _check_scopes("event_studies.csv", studies, universe)
    _check_claim_arguments(claims, universe)
    return _with_rates(universe, base_currency)


def _with_rates(universe: Universe, base_currency: str) -> Universe:
    """The universe with what it takes to compare its prices in one currency."""
    needed = rates_needed((i.currency for i in universe.instruments if i.asset_class != FX), base_currency)
    prices = dollar_prices(needed, (i.symbol for i in universe.instruments if i.asset_class == FX))
    added = tuple(_rate(price) for price in prices if price.symbol not in universe.symbols)
    return replace(
        universe,
        instruments=(*universe.instruments, *added),
        base_currency=base_currency,
        dollar_prices=prices,
    )


def _rate(price: DollarPrice) -> Instrument:
    """The row of a rate that nobody has written."""
    return Instrument(
        symbol=price.symbol,
        source_symbol=price.symbol,
        name=f"{price.currency} in US dollars",
        asset_class=FX,
        metal=None,
        tier=BENCHMARK,
        calendar=FX_CALENDAR,
        currency=DOLLAR,
        tick_size=1e-6,
        metal_symbol=None,
        sector_symbol=None,
        active_from=None,
    )


def _check_rates(instruments: list[tuple[int, Instrument]]) -> None:
    for row, instrument in instruments:
        if instrument.asset_class == FX:
            rate = rate_of(instrument.symbol)
            if rate is None:
                raise SeedError(
                    f"instruments.csv, row {row}, column symbol: '{instrument.symbol}' is not allowed; allowed for an "
                    "exchange rate: EURUSD=X (dollars for a euro) or CAD=X (Canadian dollars for a dollar)"
                )
            if instrument.currency != rate.quote:
                raise SeedError(
                    f"instruments.csv, row {row}, column currency: '{instrument.currency}' is not allowed; "
                    f"allowed: {rate.quote}, in which {instrument.symbol} is the price of {rate.unit}"
                )


def _check_declared(
    file: str, rows: Iterable[tuple[int, seeds.SeedRow]], kinds: dict[str, str], universe: Universe
) -> None:
    for row, record in rows:
        for column, kind in kinds.items():
            value, names = getattr(record, column), universe.names_of(kind)
            if value is not None and value not in names:
                nearest = difflib.get_close_matches(value.casefold(), names, n=1)
                hint = f"nearest: {nearest[0]}; others are declared" if nearest else "others are declared"
                raise SeedError(
                    f"{file}, row {row}, column {column}: '{value}' is not allowed; allowed: {seeds.listed(names)} "
                    f"({hint} in groups.csv)"
                )


def _check_contracts(instruments: list[tuple[int, Instrument]]) -> None:
    for row, instrument in instruments:
        if instrument.contract_months and not instrument.source_symbol.endswith(FRONT):
            raise SeedError(
                f"instruments.csv, row {row}, column contract_months: '{instrument.contract_months}' is not allowed; "
                "allowed: nothing, unless source_symbol is a front-month series such as SI=F"
            )


def _check_unique_sources(instruments: list[tuple[int, Instrument]]) -> None:
    first_row: dict[str, int] = {}
    for row, instrument in instruments:
        # Whatever their case: they are also names of files, on disks that know no case.
        name = instrument.source_symbol
        seeds.check_once(f"instruments.csv, row {row}", "source_symbol", name, first_row, row, same_as=name.upper())


def _check_symbols(
    file: str, rows: Iterable[tuple[int, seeds.SeedRow]], columns: Iterable[str], symbols: set[str]
) -> None:
    for row, record in rows:
        for column in columns:
            symbol = getattr(record, column)
            if symbol is not None and symbol not in symbols:
                raise SeedError(
                    f"{file}, row {row}, column {column}: '{symbol}' is unknown; allowed: a symbol of instruments.csv"
                )


def _check_series(levels: list[tuple[int, PriceLevel]], universe: Universe) -> None:
    """A level on an average, or on the price ratio of a pair, whose long instrument it names."""
    pairs = {pair.pair_id: pair for pair in universe.pairs}
    for row, level in levels:
        if level.series is None or level.series in AVERAGES:
            continue
        if level.series not in pairs:
            raise SeedError(
                f"price_levels.csv, row {row}, column series: '{level.series}' is unknown; allowed: nothing, "
                f"{seeds.listed(AVERAGES)}, or a pair_id of pairs.csv"
            )
        if level.symbol != (long := pairs[level.series].long_symbol):
            raise SeedError(
                f"price_levels.csv, row {row}, column symbol: '{level.symbol}' is not allowed; "
                f"allowed: {long}, the long_symbol of {level.series}"
            )


def _with_fraction(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose threshold may be written as 5%, which is 0.05."""
    found = re.fullmatch(r"(-?(?:\d+\.?\d*|\.\d+)) ?%", str(row.get("threshold")), re.ASCII)
    return {**row, "threshold": str(Decimal(found[1]) / 100)} if found else row


def _check_scopes(
    file: str, rows: Sequence[tuple[int, MoveRule]] | Sequence[tuple[int, EventStudy]], universe: Universe
) -> None:
    allowed: dict[str, set[str]] = {
        "asset_class": {i.asset_class for i in universe.instruments},
        "tier": {i.tier for i in universe.instruments},
        "symbol": set(universe.symbols),
    }
    for row, record in rows:
        where = f"{file}, row {row}, column scope_value: '{record.scope_value or ''}'"
        if record.scope == "all":
            if record.scope_value is not None:
                raise SeedError(f"{where} is not allowed; allowed: nothing, because scope is 'all'")
        elif record.scope_value not in allowed[record.scope]:
            raise SeedError(f"{where} is unknown; allowed: {seeds.listed(sorted(allowed[record.scope]))}")


def _check_volume_rules(rules: list[tuple[int, MoveRule]], universe: Universe) -> None:
    for row, rule in rules:
        if rule.measure == "volume_ratio" and (
            rule.scope_value == FUTURE
            if rule.scope == "asset_class"
            else rule.scope == "symbol" and universe.instrument(str(rule.scope_value)).asset_class == FUTURE
        ):
            raise SeedError(
                f"move_rules.csv, row {row}, column scope_value: '{rule.scope_value or ''}' is not allowed; "
                f"allowed: anything but the asset class {FUTURE} for volume_ratio "
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
        elif claim.measure == "return_period":
            _check_claimed_years(where, claim)
        elif claim.measure == "share_up_after":
            if claim.argument not in _studies_over_sessions(universe, claim.symbol):
                raise SeedError(
                    f"{where} is unknown; allowed: a study_id of event_studies.csv about {claim.symbol}, a blank, and"
                    f" {', '.join(map(str, STUDY_SESSIONS))} as its sessions"
                )
        elif claim.argument is not None:
            raise SeedError(f"{where} is not allowed; allowed: nothing for the measure {claim.measure}")
        if claim.measure in ("close", "return_1d", "return_ytd", "return_1y", "largest_fall_rank", "share_up_after"):
            _check_claimed_number(row, claim)


def _check_claimed_years(where: str, claim: Claim) -> None:
    with suppress(ValueError):
        if 1 <= float(claim.argument or "") <= 1_000:
            return
    raise SeedError(f"{where} is not allowed; allowed: years, from 1 to 1000: the claim is that the move is rarer")


def _studies_over_sessions(universe: Universe, symbol: str) -> set[str]:
    """What a claim about a study may name."""
    of_symbol = (study.study_id for study in universe.event_studies if study.scope_value == symbol)
    return {f"{study} {sessions}" for study in of_symbol for sessions in STUDY_SESSIONS}


def _check_claimed_number(row: int, claim: Claim) -> None:
    for column in ("claimed", "tolerance"):
        value = getattr(claim, column)
        if value is None or not math.isfinite(value) or (column == "tolerance" and value < 0):
            raise SeedError(
                f"published_claims.csv, row {row}, column {column}: '{'' if value is None else value}' "
                f"is not allowed; allowed: a number for the measure {claim.measure}"
            )
