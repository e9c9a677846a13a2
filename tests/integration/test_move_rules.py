"""Every score, every rule, every rank against a plain loop over random prices with holes, flat bars, closes alone."""

import datetime as dt
import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest

from orchestration.market.calendar import closed_sessions
from orchestration.settings import Settings
from tests.jobs import INSTRUMENTS_HEADER, ClockedSettings, publish_tables, published, small_seeds

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = [d.date() for d in closed_sessions("XNYS", NOW)["session_date"]][-620:]

# Symbol -> asset class. ALL has everything; HOLES lacks sessions, CLOSES all but closes, VOLUME some volumes.
SYMBOLS = {"ALL": "etf", "HOLES": "stock", "CLOSES": "etf", "VOLUME": "stock", "FUTURE": "metal", "QUIET": "index"}

# rule_id, measure, sessions, threshold; the first makes every return but 0 a move, so that every row is compared.
RULES = [
    ("any", "return_1d", 1, 0.000001),
    ("daily", "return_1d", 1, 0.05),
    ("open", "opening_gap", 1, 0.03),
    ("z21", "z_score", 21, 2.0),
    ("z63", "z_score", 63, 2.0),
    ("ewma", "z_ewma", 1, 2.0),
    ("robust", "robust_z", 252, 2.5),
    ("extreme", "percentile", 252, 0.975),
    ("two", "cumulative_return", 2, 0.06),
    ("three", "cumulative_return", 3, 0.07),
    ("week", "cumulative_return", 5, 0.08),
    ("fortnight", "cumulative_return", 10, 0.1),
    ("month", "cumulative_return", 21, 0.12),
    ("volume", "volume_ratio", 20, 2.0),
]
COLUMNS = {
    ("return_1d", 1): "return_1d",
    ("opening_gap", 1): "overnight_return",
    ("z_score", 21): "z_21",
    ("z_score", 63): "z_63",
    ("z_ewma", 1): "z_ewma",
    ("robust_z", 252): "robust_z_252",
    ("percentile", 252): "percentile_252",
    ("volume_ratio", 20): "volume_ratio_20",
    **{("cumulative_return", n): f"return_{n}d" for n in (2, 3, 5, 10, 21)},
}


def random_prices(symbol: str) -> pd.DataFrame:
    """A walk whose returns come in few sizes, so that many are equally large, with calm and wild times."""
    rng = np.random.default_rng(sum(map(ord, symbol)))
    count = len(SESSIONS)
    wild = np.where(rng.random(count).round(1) > 0.8, 3, 1)
    close = 100 * np.cumprod(1 + np.round(rng.standard_t(4, count) * wild) / 100)
    opened = close / (1 + np.round(rng.normal(0, 1.5, count)) / 100)
    frame = pd.DataFrame(
        {
            "Date": SESSIONS,
            "Open": opened,
            "High": np.maximum(opened, close) * 1.01,
            "Low": np.minimum(opened, close) * 0.99,
            "Close": close,
            "Volume": rng.integers(0, 12, count) * 100.0,
            "Dividends": np.where(rng.random(count) > 0.98, 1.0, 0.0),
        }
    )
    if symbol == "QUIET":  # nothing moves for a while: no dispersion, no scores
        frame.loc[100:400, ["Open", "High", "Low", "Close"]] = 50.0
        frame["Dividends"] = 0.0
    if symbol == "ALL":
        for i in range(40, 600, 50):
            frame.loc[i, ["Open", "High", "Low"]] = frame.loc[i, "Close"]
    if symbol == "VOLUME":
        frame.loc[frame.index % 45 == 10, "Volume"] = np.nan
        frame.loc[300:330, "Volume"] = 0.0
    if symbol == "HOLES":
        missing = set(rng.integers(5, 600, 40)) | set(range(200, 230))
        frame = frame.drop(index=sorted(missing))
    if symbol == "CLOSES":
        frame = frame[["Date", "Close"]]
    return frame.reset_index(drop=True)


