"""What the simulated market must tell: its fixed points, its corridors and the character of its instruments.

Facts: `sample_anchors.csv` (closes and extremes of SIL in January 2025 and of all from autumn 2025 to 3
February 2026) and those returns in `EVENT_RETURNS` that are called so. Everything else here is invention in
round figures, chosen so that the market resembles the one that people remember; no figure of it may be
quoted. How paths and bars are made of these tables is the business of `sample_market`.
"""

import csv
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from orchestration.market.universe import FX, Instrument

Bounds = tuple[float | None, float | None]
OPEN_ENDED: Bounds = (None, None)


@dataclass(frozen=True)
class Anchor:
    """A session whose close, and perhaps whose high or low, is a fact."""

    session: dt.date
    close: float
    high: float | None
    low: float | None


@dataclass(frozen=True)
class Corridor:
    """Bounds from `start` to `end`, both included: of closes, of the bar's whole range, of opens."""

    start: dt.date
    end: dt.date
    close: Bounds = OPEN_ENDED
    range: Bounds = OPEN_ENDED
    open: Bounds = OPEN_ENDED


@dataclass(frozen=True)
class Payout:
    """Dividends: months, day of month from which they go ex, and the fraction of the price per year."""

    months: tuple[int, ...]
    day: int
    annual_yield: float


@dataclass(frozen=True)
class Recipe:
    """How a price comes about."""

    source_symbol: str  # names the random streams, the fixed points and the corridors
    drivers: tuple[tuple[str, float], ...]  # source symbols whose log returns it follows, each with its beta
    noise: float  # its own daily volatility in an ordinary market, a fraction
    cap: float = 0.30  # largest daily log return outside facts and events
    nervousness: float = 0.5  # how far that volatility follows the market's, an exponent; less for company news
    overnight: float = 0.4  # share of a day's variance that falls before the open
    volume: float = 2e6  # median daily volume, in units
    volume_spread: float = 0.35  # standard deviation of its logarithm
    payout: Payout | None = None  # its dividends, if any
    splits: tuple[tuple[dt.date, float], ...] = ()  # fictional splits, ex-date and ratio


_HALF_YEARLY, _QUARTERLY = (6, 12), (3, 6, 9, 12)
_FUND_PAYOUT = Payout(_HALF_YEARLY, 16, 0.0125)

