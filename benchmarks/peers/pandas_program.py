"""The tables of the marts in pandas: what an analyst's program would compute, without a loop over rows.

    python benchmarks/peers/pandas_program.py HOME OUT

reads the lake and the control tables of the SIMULATED market of HOME and writes returns, volatility, trend,
sector_relative and int_move_scores, with the columns of the models of these names. Formulas: docs/measures.md.

Bars are sorted by symbol and session; `number` counts them within their symbol. One indexer holds the windows of a
whole batch, each within its symbol: a groupby of every column would look for the same borders again, and build an index
each time.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from common import (
    BARS,
    BASE_AGE,
    COLUMNS,
    CUMULATIVE,
    MINERS,
    NO_VARIANCE,
    RANGE_ESTIMATORS,
    RELATIVE_MEASURES,
    SOURCE,
    WINDOWS,
    Market,
    Tables,
    main,
    scores_among_previous,
    yang_zhang_k,
)
from pandas.api.indexers import BaseIndexer

KEYS = ["symbol", "session_date"]
HORIZONS = {
    "1w": pd.DateOffset(weeks=1),
    **{name: pd.DateOffset(months=n) for name, n in (("1m", 1), ("3m", 3), ("6m", 6), ("1y", 12))},
}


class Windows(BaseIndexer):
    """Windows from row `start` to before row `end`."""

    def get_window_bounds(self, num_values=0, min_periods=None, center=None, closed=None, step=None):  # noqa: ARG002
        """Start and end of each window, as rolling asks for them."""
        return self.start, self.end


def last(n: int, number: pd.Series) -> Windows:
    """The last n rows of the series, the row itself among them."""
    row = np.arange(len(number))
    return Windows(start=row - np.minimum(number.to_numpy(), n) + 1, end=row + 1)


def rolling(values: pd.Series | pd.DataFrame, n: int, number: pd.Series) -> pd.api.typing.Rolling:
    """Windows of n known values."""
    return values.rolling(last(n, number), min_periods=n)


def ago(values: pd.Series, n: int, number: pd.Series) -> pd.Series:
    """The value n rows ago in the series."""
    return values.shift(n).where(number > n)


def non_zero(values: pd.Series, least: float = 0) -> pd.Series:
    """The values, unknown where they are zero; nothing is divided by that."""
    return values.where(values.abs() > least)


def numbers(codes: np.ndarray) -> np.ndarray:
    """Rows numbered from 1 within runs of the same code."""
    begins = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    lengths = np.diff(np.r_[begins, len(codes)])
    return np.arange(1, len(codes) + 1) - np.repeat(begins, lengths)


def keys(codes: np.ndarray, days: pd.Series) -> np.ndarray:
    """Symbol and day as one number that sorts like the two."""
    return codes.astype(np.int64) * 1_000_000 + days.to_numpy().astype("datetime64[D]").astype(np.int64)


def to_arrow(frame: pd.DataFrame, table: str) -> pa.Table:
    """The columns of a table; NaN and NaT are NULL, times are dates."""
    frame = frame.assign(source=pd.Categorical.from_codes(np.zeros(len(frame), np.int8), [SOURCE]))
    arrays = [
        pa.array(frame[name].to_numpy().astype("datetime64[D]"))
        if frame[name].dtype.kind == "M"
        else pa.Array.from_pandas(frame[name])
        for name in COLUMNS[table]
    ]
    return pa.table(arrays, names=list(COLUMNS[table]))


def read_instruments(market: Market) -> pd.DataFrame:
    """Instruments by symbol with what they are compared with; symbols are categories in alphabetical order."""
    table = market.control("instruments").to_pandas()
    is_metal = table["asset_class"] == "metal"
    futures = table[is_metal].groupby("metal")["symbol"].min()
    table = table.assign(futures_symbol=table["metal"].map(futures).mask(is_metal), is_metal=is_metal)
    symbols = pd.CategoricalDtype(sorted(table["symbol"]), ordered=True)
    named = ["symbol", "metal_symbol", "sector_symbol", "futures_symbol"]
    return table.astype(dict.fromkeys(named, symbols)).set_index("symbol", drop=False).sort_index()


def read_bars(market: Market, symbols: list[str], instruments: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Columns of the bars of some symbols beside each bar's past, sorted."""
    # The range lets whole files be passed over.
    wanted = [("symbol", ">=", symbols[0]), ("symbol", "<=", symbols[-1]), ("symbol", "in", symbols)]
    table = pq.read_table(market.bars, columns=list(columns), filters=wanted, read_dictionary=["symbol", "bar_quality"])
    bars = table.to_pandas(date_as_object=False)
    bars["symbol"] = bars["symbol"].astype(instruments["symbol"].dtype)
    bars["code"] = bars["symbol"].cat.codes.to_numpy()
    bars["key"] = keys(bars["code"].to_numpy(), bars["session_date"])
    if not bars["key"].is_monotonic_increasing:
        bars = bars.sort_values("key", ignore_index=True)
    bars["number"] = numbers(bars["code"].to_numpy())
    bars["previous_close"] = ago(bars["close"], 1, bars["number"])
    bars["total_return"] = (bars["close"] + bars["dividend"]) / bars["previous_close"] - 1
    bars["total_return_index"] = (1 + bars["total_return"].fillna(0)).groupby(bars["code"]).cumprod()
    return bars