def loop_scores(frame: pd.DataFrame, asset_class: str) -> list[dict[str, Any]]:
    """All scores, bar by bar; None where one is not known."""
    position = {day: i for i, day in enumerate(SESSIONS)}
    bars = frame.to_dict("records")
    rows: list[dict[str, Any]] = []
    variance = None
    for t in range(1, len(bars)):
        bar, before = bars[t], bars[t - 1]
        r = (bar["Close"] + bar.get("Dividends", 0.0)) / before["Close"] - 1
        earlier = [row["return_1d"] for row in rows]
        row: dict[str, Any] = {
            "session_date": bar["Date"],
            "return_1d": r,
            "sessions_since_previous": position[bar["Date"]] - position[before["Date"]],
            **dict.fromkeys(COLUMNS.values()),
        } | {"return_1d": r}
        for n in (2, 3, 5, 10, 21):
            if len(earlier) >= n - 1:
                row[f"return_{n}d"] = math.prod(1 + x for x in [*earlier, r][-n:]) - 1
        if bar.get("High", 0.0) > bar.get("Low", 0.0):
            row["overnight_return"] = (bar["Open"] + bar["Dividends"]) / before["Close"] - 1
        for n in (21, 63):
            if len(earlier) >= n and (sd := statistics.stdev(earlier[-n:])) > 0:
                row[f"z_{n}"] = r / sd
        squares = [math.log(1 + x) ** 2 for x in earlier]
        if len(squares) == 21:
            variance = statistics.fmean(squares)
        elif variance is not None:
            variance = 0.94 * variance + 0.06 * squares[-1]
        if variance and statistics.stdev(earlier[-21:]) > 0:
            row["z_ewma"] = math.log(1 + r) / math.sqrt(variance)
        if len(earlier) >= 252:
            year = earlier[-252:]
            median = statistics.median(year)
            if mad := statistics.median(abs(x - median) for x in year):
                row["robust_z_252"] = (r - median) / (1.4826 * mad)
            row["percentile_252"] = (sum(x < r for x in year) + 0.5 * sum(x == r for x in year)) / 252
        volumes = [b.get("Volume", math.nan) for b in bars[max(t - 20, 0) : t + 1]]
        known = asset_class != "metal" and len(volumes) == 21 and not any(math.isnan(v) for v in volumes)
        if known and (median_volume := statistics.median(volumes[:-1])):
            row["volume_ratio_20"] = volumes[-1] / median_volume
        rows.append(row)
    return rows


def loop_hits(scores: list[dict[str, Any]]) -> dict[tuple[dt.date, str], tuple[float, str, bool]]:
    """(session, rule) -> score, direction, whether the move spans a gap."""
    found: dict[tuple[dt.date, str], tuple[float, str, bool]] = {}

    def side(score: float | None, measure: str, threshold: float) -> int:
        if score is None:
            return 0
        if measure == "percentile":
            return 1 if score >= threshold else -1 if score <= 1 - threshold else 0
        return 0 if round(abs(score), 10) < threshold else -1 if score < 0 else 1

    for t, row in enumerate(scores):
        for rule, measure, sessions, threshold in RULES:
            column = COLUMNS[measure, sessions]
            now = side(row[column], measure, threshold)
            entered = t == 0 or now != side(scores[t - 1][column], measure, threshold)
            if not now or measure == "volume_ratio" or (measure == "cumulative_return" and not entered):
                continue
            last = scores[max(t - sessions + 1, 0) : t + 1] if measure == "cumulative_return" else [row]
            gap = any(r["sessions_since_previous"] > 1 for r in last)
            found[row["session_date"], rule] = (row[column], "up" if now > 0 else "down", gap)
    moved = {session for session, _ in found}
    for row in scores:
        if row["session_date"] in moved and side(row["volume_ratio_20"], "volume_ratio", 2.0):
            direction, gap = "down" if row["return_1d"] < 0 else "up", row["sessions_since_previous"] > 1
            found[row["session_date"], "volume"] = (row["volume_ratio_20"], direction, gap)
    return found