# The instruments that others follow, and those with a character of their own. Caps keep every other day
# smaller than the falls that the story calls the largest. Front-month futures hardly gap; their volume means
# nothing.
RECIPES: Mapping[str, Recipe] = {
    recipe.source_symbol: recipe
    for recipe in (
        Recipe("GC=F", (), 0.0078, 0.050, 1.0, overnight=0.15, volume=300, volume_spread=1.6),
        Recipe("SI=F", (("GC=F", 1.3),), 0.0105, 0.11, 1.0, overnight=0.15, volume=90, volume_spread=1.6),
        Recipe("SPY", (("GC=F", 0.1),), 0.0085, 0.06, 1.0, volume=8e7, payout=Payout(_QUARTERLY, 15, 0.013)),
        Recipe("PL=F", (("GC=F", 0.75),), 0.0110, 0.08, overnight=0.15, volume=200, volume_spread=1.6),
        Recipe("PA=F", (("PL=F", 0.7), ("SPY", 0.3)), 0.0160, 0.10, overnight=0.15, volume=60, volume_spread=1.6),
        Recipe("PPLT", (("PL=F", 1.0),), 0.0015, 0.08, volume=2e5),
        Recipe("PALL", (("PA=F", 1.0),), 0.0020, 0.10, volume=1e5),
        Recipe("UUP", (("GC=F", -0.15),), 0.0030, 0.03, volume=8e5, payout=Payout((12,), 20, 0.03)),
        Recipe("TIP", (("GC=F", 0.10),), 0.0025, 0.03, volume=2e6, payout=Payout(_QUARTERLY, 3, 0.03)),
        # Points, not prices: a yield, and what options say of volatility.
        Recipe("^TNX", (("GC=F", -0.3),), 0.0180, 0.20, volume=1),
        Recipe("^VIX", (("SPY", -3.0),), 0.0200, 0.12, volume=1),
        Recipe("^GVZ", (("^VIX", 0.3),), 0.0200, 0.12, volume=1),
        Recipe("GLD", (("GC=F", 1.0),), 0.0012, 0.05, volume=9e6),
        Recipe("SLV", (("SI=F", 1.0),), 0.0025, 0.11, volume=2.2e7),
        Recipe("GDX", (("GLD", 1.6), ("SPY", 0.3)), 0.0090, 0.09, volume=2e7, payout=_FUND_PAYOUT),
        Recipe("GDXJ", (("GDX", 1.12), ("SLV", 0.06)), 0.0060, 0.095, volume=6e6, payout=_FUND_PAYOUT),
        Recipe("SIL", (("SLV", 0.6), ("GDX", 0.5)), 0.0065, 0.10, volume=4e5, payout=_FUND_PAYOUT),
        Recipe("SILJ", (("SIL", 1.12), ("SLV", 0.10)), 0.0070, 0.105, volume=1.2e6, payout=_FUND_PAYOUT),
        Recipe("AUAU", (("GDX", 0.95),), 0.0030, 0.07, volume=6e4, payout=_FUND_PAYOUT),
        Recipe("RING", (("GDX", 1.0),), 0.0025, volume=2e5, payout=_FUND_PAYOUT),
        Recipe("SLVP", (("SIL", 1.0),), 0.0030, volume=9e4, payout=_FUND_PAYOUT),
        Recipe("NEM", (("GDX", 0.85),), 0.0120, volume=8e6, payout=Payout(_QUARTERLY, 4, 0.022)),
        # Fiction: this 2-for-1 split never happened; it is here so that splits are exercised.
        Recipe(
            "AEM",
            (("GDX", 0.9),),
            0.0110,
            payout=Payout(_QUARTERLY, 1, 0.016),
            splits=((dt.date(2021, 6, 15), 2.0),),
        ),
    )
}