def with_sessions(bars: pd.DataFrame, market: Market, instruments: pd.DataFrame) -> pd.DataFrame:
    """Bars with the sessions since the one before, counted where a bar is expected."""
    sessions = market.control("sessions").to_pandas(date_as_object=False).sort_values(["calendar", "session_date"])
    calendars = pd.Index(sessions["calendar"].unique())
    numbered = pd.Series(
        sessions.groupby("calendar")["bar_expected"].cumsum().to_numpy(),
        index=keys(calendars.get_indexer(sessions["calendar"]), sessions["session_date"]),
    )
    calendar = calendars.get_indexer(instruments["calendar"])[bars["code"]]
    number = pd.Series(numbered.reindex(keys(calendar, bars["session_date"])).to_numpy())
    since = (number - ago(number, 1, bars["number"])).clip(lower=1)
    return bars.assign(sessions_since_previous=since.astype("Int64"))


def returns(bars: pd.DataFrame) -> pd.DataFrame:
    """Returns of the day and over horizons of the calendar, which start at the last bar on or before a day."""
    number, index, close, day = bars["number"], bars["total_return_index"], bars["close"], bars["session_date"]
    overnight = (bars["open"] + bars["dividend"]) / bars["previous_close"] - 1
    found = {
        "return_1d": bars["total_return"],
        "price_return_1d": close / bars["previous_close"] - 1,
        "log_return_1d": np.log1p(bars["total_return"]),
        "overnight_return": overnight,
        "intraday_return": close / bars["open"] - 1,
        **{f"return_{n}d": index / ago(index, n, number) - 1 for n in (5, 21)},
        "return_since_inception": (index - 1).where(number > 1),
    }
    days = pd.DatetimeIndex(np.unique(day.to_numpy()))
    place = days.get_indexer(day)
    starts = {name: days - offset for name, offset in HORIZONS.items()}
    starts["mtd"] = pd.DatetimeIndex(days.to_numpy().astype("datetime64[M]").astype("datetime64[D]") - 1)
    starts["ytd"] = pd.DatetimeIndex(days.to_numpy().astype("datetime64[Y]").astype("datetime64[D]") - 1)
    for name, start in starts.items():
        wanted = keys(bars["code"].to_numpy(), start[place])
        row = np.searchsorted(bars["key"].to_numpy(), wanted, side="right") - 1
        # Symbols are far apart, so that a bar of another one is too old as well.
        known = (row >= 0) & (wanted - bars["key"].to_numpy()[row] <= BASE_AGE)
        found[f"return_{name}"] = (index / index.to_numpy()[row] - 1).where(known)
        found[f"base_date_{name}"] = pd.Series(day.to_numpy()[row]).where(known)
        if name == "ytd":
            found["price_return_ytd"] = (close / close.to_numpy()[row] - 1).where(known)
    return bars[[*KEYS, "sessions_since_previous"]].assign(**found)


def ewma_variance(bars: pd.DataFrame) -> np.ndarray:
    """RiskMetrics (1996): seeded with the mean of the first 21 squared returns, known before the day."""
    before = (np.log1p(bars["total_return"]) ** 2).shift(1)
    number = bars["number"]
    seed = before.rolling(21).mean()
    terms = seed.where(number == 23, before).where(number >= 23)
    return terms.groupby(bars["code"]).ewm(alpha=0.06, adjust=False).mean().to_numpy()