def loop_history(scores: list[dict[str, Any]]) -> dict[dt.date, dict[str, Any]]:
    """Session -> rank among the daily returns so far and the latest one as large, by looking at each."""
    found = {}
    for t, row in enumerate(scores):
        sign = -1 if round(row["return_1d"], 12) < 0 else 1
        as_large = [
            i
            for i, e in enumerate(scores[:t])
            if e["sessions_since_previous"] == 1
            and round(e["return_1d"], 12) * sign >= round(row["return_1d"], 12) * sign
        ]
        found[row["session_date"]] = {
            "rank_since_inception": len(as_large) + 1,
            "returns_since_inception": t + 1,
            "largest_since": scores[as_large[-1]]["session_date"] if as_large else None,
            "largest_since_return": scores[as_large[-1]]["return_1d"] if as_large else None,
            "sessions_since_largest": t - as_large[-1] if as_large else None,
            "is_record": not as_large,
        }
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, list[dict[str, Any]]]:
    return {symbol: loop_scores(random_prices(symbol), asset_class) for symbol, asset_class in SYMBOLS.items()}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("moves")
    rules = "".join(f"{rule},all,,{measure},{n},{threshold:.6f},\n" for rule, measure, n, threshold in RULES)
    seeds = small_seeds(folder / "seeds", *SYMBOLS, rules=rules)
    rows = [f"{s},{s},{s},{asset_class},,metal,XNYS,USD,0.01,,,\n" for s, asset_class in SYMBOLS.items()]
    (seeds / "instruments.csv").write_text(INSTRUMENTS_HEADER + "".join(rows))
    (folder / "drop").mkdir()
    for symbol in SYMBOLS:
        random_prices(symbol).to_csv(folder / "drop" / f"{symbol}.csv", index=False, float_format="%.17g")
    settings = ClockedSettings(source="files", files=folder / "drop", home=folder / "home", seeds=seeds, moment=NOW)
    publish_tables(settings)
    return settings


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, float) and isinstance(theirs, float):
        return math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-11)
    return bool(mine == theirs)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_scores_and_history_are_those_of_a_plain_loop(
    symbol: str, settings: Settings, expected: dict[str, list[dict[str, Any]]]
) -> None:
    mine = {r["session_date"]: r for r in published(settings, "select * from large_moves where symbol = ?", symbol)}
    history = loop_history(expected[symbol])
    theirs = {row["session_date"]: row | history[row["session_date"]] for row in expected[symbol]}
    assert mine.keys() == {session for session, _ in loop_hits(expected[symbol])}
    different = [
        (session, column, mine[session][column], value)
        for session in mine
        for column, value in theirs[session].items()
        if not same(mine[session][column], value)
    ]
    assert different == []
    assert len(mine) > (200 if symbol == "QUIET" else 350)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_rules_are_those_of_a_plain_loop(
    symbol: str, settings: Settings, expected: dict[str, list[dict[str, Any]]]
) -> None:
    rows = published(settings, "select * from move_rule_hits where symbol = ?", symbol)
    mine = {(r["session_date"], r["rule_id"]): (r["score"], r["direction"], r["bridges_gap"]) for r in rows}
    theirs = loop_hits(expected[symbol])
    assert mine.keys() == theirs.keys()
    assert len(mine) == len(rows)
    different = [(key, mine[key], value) for key, value in theirs.items() if not all(map(same, mine[key], value))]
    assert different == []
    moves = published(settings, "select session_date, rules_hit, bridges_gap from large_moves where symbol = ?", symbol)
    for move in moves:
        own = {rule: facts for (session, rule), facts in theirs.items() if session == move["session_date"]}
        assert move["rules_hit"] == ", ".join(sorted(own))
        assert move["bridges_gap"] == any(gap for _, _, gap in own.values())


def test_the_random_prices_met_every_rule(settings: Settings) -> None:
    hits = published(settings, "select rule_id, direction, count(*) as n from move_rule_hits group by all")
    assert {(row["rule_id"], row["direction"]) for row in hits} == {
        (rule, direction) for rule, *_ in RULES for direction in ("up", "down")
    }
    (row,) = published(settings, "select count(*) as n from move_rule_hits where bridges_gap and symbol = 'HOLES'")
    assert row["n"] > 50


def test_futures_and_closes_alone_have_no_volume_and_closes_no_opening_gap(settings: Settings) -> None:
    rows = published(
        settings,
        "select symbol, count(volume_ratio_20) as ratios, count(is_volume_confirmed) as verdicts,"
        " count(overnight_return) as gaps from large_moves where symbol in ('FUTURE', 'CLOSES')"
        " group by all order by all",
    )
    assert [(r["symbol"], r["ratios"], r["verdicts"], r["gaps"] > 0) for r in rows] == [
        ("CLOSES", 0, 0, False),
        ("FUTURE", 0, 0, True),
    ]