# Round figures near which a price passes, split-adjusted; nothing here is a quotation.
WAYPOINTS: Mapping[str, Mapping[str, float]] = {
    "GC=F": {
        "2018-01-02": 1315, "2018-08-16": 1190, "2019-09-04": 1550, "2020-02-24": 1670, "2020-03-18": 1480,
        "2020-08-06": 2050, "2021-03-08": 1690, "2022-03-08": 2030, "2022-09-27": 1640, "2023-05-04": 2040,
        "2024-02-14": 2010, "2024-10-30": 2780, "2025-01-30": 2820, "2025-04-21": 3390, "2025-08-15": 3380,
        "2025-10-08": 4050, "2025-10-20": 4320, "2025-11-04": 3970, "2026-01-20": 4750, "2026-03-06": 5060,
    },
    "SI=F": {
        "2018-01-02": 17.1, "2018-11-13": 14.1, "2019-09-04": 19.4, "2020-02-24": 18.6, "2020-03-18": 11.9,
        "2020-08-10": 28.7, "2021-02-01": 28.4, "2022-09-01": 18.1, "2023-05-04": 26, "2024-02-28": 22.6,
        "2024-05-20": 31.8, "2025-01-30": 32.3, "2025-04-08": 30, "2025-06-30": 36.2, "2025-09-30": 46.4,
        "2025-10-10": 47.6, "2025-11-03": 48.2, "2026-03-06": 85,
    },
    "SPY": {
        "2018-01-02": 268, "2018-12-24": 236, "2020-02-19": 338, "2020-03-23": 224, "2021-12-31": 474,
        "2022-10-12": 358, "2024-12-31": 586, "2025-04-08": 500, "2026-01-30": 690,
    },
    "PL=F": {
        "2018-01-02": 940, "2020-03-19": 600, "2021-02-16": 1290, "2025-04-08": 920, "2025-10-16": 1650,
        "2026-01-26": 2700, "2026-01-30": 2150,
    },
    "PA=F": {
        "2018-01-02": 1090, "2020-02-27": 2790, "2022-03-07": 2950, "2024-08-05": 860, "2025-04-08": 920,
        "2026-01-26": 2050, "2026-01-30": 1700,
    },
    "PPLT": {"2018-01-02": 89, "2026-01-30": 196}, "PALL": {"2018-01-02": 103, "2026-01-30": 154},
    "UUP": {"2018-01-02": 24, "2022-09-27": 30, "2026-01-30": 27}, "TIP": {"2018-01-02": 114, "2026-01-30": 110},
    "^TNX": {
        "2018-01-02": 2.46, "2018-11-08": 3.2, "2020-03-09": 0.6, "2022-10-24": 4.2, "2023-10-19": 4.9,
        "2026-01-30": 4.2,
    },
    "^VIX": {
        "2018-01-02": 10, "2018-12-24": 33, "2019-11-26": 12, "2020-03-18": 75, "2021-11-05": 16, "2022-03-08": 34,
        "2024-05-20": 12, "2025-04-08": 49, "2025-08-15": 15, "2026-01-30": 18,
    },
    "^GVZ": {
        "2018-01-02": 10, "2019-05-01": 9, "2020-03-18": 45, "2021-11-05": 15, "2024-02-14": 12, "2025-04-21": 25,
        "2025-08-15": 16, "2026-01-30": 42,
    },
    "AYA.TO": {"2018-01-02": 0.3, "2025-12-31": 19}, "GGD.TO": {"2018-01-02": 0.4, "2025-12-31": 3},
    "LUG.TO": {"2018-01-02": 5, "2025-12-31": 115}, "HOC.L": {"2018-01-02": 260, "2025-12-31": 480},
    "EDV.L": {"2018-01-02": 1500, "2025-12-31": 3900}, "NST.AX": {"2018-01-02": 6, "2025-12-31": 26},
    "EVN.AX": {"2018-01-02": 2.7, "2025-12-31": 12}, "SVL.AX": {"2018-01-02": 0.05, "2025-12-31": 0.2},
    "HAR.JO": {"2018-01-02": 2300, "2025-12-31": 34000}, "PAN.JO": {"2018-01-02": 210, "2025-12-31": 2600},
    "IMP.JO": {"2018-01-02": 3200, "2025-12-31": 26000},
    "SLV": {"2018-01-02": 16.2}, "GLD": {"2018-01-02": 125},
    "SIL": {
        "2018-01-02": 33, "2020-02-24": 30, "2020-03-19": 18, "2020-08-10": 49, "2022-09-26": 24,
        "2024-02-28": 24, "2026-03-06": 98,
    },
    "SILJ": {
        "2018-01-02": 11.3, "2020-03-19": 6.2, "2020-08-10": 16.5, "2022-09-26": 8.8, "2025-01-30": 11.2,
        "2026-03-06": 33.5,
    },
    "GDX": {
        "2018-01-02": 23.4, "2020-02-24": 29, "2020-03-19": 20, "2020-08-10": 42, "2022-09-26": 23,
        "2025-01-30": 39.5, "2026-03-06": 98,
    },
    "GDXJ": {
        "2018-01-02": 34, "2020-03-19": 23.5, "2020-08-10": 59, "2022-09-26": 29, "2025-01-30": 49,
        "2026-03-06": 128,
    },
    "SLVP": {"2018-01-02": 11.6, "2025-12-31": 36}, "RING": {"2018-01-02": 18.6, "2025-12-31": 72},
    "PAAS": {"2018-01-02": 15.8, "2025-12-31": 52}, "HL": {"2018-01-02": 4.0, "2025-12-31": 19},
    "CDE": {"2018-01-02": 7.6, "2025-12-31": 18}, "FRES.L": {"2018-01-02": 1430, "2025-12-31": 3300},
    "AG": {"2018-01-02": 6.8, "2025-12-31": 16.5}, "EXK": {"2018-01-02": 2.4, "2025-12-31": 9.4},
    "FSM": {"2018-01-02": 5.2, "2025-12-31": 9.8}, "SVM": {"2018-01-02": 2.6, "2025-12-31": 8.4},
    "NEM": {"2018-01-02": 37.6, "2025-12-31": 100}, "B": {"2018-01-02": 14.6, "2025-12-31": 43},
    "AEM": {"2018-01-02": 23, "2025-12-31": 85}, "KGC": {"2018-01-02": 4.3, "2025-12-31": 28},
    "GFI": {"2018-01-02": 4.3, "2025-12-31": 43}, "AU": {"2018-01-02": 10.3, "2025-12-31": 84},
    "AGI": {"2018-01-02": 6.6, "2025-12-31": 38}, "WPM": {"2018-01-02": 22, "2025-12-31": 117},
    "FNV": {"2018-01-02": 80, "2025-12-31": 208}, "RGLD": {"2018-01-02": 82, "2025-12-31": 223},
    "EURUSD=X": {"2018-01-02": 1.2, "2026-01-30": 1.19}, "GBPUSD=X": {"2018-01-02": 1.36, "2026-01-30": 1.37},
    "CADUSD=X": {"2018-01-02": 0.8, "2026-01-30": 0.73}, "AUDUSD=X": {"2018-01-02": 0.78, "2026-01-30": 0.7},
    "ZARUSD=X": {"2018-01-02": 0.081, "2026-01-30": 0.062}, "MXNUSD=X": {"2018-01-02": 0.051, "2026-01-30": 0.057},
}  # fmt: skip