def volatility(bars: pd.DataFrame) -> pd.DataFrame:
    """Rolling volatilities, annualised, and how unusual the one of 21 sessions is."""
    number = bars["number"]
    ok = bars["bar_quality"] == "ok"
    opened, high, low, close = (bars[name].where(ok) for name in ("open", "high", "low", "close"))
    high_low, close_open = np.log(high / low), np.log(close / opened)
    overnight = np.log((opened + bars["dividend"]) / bars["previous_close"])
    logs = pd.DataFrame(
        {"log_return": np.log1p(bars["total_return"]), "overnight": overnight, "close_open": close_open}
    )
    terms = pd.DataFrame(
        {
            "parkinson": high_low**2,
            "garman_klass": 0.5 * high_low**2 - (2 * np.log(2) - 1) * close_open**2,
            "rogers_satchell": np.log(high / close) * np.log(high / opened)
            + np.log(low / close) * np.log(low / opened),
            "overnight_square": overnight**2,
        }
    )
    found = {"ewma_094": np.sqrt(252 * ewma_variance(bars))}
    for n in WINDOWS:
        variance, mean, k = rolling(logs, n, number).var(), rolling(terms, n, number).mean(), yang_zhang_k(n)
        moved = variance["log_return"].where(lambda x: ~(x <= NO_VARIANCE), 0)
        radicands = {
            "close_to_close": moved,
            "parkinson": mean["parkinson"] / (4 * np.log(2)),
            "garman_klass": mean["garman_klass"],
            "rogers_satchell": mean["rogers_satchell"],
            "gk_yz": mean["overnight_square"] + mean["garman_klass"],
            "yang_zhang": variance["overnight"] + k * variance["close_open"] + (1 - k) * mean["rogers_satchell"],
        }
        assert set(radicands) == {"close_to_close", *RANGE_ESTIMATORS}
        found |= {f"{name}_{n}": np.sqrt(252 * x.where(x >= 0)) for name, x in radicands.items()}
    vol = found["close_to_close_21"]
    ratio = vol / non_zero(found["close_to_close_252"])
    # Of 253 the rank, equal ones sharing the middle of theirs; what differs in the last digits only is equal.
    percentile = (rolling(vol.round(12), 253, number).rank() - 1) / 252
    log_change = np.log(non_zero(vol) / non_zero(ago(vol, 1, number)))
    spike = at_least(ratio, 1.5) & at_least(percentile, 0.95)
    earlier = ago(spike.fillna(False).astype(float), 1, number).fillna(0)
    began = spike & (earlier.rolling(last(5, number), min_periods=1).max() == 0)
    return bars[KEYS].assign(
        **found,
        volatility_percentile_252=percentile,
        volatility_of_volatility_63=rolling(log_change, 63, number).std(),
        volatility_ratio_21_252=ratio,
        is_volatility_spike=spike,
        spike_began=began,
    )


def at_least(values: pd.Series, bound: float) -> pd.Series:
    """Whether values reach a bound; unknown ones leave it open."""
    return (values >= bound).astype("boolean").mask(values.isna())


