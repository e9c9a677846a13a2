"""The tables of the marts in Polars: what a program without a warehouse would compute, as fast as Polars does it.

    python benchmarks/peers/polars_program.py HOME OUT

reads the lake and the control tables of the SIMULATED market of HOME and writes returns, volatility, trend,
sector_relative and int_move_scores, with the columns of the models of these names. Formulas: docs/measures.md.

Bars are sorted by symbol and session, and windows run over the whole column: what reaches into the symbol before is
masked by the number of the bar, or unknown because a first return is. That is twice as fast as `over("symbol")`, for
shifts twenty times.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import polars as pl
from common import (
    BARS,
    BASE_AGE,
    COLUMNS,
    CUMULATIVE,
    MINERS,
    NO_VARIANCE,
    RANGE_ESTIMATORS,
    SOURCE,
    WINDOWS,
    Market,
    Tables,
    main,
    scores_among_previous,
    yang_zhang_k,
)
from polars import col, lit, when

KEYS = ("symbol", "session_date")
NUMBER, PLACE = col.bar_number, col.place
OK = col.bar_quality == "ok"
# The streaming engine, which is the default, takes three times as long for shifts and windows.
WINDOWED = "in-memory"
OVERNIGHT = (col.open + col.dividend) / col.previous_close


def ago(value: pl.Expr, n: int, number: pl.Expr = NUMBER) -> pl.Expr:
    """The value n rows ago in the series."""
    return when(number > n).then(value.shift(n))


def full(window: pl.Expr, n: int, number: pl.Expr = NUMBER) -> pl.Expr:
    """A window of n rows, where the series has as many."""
    return when(number >= n).then(window)


def non_zero(value: pl.Expr, least: float = 0) -> pl.Expr:
    """The value, unknown where it is zero; nothing is divided by that."""
    return when(value.abs() > least).then(value)


def variance(value: pl.Expr, n: int) -> pl.Expr:
    """Of the last n, without what rounding leaves."""
    rolled = value.rolling_var(n)
    return when(rolled > NO_VARIANCE).then(rolled).when(rolled.is_not_null()).then(0.0)


def numbered(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Rows numbered from 1 within their symbol."""
    return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("symbol").alias(name))


def read_instruments(market: Market) -> pl.DataFrame:
    """Instruments with what they are compared with; symbols are numbers that sort like their names."""
    table = pl.DataFrame(market.control("instruments"))
    symbols = pl.Enum(table["symbol"].sort())
    is_metal = col.asset_class == "metal"
    futures = table.filter(is_metal).group_by("metal").agg(future=col.symbol.min())
    return (
        table.join(futures, on="metal", how="left")
        .with_columns(is_metal=is_metal, futures_symbol=when(~is_metal).then("future"))
        .with_columns(col("symbol", "metal_symbol", "sector_symbol", "futures_symbol").cast(symbols))
    )