# One-day returns. Facts: the falls of SIL, SILJ, GDX and GDXJ in March 2020, and SLV on 2026-01-27, when it
# closed three hours after the futures and rose on a day on which they fell. The others are that panic in
# round figures.
EVENT_RETURNS: Mapping[str, Mapping[str, float]] = {
    "SIL": {"2020-03-13": -0.1710},
    "SILJ": {"2020-03-12": -0.1821},
    "GDX": {"2020-03-18": -0.2282},
    "GDXJ": {"2020-03-18": -0.2467},
    "SLV": {"2026-01-27": 0.033},
    "GC=F": {"2020-03-12": -0.03, "2020-03-13": -0.04, "2020-03-18": -0.03},
    "SI=F": {"2020-03-12": -0.05, "2020-03-13": -0.08, "2020-03-18": -0.06},
    "SPY": {"2020-03-12": -0.09, "2020-03-13": 0.08, "2020-03-18": -0.05},
}

# When markets were nervous: added to the logarithm of volatility.
NERVOUS: tuple[tuple[dt.date, dt.date, float], ...] = (
    (dt.date(2020, 2, 24), dt.date(2020, 4, 9), 0.8),
    (dt.date(2020, 7, 20), dt.date(2020, 9, 30), 0.35),
    (dt.date(2022, 2, 24), dt.date(2022, 4, 8), 0.25),
    (dt.date(2025, 4, 2), dt.date(2025, 4, 30), 0.4),
    (dt.date(2025, 10, 6), dt.date(2026, 1, 23), 0.25),
    (dt.date(2026, 1, 24), dt.date(2026, 2, 20), 0.75),
    (dt.date(2026, 2, 21), dt.date(2026, 3, 6), 0.45),
)

_SOON = dt.date(2018, 1, 1)
_LATE = dt.date(2026, 3, 6)