def trend(bars: pd.DataFrame) -> pd.DataFrame:
    """Drawdown, extremes of a year and averages; what differs in the last digits only is equal."""
    number, close, index, day = bars["number"], bars["close"], bars["total_return_index"], bars["session_date"]
    row, codes = np.arange(len(bars)), bars["code"]
    days = pd.DatetimeIndex(np.unique(day.to_numpy()))
    year_ago = (days - pd.DateOffset(years=1))[days.get_indexer(day)]
    has_a_year = pd.Series(day.to_numpy()[row - number.to_numpy() + 1] <= year_ago)
    since = np.searchsorted(bars["key"].to_numpy(), keys(codes.to_numpy(), year_ago), side="right")
    since = np.maximum(since, row - number.to_numpy() + 1)
    year = close.rolling(Windows(start=since, end=row), min_periods=1)
    highest_before, lowest_before = year.max(), year.min()
    high = np.fmax(highest_before, close).where(has_a_year)
    low = np.fmin(lowest_before, close).where(has_a_year)
    sma_50, sma_200 = (rolling(close, n, number).mean() for n in (50, 200))
    to_200, of_averages = (close / sma_200).round(12), (sma_50 / sma_200).round(12)
    peak = index.groupby(codes).cummax()
    is_peak = index >= peak * (1 - 1e-12)
    # The first bar of a symbol is a peak: what is carried forward is its own.
    peak_row = np.maximum.accumulate(np.where(is_peak, row, 0))
    drawdown = (index / peak - 1).mask(is_peak, 0.0)
    up, down = (to_200 > 1.01) & (of_averages > 1.01), (to_200 < 0.99) & (of_averages < 0.99)
    below = to_200 < 1
    falls = below & (ago(to_200, 1, number) < 1) & (sma_50 < ago(sma_50, 1, number) * (1 - 1e-12))
    consolidates = up & (drawdown.round(12) > -0.2) & (close > sma_200)
    states = pd.Categorical.from_codes(np.select([up, down, sma_200.notna()], [0, 1, 2], -1), ["up", "down", "mixed"])
    verdicts = np.select([consolidates, falls, sma_200.notna()], [0, 1, 2], -1)
    unknown = ~has_a_year | highest_before.isna()
    return bars[KEYS].assign(
        drawdown=drawdown,
        peak_date=day.to_numpy()[peak_row],
        sessions_under_water=row - peak_row,
        days_under_water=(day - day.to_numpy()[peak_row]).dt.days,
        high_52w=high,
        low_52w=low,
        distance_from_52w_high=close / high - 1,
        distance_from_52w_low=close / low - 1,
        is_52w_high=(close > highest_before).astype("boolean").mask(unknown),
        is_52w_low=(close < lowest_before).astype("boolean").mask(unknown),
        sma_50=sma_50,
        sma_200=sma_200,
        trend_state=states,
        verdict=pd.Categorical.from_codes(verdicts, ["consolidation", "reversal", "unresolved"]),
        peak=peak,
        previous_high_52w=highest_before.where(has_a_year),
        previous_low_52w=lowest_before.where(has_a_year),
    )


def paired(bars: pd.DataFrame, instruments: pd.DataFrame, others: pd.DataFrame, basis: str) -> pd.DataFrame:
    """Returns r beside those of the benchmark b, on sessions on which both have one, numbered by `place`."""
    benchmark = instruments[basis].cat.codes.to_numpy()[bars["code"]]
    theirs = others.set_index("key")[["total_return", "total_return_index"]].reindex(
        keys(benchmark, bars["session_date"])
    )
    pairs = pd.DataFrame(
        {
            "key": bars["key"],
            "code": bars["code"],
            "benchmark": pd.Categorical.from_codes(benchmark, dtype=instruments[basis].dtype),
            "r": bars["total_return"],
            "b": theirs["total_return"].to_numpy(),
            "ratio": bars["total_return_index"] / theirs["total_return_index"].to_numpy(),
        }
    ).dropna(subset=["benchmark", "r", "b"], ignore_index=True)
    return pairs.assign(place=numbers(pairs["code"].to_numpy()) if len(pairs) else 0)


def of_largest(r: pd.Series, b: pd.Series, n: int) -> tuple[pd.Series, pd.Series]:
    """The pair with the largest |b| of the last n, from windows that double."""
    width = 1
    while width < n:
        step = min(width, n - width)
        stays = b.shift(step).abs() >= b.abs()
        r, b = r.mask(stays, r.shift(step)), b.mask(stays, b.shift(step))
        width += step
    return r, b