def read_bars(market: Market, symbols: list[str], instruments: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Columns of the bars of some symbols beside each bar's past, sorted."""
    bars = (
        pl.scan_parquet(market.bars)
        # The range lets whole files be passed over.
        .filter(col.symbol.is_between(lit(symbols[0]), lit(symbols[-1])), col.symbol.is_in(symbols))
        .select(columns)
        .with_columns(col.symbol.cast(instruments.schema["symbol"]))
        .collect()
        .sort(*KEYS)
    )
    return (
        numbered(bars, "bar_number")
        .with_columns(previous_close=ago(col.close, 1))
        .with_columns(total_return=(col.close + col.dividend) / col.previous_close - 1)
        .with_columns(total_return_index=(col.total_return.fill_null(0) + 1).cum_prod().over("symbol"))
    )


def with_sessions(bars: pl.DataFrame, market: Market, instruments: pl.DataFrame) -> pl.DataFrame:
    """Bars with the sessions since the one before, counted where a bar is expected."""
    count = col.bar_expected.cum_sum().over("calendar").cast(pl.Int64)
    sessions = pl.DataFrame(market.control("sessions")).sort("calendar", "session_date")
    since = col.session_number - ago(col.session_number, 1)
    return (
        bars.join(instruments.select("symbol", "calendar"), on="symbol", how="left", maintain_order="left")
        .join(
            sessions.select("calendar", "session_date", session_number=count),
            on=["calendar", "session_date"],
            how="left",
            maintain_order="left",
        )
        .with_columns(sessions_since_previous=when(NUMBER > 1).then(since.clip(1)))
    )


def returns(bars: pl.DataFrame) -> pl.DataFrame:
    """Returns of the day and over horizons of the calendar, which start at the last bar on or before a day."""
    day, index = col.session_date, col.total_return_index
    horizons = {
        "1w": day.dt.offset_by("-1w"),
        **{name: day.dt.offset_by(f"-{n}mo") for name, n in (("1m", 1), ("3m", 3), ("6m", 6), ("1y", 12))},
        "mtd": day.dt.month_start().dt.offset_by("-1d"),
        "ytd": day.dt.truncate("1y").dt.offset_by("-1d"),
    }
    calendar = bars.select(day.unique()).with_columns(**horizons)
    starts = bars.select(*KEYS).join(calendar, on="session_date", maintain_order="left")
    bases = bars.select("symbol", day, base_date=day, base_index=index, base_close="close")
    found = []
    for name in horizons:
        base = starts.select("symbol", name).join_asof(
            bases, left_on=name, right_on="session_date", by="symbol", tolerance=f"{BASE_AGE}d", check_sortedness=False
        )
        found += [
            (index / base["base_index"] - 1).alias(f"return_{name}"),
            base["base_date"].alias(f"base_date_{name}"),
        ]
        if name == "ytd":
            found.append((col.close / base["base_close"] - 1).alias("price_return_ytd"))
    return bars.with_columns(
        *found,
        return_1d=col.total_return,
        price_return_1d=col.close / col.previous_close - 1,
        log_return_1d=col.total_return.log1p(),
        overnight_return=OVERNIGHT - 1,
        intraday_return=col.close / col.open - 1,
        **{f"return_{n}d": index / ago(index, n) - 1 for n in (5, 21)},
        return_since_inception=when(NUMBER > 1).then(index - 1),
    )


def ewma_variance() -> pl.Expr:
    """RiskMetrics (1996): seeded with the mean of the first 21 squared returns, known before the day."""
    square = col.total_return.log1p().pow(2)
    terms = when(NUMBER == 23).then(square.shift(1).rolling_mean(21)).when(NUMBER > 23).then(square.shift(1))
    return terms.ewm_mean(alpha=0.06, adjust=False).over("symbol")


def volatility(bars: pl.DataFrame) -> pl.DataFrame:
    """Rolling volatilities, annualised, and how unusual the one of 21 sessions is."""
    high_low, close_open = (col.high / col.low).log(), (col.close / col.open).log()
    at_high = (col.high / col.close).log() * (col.high / col.open).log()
    at_low = (col.low / col.close).log() * (col.low / col.open).log()
    terms = {
        "log_return": col.total_return.log1p(),
        "parkinson": when(OK).then(high_low**2),
        "garman_klass": when(OK).then(0.5 * high_low**2 - (2 * lit(2.0).log() - 1) * close_open**2),
        "rogers_satchell": when(OK).then(at_high + at_low),
        "overnight": when(OK).then(OVERNIGHT.log()),
        "close_open": when(OK).then(close_open),
    }
    radicands = {}
    for n in WINDOWS:
        k = yang_zhang_k(n)
        parkinson, garman_klass, rogers_satchell = (
            full(col(f"{name}").rolling_mean(n), n) for name in ("parkinson", "garman_klass", "rogers_satchell")
        )
        radicands |= {
            f"close_to_close_{n}": variance(col.log_return, n),
            f"parkinson_{n}": parkinson / (4 * lit(2.0).log()),
            f"garman_klass_{n}": garman_klass,
            f"rogers_satchell_{n}": rogers_satchell,
            f"gk_yz_{n}": (col.overnight**2).rolling_mean(n) + garman_klass,
            f"yang_zhang_{n}": (
                col.overnight.rolling_var(n) + k * col.close_open.rolling_var(n) + (1 - k) * rogers_satchell
            ),
        }
    assert {name.rpartition("_")[0] for name in radicands} == {"close_to_close", *RANGE_ESTIMATORS}
    now, percentile, spike = col.close_to_close_21, col.volatility_percentile_252, col.is_volatility_spike
    spikes_before = spike.cast(pl.Int8).shift(1).rolling_max(5, min_samples=1).fill_null(0)
    return (
        bars.lazy()
        .select(*KEYS, NUMBER, ewma_094=(252 * ewma_variance()).sqrt(), **terms)
        .with_columns(**radicands)
        .with_columns(when(col(name) >= 0).then((252 * col(name)).sqrt()).alias(name) for name in radicands)
        .with_columns(
            # Of 253 the rank, equal ones sharing the middle of theirs; what differs in the last digits only is equal.
            volatility_percentile_252=(now.round(12).rolling_rank(253) - 1) / 252,
            log_change=(non_zero(now) / non_zero(ago(now, 1))).log(),
            volatility_ratio_21_252=now / non_zero(col.close_to_close_252),
        )
        .with_columns(
            volatility_of_volatility_63=col.log_change.rolling_std(63),
            is_volatility_spike=(col.volatility_ratio_21_252 >= 1.5) & (percentile >= 0.95),
        )
        # No symbol has a spike among its first five bars.
        .with_columns(spike_began=spike & ((NUMBER <= 5) | (spikes_before == 0)))
        .collect(engine=WINDOWED)
    )


def trend(bars: pl.DataFrame) -> pl.DataFrame:
    """Drawdown, extremes of a year and averages; what differs in the last digits only is equal."""
    day, close, index = col.session_date, col.close, col.total_return_index
    known = when(col.has_a_year)
    high, low = pl.max_horizontal("highest_before", "close"), pl.min_horizontal("lowest_before", "close")
    up = (col.close_to_200 > 1.01) & (col.sma_50_to_200 > 1.01)
    down = (col.close_to_200 < 0.99) & (col.sma_50_to_200 < 0.99)
    below = col.close_to_200 < 1
    consolidates = up & (col.drawdown.round(12) > -0.2) & (close > col.sma_200)
    reverses = below & ago(below, 1) & (col.sma_50 < ago(col.sma_50, 1) * (1 - 1e-12))
    unresolved = when(col.sma_200.is_not_null()).then(lit("unresolved"))
    return (
        bars.lazy()
        .select(
            *KEYS,
            NUMBER,
            close,
            index,
            peak=index.cum_max().over("symbol"),
            has_a_year=day.first().over("symbol") <= day.dt.offset_by("-1y"),
            highest_before=close.rolling_max_by("session_date", "1y", closed="none").over("symbol"),
            lowest_before=close.rolling_min_by("session_date", "1y", closed="none").over("symbol"),
            **{f"sma_{n}": full(close.rolling_mean(n), n) for n in (50, 200)},
        )
        .with_columns(
            is_peak=index >= col.peak * (1 - 1e-12),
            close_to_200=(close / col.sma_200).round(12),
            sma_50_to_200=(col.sma_50 / col.sma_200).round(12),
        )
        .with_columns(
            drawdown=when("is_peak").then(0.0).otherwise(index / col.peak - 1),
            # The first bar of a symbol is a peak: what is carried forward is its own.
            peak_date=when("is_peak").then(day).forward_fill(),
            peak_number=when("is_peak").then(NUMBER).forward_fill(),
        )
        .with_columns(
            sessions_under_water=NUMBER - col.peak_number,
            days_under_water=(day - col.peak_date).dt.total_days(),
            high_52w=known.then(high),
            low_52w=known.then(low),
            previous_high_52w=known.then(col.highest_before),
            previous_low_52w=known.then(col.lowest_before),
            distance_from_52w_high=known.then(close / high - 1),
            distance_from_52w_low=known.then(close / low - 1),
            is_52w_high=known.then(close > col.highest_before),
            is_52w_low=known.then(close < col.lowest_before),
            trend_state=when(up)
            .then(lit("up"))
            .when(down)
            .then(lit("down"))
            .when(col.sma_200.is_not_null())
            .then(lit("mixed")),
            verdict=when(consolidates)
            .then(lit("consolidation"))
            .when(reverses)
            .then(lit("reversal"))
            .otherwise(unresolved),
        )
        .collect(engine=WINDOWED)
    )


def paired(bars: pl.DataFrame, instruments: pl.DataFrame, others: pl.DataFrame, basis: str) -> pl.LazyFrame:
    """Returns r beside those of the benchmark b, on sessions on which both have one, numbered by `place`.

    `row` is that of the bar.
    """
    theirs = others.select(
        benchmark="symbol", session_date="session_date", b="total_return", b_index="total_return_index"
    )
    pairs = (
        bars.select("row", *KEYS, "total_return", "total_return_index")
        .join(instruments.select("symbol", benchmark=basis).drop_nulls(), on="symbol", maintain_order="left")
        .join(theirs, on=["benchmark", "session_date"], maintain_order="left")
        .filter(col.total_return.is_not_null(), col.b.is_not_null())
        .select("row", "symbol", "benchmark", "b", r="total_return", ratio=col.total_return_index / col.b_index)
    )
    return numbered(pairs, "place").lazy()


def with_largest(pairs: pl.LazyFrame, n: int) -> pl.LazyFrame:
    """The pairs beside that with the largest |b| of the last n, from windows that double."""
    found, width = pairs.with_columns(largest_r=col.r, largest_b=col.b), 1
    while width < n:
        step = min(width, n - width)
        stays = col.largest_b.shift(step).abs() >= col.largest_b.abs()
        found = found.with_columns(
            when(stays).then(col(name).shift(step)).otherwise(col(name)) for name in ("largest_r", "largest_b")
        )
        width += step
    return found


def relative(pairs: pl.LazyFrame, prefix: str, excess_name: str) -> pl.DataFrame:
    """Rolling comparison of the pairs."""
    r, b = col.r, col.b
    terms = {"r": r, "b": b, "rb": r * b, "rr": r * r, "bb": b * b}
    rolled = {f"{name}_{n}": full(term.rolling_mean(n), n, PLACE) for n in (63, 252) for name, term in terms.items()}
    rolled |= {
        f"{name}_{side}": when(holds).then(term).otherwise(0.0).rolling_sum(252)
        for side, holds in (("up", b > 0), ("down", b < 0))
        for name, term in ({"is": lit(1.0)} | terms).items()
        if name != "rr"
    }
    rolled |= {f"growth_{name}": terms[name].log1p().rolling_sum(252).exp() for name in ("r", "b")}
    moments = {}
    measures = {}
    for n in (63, 252):
        mean_r, mean_b = col(f"r_{n}"), col(f"b_{n}")
        moments |= {
            f"cov_{n}": (col(f"rb_{n}") - mean_r * mean_b) * n / (n - 1),
            f"var_r_{n}": non_zero((col(f"rr_{n}") - mean_r**2) * n / (n - 1), NO_VARIANCE),
            f"var_b_{n}": non_zero((col(f"bb_{n}") - mean_b**2) * n / (n - 1), NO_VARIANCE),
        }
        cov, var_r, var_b = (col(f"{name}_{n}") for name in ("cov", "var_r", "var_b"))
        measures |= {
            f"beta_{n}": cov / var_b,
            f"alpha_{n}": mean_r - cov / var_b * mean_b,
            f"r_squared_{n}": cov**2 / (var_r * var_b),
            f"correlation_{n}": cov / (var_r.sqrt() * var_b.sqrt()),
        }
    for side in ("up", "down"):
        count, sum_r, sum_b, rb, bb = (col(f"{name}_{side}") for name in ("is", "r", "b", "rb", "bb"))
        slope = (rb - sum_r * sum_b / count) / non_zero(bb - sum_b * sum_b / count, NO_VARIANCE)
        measures[f"beta_{side}_252"] = when((PLACE >= 252) & (count >= 20)).then(slope)
    # One pair less: its share leaves covariance and variance (Welford, backwards).
    away_r, away_b = col.largest_r - mean_r, col.largest_b - mean_b
    measures |= {
        "beta_252_without_largest": (cov * 251 - away_r * away_b * 252 / 251) / (var_b * 251 - away_b**2 * 252 / 251),
        "tracking_error_252": col.tracking_error,
        "information_ratio_252": (col.growth_r - col.growth_b) / non_zero(col.tracking_error),
        "relative_strength_252": col.ratio / ago(col.ratio, 252, PLACE),
    }
    return (
        with_largest(pairs, 252)
        .with_columns(**rolled, tracking_error=full((252 * variance(r - b, 252)).sqrt(), 252, PLACE))
        .with_columns(**moments)
        # Everything that is compared here closes at the same time.
        .with_columns(lit("ols").alias(f"{prefix}beta_method"))
        .select(
            "row",
            f"{prefix}beta_method",
            (r - b).alias(excess_name),
            *(value.alias(prefix + name) for name, value in measures.items()),
        )
        .collect(engine=WINDOWED)
    )


def dimson(pairs: pl.LazyFrame) -> pl.DataFrame:
    """Slope on the future of the same day, and the sum of those of three days (Dimson 1979), ending with today's."""
    # r and b of today, the day before and two days before; windows of all pairs of them end with today
    series = {"r": col.r, "b": col.b, "r1": col.r.shift(1), "b1": col.b.shift(1), "b2": col.b.shift(2)}
    products = {
        "bb": ("b", "b"),
        "bb1": ("b", "b1"),
        "bb2": ("b", "b2"),
        "rb": ("r", "b"),
        "rb1": ("r", "b1"),
        "r1b": ("r1", "b"),
    }
    means = {f"mean_{name}": value.rolling_mean(252) for name, value in series.items()}
    means |= {name: (series[x] * series[y]).rolling_mean(252) for name, (x, y) in products.items()}
    covariances = {name: col(name) - col(f"mean_{x}") * col(f"mean_{y}") for name, (x, y) in products.items()}
    s33, s23, s13 = col.bb, col.bb1, col.bb2
    s22, s11, s12 = s33.shift(1), s33.shift(2), s23.shift(1)
    c1, c2, c3 = col.rb1.shift(1), col.rb.shift(1), col.r1b
    # Cofactors of the symmetric 3 x 3 matrix.
    a11, a12, a13 = s22 * s33 - s23 * s23, s13 * s23 - s12 * s33, s12 * s23 - s13 * s22
    a22, a23, a33 = s11 * s33 - s13 * s13, s12 * s13 - s11 * s23, s11 * s22 - s12 * s12
    slopes = (a11 + a12 + a13) * c1 + (a12 + a22 + a23) * c2 + (a13 + a23 + a33) * c3
    return (
        pairs.with_columns(**means)
        .with_columns(**covariances)
        .select(
            "row",
            futures_symbol="benchmark",
            futures_beta_252=full(col.rb / non_zero(col.bb, NO_VARIANCE), 252, PLACE),
            futures_dimson_beta_252=full(slopes / non_zero(s11 * a11 + s12 * a12 + s13 * a13), 254, PLACE),
        )
        .collect(engine=WINDOWED)
    )


def sector_relative(
    bars: pl.DataFrame, instruments: pl.DataFrame, others: pl.DataFrame, ranks: pl.DataFrame
) -> pl.DataFrame:
    """Each instrument against its metal, its sector fund and the metal's future."""
    compared = instruments.filter(col.metal_symbol.is_not_null() | col.sector_symbol.is_not_null())
    frame = (
        pl.concat([bars.select(*KEYS, "total_return", "total_return_index"), ranks], how="horizontal")
        .join(compared.select("symbol", "metal_symbol", "sector_symbol"), on="symbol", maintain_order="left")
        .with_row_index("row")
    )
    parts = (
        relative(paired(frame, compared, others, "metal_symbol"), "", "excess_return_metal_1d"),
        relative(paired(frame, compared, others, "sector_symbol"), "sector_", "excess_return_sector_1d"),
        dimson(paired(frame, compared, others, "futures_symbol")),
    )
    for part in parts:
        frame = frame.join(part, on="row", how="left", maintain_order="left")
    return frame.with_columns(
        metal_session_date=when(col.beta_method.is_not_null()).then(col.session_date),
        sector_session_date=when(col.sector_beta_method.is_not_null()).then(col.session_date),
    )


def move_scores(bars: pl.DataFrame, instruments: pl.DataFrame) -> pl.DataFrame:
    """What the move rules are held against; no score knows its own day."""
    today, index = col.total_return, col.total_return_index
    values = bars["total_return"].fill_null(float("nan")).to_numpy()
    median, mad, percentile = map(pl.Series, scores_among_previous(values, 252, pl.thread_pool_size()))
    gap = when((NUMBER > 1) & (col.sessions_since_previous > 1)).then(NUMBER)
    return (
        bars.lazy()
        .join(instruments.select("symbol", "is_metal").lazy(), on="symbol", how="left", maintain_order="left")
        .select(
            *KEYS,
            return_1d=today,
            **{f"return_{n}d": index / ago(index, n) - 1 for n in CUMULATIVE},
            overnight_return=when(OK).then(OVERNIGHT - 1),
            volume_ratio_20=when(~col.is_metal).then(
                col.volume / non_zero(when(NUMBER > 20).then(col.volume.rolling_median(20).shift(1)))
            ),
            **{f"z_{n}": today / non_zero(variance(today, n).shift(1).sqrt()) for n in (21, 63)},
            z_ewma=when(variance(today, 21).shift(1) > 0).then(today.log1p() / non_zero(ewma_variance().sqrt())),
            robust_z_252=when(NUMBER > 253).then((today - median) / non_zero(1.4826 * lit(mad))),
            percentile_252=when(NUMBER > 253).then(percentile),
            returns_since_gap=NUMBER - gap.forward_fill().over("symbol"),
        )
        .filter(col.return_1d.is_not_null())
        .collect(engine=WINDOWED)
    )


def rank_miners(market: Market, instruments: pl.DataFrame) -> pl.DataFrame:
    """The places of every bar's returns among the miners of its metal and session, in the order of the batches."""
    index = col.total_return_index
    miners = instruments.select("symbol", col.metal.cast(pl.Categorical), is_miner=col.tier.is_in(MINERS))
    narrow = [
        read_bars(market, symbols, instruments, (*KEYS, "close", "dividend"))
        .join(miners, on="symbol", how="left", maintain_order="left")
        .select(
            "metal",
            "session_date",
            rank_1d=when("is_miner").then(col.total_return.round(12)),
            rank_21d=when("is_miner").then((index / ago(index, 21) - 1).round(12)),
        )
        for symbols in market.batches()
    ]
    return pl.concat(narrow).select(
        col("rank_1d", "rank_21d").rank("min", descending=True).over("metal", "session_date").cast(pl.Int64)
    )


def program(market: Market, tables: Tables) -> None:
    """Every table of every batch."""
    instruments = read_instruments(market)
    ranks, done = rank_miners(market, instruments), 0
    named = pl.concat([instruments[f"{basis}_symbol"] for basis in ("metal", "sector", "futures")]).drop_nulls()
    others = read_bars(market, sorted(set(named.cast(str))), instruments, (*KEYS, "close", "dividend"))
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        for symbols in market.batches():
            bars = with_sessions(read_bars(market, symbols, instruments, BARS), market, instruments)
            # A table is computed beside the other ones and their writing: most of its steps are those of one thread.
            compute = {
                "sector_relative": partial(sector_relative, bars, instruments, others, ranks.slice(done, len(bars))),
                "int_move_scores": partial(move_scores, bars, instruments),
                "volatility": partial(volatility, bars),
                "returns": partial(returns, bars),
                "trend": partial(trend, bars),
            }
            list(pool.map(partial(write, tables), compute, compute.values()))
            done += len(bars)


def write(tables: Tables, name: str, compute: Callable[[], pl.DataFrame]) -> None:
    """Compute a table of a batch and write its columns."""
    tables.write(name, compute().with_columns(source=lit(SOURCE)).select(COLUMNS[name]).to_arrow())


if __name__ == "__main__":
    main(program)