# The levels of the market note: the record of 50 first reached on 2025-10-13; 54 pierced and rejected on
# 2025-11-13, crossed with 56 on 2025-11-28 and never revisited; 100 crossed on 2026-01-23, lost on 2026-01-30
# and not reclaimed. Opens are bounded where a gap would turn a crossing into something else. The range keeps
# 1 % away from the support zone, where a retest would begin.
CORRIDORS: Mapping[str, tuple[Corridor, ...]] = {
    "SI=F": (
        Corridor(_SOON, dt.date(2025, 10, 12), close=(None, 49.2), range=(None, 49.95)),
        Corridor(dt.date(2025, 10, 13), dt.date(2025, 11, 12), close=(None, 53.4), range=(None, 53.97)),
        Corridor(dt.date(2025, 10, 13), dt.date(2025, 10, 13), open=(None, 49.8)),
        Corridor(dt.date(2025, 11, 13), dt.date(2025, 11, 13), open=(None, 53.8)),
        Corridor(dt.date(2025, 11, 14), dt.date(2025, 11, 27), close=(None, 53.4), range=(None, 53.97)),
        Corridor(dt.date(2025, 11, 28), dt.date(2025, 11, 28), open=(None, 53.8)),
        Corridor(dt.date(2025, 12, 1), dt.date(2025, 12, 1), range=(56.1, None)),
        Corridor(dt.date(2025, 12, 2), dt.date(2026, 1, 22), close=(57.5, 98.0), range=(56.7, 99.9)),
        Corridor(dt.date(2026, 1, 23), dt.date(2026, 1, 23), open=(None, 99.5)),
        Corridor(dt.date(2026, 1, 26), dt.date(2026, 1, 28), range=(100.6, 120.7)),
        Corridor(dt.date(2026, 1, 29), dt.date(2026, 1, 29), range=(104.0, None)),
        Corridor(dt.date(2026, 1, 30), dt.date(2026, 1, 30), range=(None, 120.7), open=(101.0, None)),
        Corridor(dt.date(2026, 2, 1), _LATE, close=(66.0, 97.0), range=(62.0, 99.5)),
    ),
    "GC=F": (
        Corridor(_SOON, dt.date(2026, 1, 25), close=(None, 4985.0), range=(None, 4998.0)),
        Corridor(dt.date(2026, 1, 26), dt.date(2026, 1, 29), close=(5030.0, 5330.0)),
        Corridor(dt.date(2026, 1, 30), dt.date(2026, 1, 30), open=(5010.0, None)),
    ),
}


@lru_cache(maxsize=1)
def anchors() -> Mapping[str, tuple[Anchor, ...]]:
    """The facts per source symbol, ascending."""
    text = files("orchestration.sources").joinpath("sample_anchors.csv").read_text(encoding="utf-8")
    found: dict[str, list[Anchor]] = {}
    for row in csv.DictReader(text.splitlines()):
        session = dt.date.fromisoformat(row["session_date"])
        high, low = (float(row[name]) if row[name] else None for name in ("high", "low"))
        found.setdefault(row["symbol"], []).append(Anchor(session, float(row["close"]), high, low))
    return {symbol: tuple(sorted(rows, key=lambda a: a.session)) for symbol, rows in found.items()}


def recipe_of(instrument: Instrument) -> Recipe:
    """The recipe of an instrument: its own where the story has one, else what its metal and tier suggest."""
    symbol = instrument.source_symbol
    if symbol in RECIPES:
        return RECIPES[symbol]
    if instrument.asset_class == FX:
        # A bank quotes around the clock: it opens where it closed, and nobody counts what is traded.
        return Recipe(symbol, (("GC=F", 0.12),), 0.0045, cap=0.05, overnight=0.02, volume=1)
    fund, seniors, juniors = {
        "silver": ("SLV", "SIL", "SILJ"),
        "gold": ("GLD", "GDX", "GDXJ"),
        "platinum": ("PPLT", "PPLT", "PPLT"),
        "palladium": ("PALL", "PALL", "PALL"),
    }.get(instrument.metal or "", ("SPY", "SPY", "SPY"))
    known = {
        "metal": (fund, 1.0, 0.0020),
        "senior": (seniors, 1.0, 0.0130),
        "junior": (juniors, 1.05, 0.0170),
        "royalty": (seniors, 0.7, 0.0090),
        "benchmark": ("SPY" if instrument.metal is None else fund, 1.0, 0.0040),
    }
    driver, beta, noise = known.get(instrument.tier, (juniors, 1.1, 0.0200))
    if instrument.asset_class in ("etf", "index"):
        noise = min(noise, 0.0040)  # a basket has little of its own
    return Recipe(symbol, ((driver, beta),), noise, payout=_default_payout(instrument))


def _default_payout(instrument: Instrument) -> Payout | None:
    """Metals, indices and juniors pay nothing, funds twice a year, companies every quarter."""
    if instrument.tier in ("metal", "junior") or instrument.asset_class in ("metal", "index"):
        return None
    if instrument.asset_class == "etf":
        return _FUND_PAYOUT
    return Payout(_QUARTERLY, 8, 0.01 if instrument.tier == "royalty" else 0.015)