def relative(pairs: pd.DataFrame, prefix: str, excess_name: str) -> pd.DataFrame:
    """Rolling comparison of the pairs."""
    r, b, place = pairs["r"], pairs["b"], pairs["place"]
    found = {excess_name: r - b, "relative_strength_252": pairs["ratio"] / ago(pairs["ratio"], 252, place)}
    terms = pd.DataFrame({"r": r, "b": b, "rb": r * b, "rr": r * r, "bb": b * b})
    for n in (63, 252):
        mean = rolling(terms, n, place).mean()
        mean_r, mean_b = mean["r"], mean["b"]
        cov = (mean["rb"] - mean_r * mean_b) * n / (n - 1)
        var_r, var_b = (
            non_zero((mean[square] - mean[of] ** 2) * n / (n - 1), NO_VARIANCE)
            for square, of in (("rr", "r"), ("bb", "b"))
        )
        found |= {
            f"beta_{n}": cov / var_b,
            f"alpha_{n}": mean_r - cov / var_b * mean_b,
            f"r_squared_{n}": cov**2 / (var_r * var_b),
            f"correlation_{n}": cov / (np.sqrt(var_r) * np.sqrt(var_b)),
        }
    # One pair less: its share leaves covariance and variance (Welford, backwards).
    largest_r, largest_b = of_largest(r, b, 252)
    left_over = var_b * 251 - (largest_b - mean_b) ** 2 * 252 / 251
    without = (cov * 251 - (largest_r - mean_r) * (largest_b - mean_b) * 252 / 251) / left_over
    for side, holds in (("up", b > 0), ("down", b < 0)):
        sums = rolling(terms.drop(columns="rr").where(holds, 0).assign(count=holds.astype(float)), 252, place).sum()
        count = sums["count"]
        variance = non_zero(sums["bb"] - sums["b"] ** 2 / count, NO_VARIANCE)
        found[f"beta_{side}_252"] = ((sums["rb"] - sums["r"] * sums["b"] / count) / variance).where(count >= 20)
    excess = rolling(r - b, 252, place).var()
    tracking_error = np.sqrt(252 * excess.where(~(excess <= NO_VARIANCE), 0))
    growth_r, growth_b = (np.exp(rolling(np.log1p(x), 252, place).sum()) for x in (r, b))
    found |= {
        "beta_252_without_largest": without,
        "tracking_error_252": tracking_error,
        "information_ratio_252": (growth_r - growth_b) / non_zero(tracking_error),
    }
    prefixed = {prefix + name: found[name] for name in ("relative_strength_252", *RELATIVE_MEASURES)}
    # Everything that is compared here closes at the same time.
    known = {excess_name: found[excess_name], f"{prefix}beta_method": "ols"}
    return pd.DataFrame({**known, **prefixed}).set_index(pairs["key"])


def dimson(pairs: pd.DataFrame) -> pd.DataFrame:
    """Slope on the future of the same day, and the sum of those of three days (Dimson 1979), ending with today's."""
    r, b, place = pairs["r"], pairs["b"], pairs["place"]

    def covariance(x: pd.Series, y: pd.Series) -> pd.Series:
        return (x * y).rolling(252).mean() - x.rolling(252).mean() * y.rolling(252).mean()

    s33, s23, s13 = covariance(b, b), covariance(b, b.shift(1)), covariance(b, b.shift(2))
    s22, s11, s12 = s33.shift(1), s33.shift(2), s23.shift(1)
    same_day = covariance(r, b)
    c1, c2, c3 = covariance(r, b.shift(1)).shift(1), same_day.shift(1), covariance(r.shift(1), b)
    # Cofactors of the symmetric 3 x 3 matrix.
    a11, a12, a13 = s22 * s33 - s23 * s23, s13 * s23 - s12 * s33, s12 * s23 - s13 * s22
    a22, a23, a33 = s11 * s33 - s13 * s13, s12 * s13 - s11 * s23, s11 * s22 - s12 * s12
    slopes = (a11 + a12 + a13) * c1 + (a12 + a22 + a23) * c2 + (a13 + a23 + a33) * c3
    return pd.DataFrame(
        {
            "futures_symbol": pairs["benchmark"],
            "futures_beta_252": (same_day / non_zero(s33, NO_VARIANCE)).where(place >= 252),
            "futures_dimson_beta_252": (slopes / non_zero(s11 * a11 + s12 * a12 + s13 * a13)).where(place >= 254),
        }
    ).set_index(pairs["key"])


def sector_relative(
    bars: pd.DataFrame, instruments: pd.DataFrame, others: pd.DataFrame, ranks: pd.DataFrame
) -> pd.DataFrame:
    """Each instrument against its metal, its sector fund and the metal's future."""
    compared = instruments["metal_symbol"].notna() | instruments["sector_symbol"].notna()
    bars = pd.concat([bars, ranks.set_axis(bars.index)], axis=1)[compared.to_numpy()[bars["code"]]].reset_index(
        drop=True
    )
    benchmarks = {
        name: pd.Categorical.from_codes(
            instruments[name].cat.codes.to_numpy()[bars["code"]], dtype=instruments[name].dtype
        )
        for name in ("metal_symbol", "sector_symbol")
    }
    parts = [
        relative(paired(bars, instruments, others, "metal_symbol"), "", "excess_return_metal_1d"),
        relative(paired(bars, instruments, others, "sector_symbol"), "sector_", "excess_return_sector_1d"),
        dimson(paired(bars, instruments, others, "futures_symbol")),
    ]
    aligned = [part.reindex(bars["key"]).reset_index(drop=True) for part in parts]
    table = pd.concat([bars[[*KEYS, "rank_1d", "rank_21d"]].assign(**benchmarks), *aligned], axis=1)
    return table.assign(
        metal_session_date=table["session_date"].where(table["beta_method"].notna()),
        sector_session_date=table["session_date"].where(table["sector_beta_method"].notna()),
    )


def move_scores(bars: pd.DataFrame, instruments: pd.DataFrame) -> pd.DataFrame:
    """What the move rules are held against; no score knows its own day."""
    number, day_return, index, volume = (bars[x] for x in ("number", "total_return", "total_return_index", "volume"))
    median, mad, percentile = map(pd.Series, scores_among_previous(day_return.to_numpy(), 252, 1))
    enough = number > 253
    overnight = (bars["open"] + bars["dividend"]) / bars["previous_close"] - 1
    is_metal = pd.Series(instruments["is_metal"].to_numpy()[bars["code"]])
    usual_volume = ago(volume.rolling(20).median(), 1, number).where(number > 20)
    gap = number.where((bars["sessions_since_previous"] > 1).fillna(False))
    deviations = {n: ago(rolling(day_return, n, number).std(), 1, number) for n in (21, 63)}
    scores = bars[KEYS].assign(
        return_1d=day_return,
        **{f"return_{n}d": index / ago(index, n, number) - 1 for n in CUMULATIVE},
        overnight_return=overnight.where(bars["bar_quality"] == "ok"),
        volume_ratio_20=(volume / non_zero(usual_volume)).mask(is_metal),
        **{f"z_{n}": day_return / non_zero(sd, NO_VARIANCE**0.5) for n, sd in deviations.items()},
        z_ewma=(np.log1p(day_return) / non_zero(pd.Series(np.sqrt(ewma_variance(bars))))).where(
            deviations[21] > NO_VARIANCE**0.5
        ),
        robust_z_252=((day_return - median) / non_zero(1.4826 * mad)).where(enough),
        percentile_252=percentile.where(enough),
        returns_since_gap=(number - gap.groupby(bars["code"]).ffill()).astype("Int64"),
    )
    return scores[day_return.notna()]


def rank_miners(market: Market, instruments: pd.DataFrame) -> pd.DataFrame:
    """The places of every bar's returns among the miners of its metal and session, in the order of the batches."""
    metal, _ = pd.factorize(instruments["metal"])
    is_miner = instruments["tier"].isin(MINERS).to_numpy()
    narrow = []
    for symbols in market.batches():
        bars = read_bars(market, symbols, instruments, (*KEYS, "close", "dividend"))
        month = bars["total_return_index"] / ago(bars["total_return_index"], 21, bars["number"]) - 1
        found = pd.DataFrame({"rank_1d": bars["total_return"], "rank_21d": month}).round(12)
        found.loc[~is_miner[bars["code"]]] = np.nan
        narrow.append(found.assign(key=keys(metal[bars["code"]], bars["session_date"])))
    every = pd.concat(narrow, ignore_index=True)
    return every.groupby("key").rank(method="min", ascending=False).astype("Int64")


def program(market: Market, tables: Tables) -> None:
    """Every table of every batch."""
    instruments = read_instruments(market)
    ranks, done = rank_miners(market, instruments), 0
    named = set().union(*(instruments[f"{basis}_symbol"].dropna() for basis in ("metal", "sector", "futures")))
    others = read_bars(market, sorted(named), instruments, (*KEYS, "close", "dividend"))
    for symbols in market.batches():
        bars = with_sessions(read_bars(market, symbols, instruments, BARS), market, instruments)
        computed = {
            "returns": returns(bars),
            "volatility": volatility(bars),
            "trend": trend(bars),
            "sector_relative": sector_relative(bars, instruments, others, ranks.iloc[done : done + len(bars)]),
            "int_move_scores": move_scores(bars, instruments),
        }
        for name, frame in computed.items():
            tables.write(name, to_arrow(frame, name))
        done += len(bars)


if __name__ == "__main__":
    main(program)
