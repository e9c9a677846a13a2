"""The tables of the marts in Polars: what a program without a warehouse would compute, as fast as Polars does it.

    python benchmarks/peers/polars_program.py HOME OUT

reads the lake and the control tables of the SIMULATED market of HOME and writes returns, volatility, trend,
sector_relative and int_move_scores, with the columns of the models of these names. Formulas: docs/measures.md.

Bars are sorted by symbol and session, and windows run over the whole column: what reaches into the symbol before is
masked by the number of the bar. That is twice as fast as `over("symbol")`, for shifts twenty times.
"""

import polars as pl
from common import (
    BARS,
    BASE_AGE,
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

KEYS = ("symbol", "session_date")
NUMBER = pl.col("bar_number")
OK = pl.col("bar_quality") == "ok"
PREVIOUS = ("previous_close", "total_return", "total_return_index")


def ago(column: str | pl.Expr, n: int, number: pl.Expr = NUMBER) -> pl.Expr:
    """The value n rows ago in the series."""
    column = pl.col(column) if isinstance(column, str) else column
    return pl.when(number > n).then(column.shift(n))


def full(window: pl.Expr, n: int, number: pl.Expr = NUMBER) -> pl.Expr:
    """A window of n rows, where the series has as many."""
    return pl.when(number >= n).then(window)


def non_zero(value: pl.Expr, least: float = 0) -> pl.Expr:
    """The value, unknown where it is zero; nothing is divided by that."""
    return pl.when(value.abs() > least).then(value)


def numbered(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Rows numbered from 1 within their symbol."""
    return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("symbol").alias(name))


def read_instruments(market: Market) -> pl.DataFrame:
    """Instruments with what they are compared with; symbols are numbers that sort like their names."""
    table = pl.DataFrame(market.control("instruments"))
    symbols = pl.Enum(table["symbol"].sort())
    futures = (
        table.filter(pl.col("asset_class") == "metal").group_by("metal").agg(futures_symbol=pl.col("symbol").min())
    )
    is_metal = pl.col("asset_class") == "metal"
    return (
        table.join(futures, on="metal", how="left")
        .with_columns(pl.when(~is_metal).then("futures_symbol").alias("futures_symbol"), is_metal=is_metal)
        .with_columns(pl.col("symbol", "metal_symbol", "sector_symbol", "futures_symbol").cast(symbols))
    )


def read_bars(market: Market, symbols: list[str], instruments: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Columns of the bars of some symbols beside each bar's past, sorted."""
    bars = (
        pl.scan_parquet(market.bars)
        # The range lets whole files be passed over.
        .filter(pl.col("symbol").is_between(pl.lit(symbols[0]), pl.lit(symbols[-1])), pl.col("symbol").is_in(symbols))
        .select(columns)
        .with_columns(pl.col("symbol").cast(instruments.schema["symbol"]))
        .collect()
        .sort(*KEYS)
    )
    return (
        numbered(bars, "bar_number")
        .with_columns(previous_close=ago("close", 1))
        .with_columns(total_return=(pl.col("close") + pl.col("dividend")) / pl.col("previous_close") - 1)
        .with_columns(total_return_index=(pl.col("total_return").fill_null(0) + 1).cum_prod().over("symbol"))
    )


def with_sessions(bars: pl.DataFrame, market: Market, instruments: pl.DataFrame) -> pl.DataFrame:
    """Bars with the sessions since the one before, counted where a bar is expected."""
    sessions = (
        pl.DataFrame(market.control("sessions"))
        .sort("calendar", "session_date")
        .select("calendar", "session_date", session_number=pl.col("bar_expected").cum_sum().over("calendar"))
    )
    number = pl.col("session_number").cast(pl.Int64)
    return (
        bars.join(instruments.select("symbol", "calendar"), on="symbol", how="left", maintain_order="left")
        .join(sessions, on=["calendar", "session_date"], how="left", maintain_order="left")
        .with_columns(sessions_since_previous=pl.max_horizontal(number - ago(number, 1), pl.when(NUMBER > 1).then(1)))
        .drop("calendar", "session_number")
    )


def returns(bars: pl.DataFrame) -> pl.DataFrame:
    """Returns of the day and over horizons of the calendar, which start at the last bar on or before a day."""
    day, index = pl.col("session_date"), pl.col("total_return_index")
    horizons = {
        "1w": day.dt.offset_by("-1w"),
        **{name: day.dt.offset_by(f"-{n}mo") for name, n in (("1m", 1), ("3m", 3), ("6m", 6), ("1y", 12))},
        "mtd": day.dt.month_start().dt.offset_by("-1d"),
        "ytd": day.dt.truncate("1y").dt.offset_by("-1d"),
    }
    calendar = bars.select(day.unique()).with_columns(**horizons)
    bases = bars.select("symbol", day, base_date=day, base_index=index, base_close="close")
    wide = bars.join(calendar, on="session_date", maintain_order="left")
    for name in horizons:
        found = wide.select("symbol", name).join_asof(
            bases,
            left_on=name,
            right_on="session_date",
            by="symbol",
            tolerance=f"{BASE_AGE}d",
            check_sortedness=False,
        )
        wide = wide.with_columns(
            (index / found["base_index"] - 1).alias(f"return_{name}"), found["base_date"].alias(f"base_date_{name}")
        )
    return wide.select(
        *KEYS,
        return_1d="total_return",
        price_return_1d=pl.col("close") / pl.col("previous_close") - 1,
        log_return_1d=pl.col("total_return").log1p(),
        overnight_return=(pl.col("open") + pl.col("dividend")) / pl.col("previous_close") - 1,
        intraday_return=pl.col("close") / pl.col("open") - 1,
        **{f"return_{n}d": index / ago(index, n) - 1 for n in (5, 21)},
        **{
            f"{what}_{name}": pl.col(f"{what}_{name}")
            for name in horizons
            if name != "ytd"
            for what in ("return", "base_date")
        },
        return_ytd="return_ytd",
        price_return_ytd=pl.col("close") / found["base_close"] - 1,  # the last horizon is the year
        base_date_ytd="base_date_ytd",
        return_since_inception=pl.when(NUMBER > 1).then(index - 1),
        sessions_since_previous="sessions_since_previous",
        source=pl.lit(SOURCE),
    )


def ewma_variance() -> pl.Expr:
    """RiskMetrics (1996): seeded with the mean of the first 21 squared returns, known before the day."""
    square = pl.col("total_return").log1p().pow(2)
    terms = pl.when(NUMBER == 23).then(square.shift(1).rolling_mean(21)).when(NUMBER > 23).then(square.shift(1))
    return terms.ewm_mean(alpha=0.06, adjust=False).over("symbol")


def volatility(bars: pl.DataFrame) -> pl.DataFrame:
    """Rolling volatilities, annualised, and how unusual the one of 21 sessions is."""
    high_low, close_open = (pl.col("high") / pl.col("low")).log(), (pl.col("close") / pl.col("open")).log()
    high_close, high_open = (pl.col("high") / pl.col("close")).log(), (pl.col("high") / pl.col("open")).log()
    low_close, low_open = (pl.col("low") / pl.col("close")).log(), (pl.col("low") / pl.col("open")).log()
    overnight = ((pl.col("open") + pl.col("dividend")) / pl.col("previous_close")).log()
    terms = bars.lazy().select(
        *KEYS,
        NUMBER,
        ewma=(252 * ewma_variance()).sqrt(),
        log_return=pl.col("total_return").log1p(),
        parkinson=pl.when(OK).then(high_low**2),
        garman_klass=pl.when(OK).then(0.5 * high_low**2 - (2 * pl.lit(2.0).log() - 1) * close_open**2),
        rogers_satchell=pl.when(OK).then(high_close * high_open + low_close * low_open),
        overnight=pl.when(OK).then(overnight),
        close_open=pl.when(OK).then(close_open),
    )
    rolled = {}
    for n in WINDOWS:
        k = yang_zhang_k(n)
        mean = {
            name: full(pl.col(name).rolling_mean(n), n) for name in ("parkinson", "garman_klass", "rogers_satchell")
        }
        variance = pl.col("overnight").rolling_var(n) + k * pl.col("close_open").rolling_var(n)
        rolled |= {
            f"close_to_close_{n}": 252 * pl.col("log_return").rolling_var(n),
            f"parkinson_{n}": 252 / (4 * pl.lit(2.0).log()) * mean["parkinson"],
            f"garman_klass_{n}": 252 * mean["garman_klass"],
            f"rogers_satchell_{n}": 252 * mean["rogers_satchell"],
            f"gk_yz_{n}": 252 * (pl.col("overnight").pow(2).rolling_mean(n) + mean["garman_klass"]),
            f"yang_zhang_{n}": 252 * (variance + (1 - k) * mean["rogers_satchell"]),
        }
    closes = [f"close_to_close_{n}" for n in WINDOWS]
    ranges = [f"{name}_{n}" for name in RANGE_ESTIMATORS for n in WINDOWS]
    vol = pl.col("close_to_close_21")
    ratio = vol / non_zero(pl.col("close_to_close_252"))
    return (
        terms.with_columns(**rolled)
        .with_columns(
            pl.when(pl.col(name) > NO_VARIANCE).then(name).when(pl.col(name) >= 0).then(0.0).alias(name)
            for name in closes
        )
        .with_columns(pl.when(pl.col(name) >= 0).then(pl.col(name).sqrt()).alias(name) for name in closes + ranges)
        .with_columns(
            # of 253 the rank, equal ones sharing the middle of theirs; what differs in the last digits only is equal
            volatility_percentile_252=(vol.round(12).rolling_rank(253) - 1) / 252,
            log_change=(non_zero(vol) / non_zero(ago(vol, 1))).log(),
            volatility_ratio_21_252=ratio,
        )
        .with_columns(
            volatility_of_volatility_63=pl.col("log_change").rolling_std(63),
            is_volatility_spike=(ratio >= 1.5) & (pl.col("volatility_percentile_252") >= 0.95),
        )
        .select(
            *KEYS,
            *closes,
            pl.col("ewma").alias("ewma_094"),
            *ranges,
            "volatility_percentile_252",
            "volatility_of_volatility_63",
            "volatility_ratio_21_252",
            "is_volatility_spike",
            spike_began=pl.col("is_volatility_spike")
            & pl.when(NUMBER > 5)
            .then(pl.col("is_volatility_spike").cast(pl.Int8).shift(1).rolling_max(5, min_samples=1).fill_null(0) == 0)
            .otherwise(True),  # noqa: FBT003
            source=pl.lit(SOURCE),
        )
        .collect()
    )


def trend(bars: pl.DataFrame) -> pl.DataFrame:
    """Drawdown, extremes of a year and averages; what differs in the last digits only is equal."""
    day, close, index = pl.col("session_date"), pl.col("close"), pl.col("total_return_index")
    has_a_year = pl.col("has_a_year")
    high, low = pl.max_horizontal("highest_before", "close"), pl.min_horizontal("lowest_before", "close")
    sma_50, sma_200 = pl.col("sma_50"), pl.col("sma_200")
    below = pl.col("close_to_200") < 1
    return (
        bars.lazy()
        .select(
            *KEYS,
            NUMBER,
            "close",
            index,
            peak=index.cum_max().over("symbol"),
            has_a_year=day.first().over("symbol") <= day.dt.offset_by("-1y"),
            highest_before=close.rolling_max_by("session_date", "1y", closed="none").over("symbol"),
            lowest_before=close.rolling_min_by("session_date", "1y", closed="none").over("symbol"),
            sma_50=full(close.rolling_mean(50), 50),
            sma_200=full(close.rolling_mean(200), 200),
        )
        .with_columns(
            is_peak=index >= pl.col("peak") * (1 - 1e-12),
            close_to_200=(close / sma_200).round(12),
            sma_50_to_200=(sma_50 / sma_200).round(12),
        )
        # The first bar of a symbol is a peak: what is carried forward is its own.
        .with_columns(
            drawdown=pl.when("is_peak").then(0.0).otherwise(index / pl.col("peak") - 1),
            peak_date=pl.when("is_peak").then(day).forward_fill(),
            peak_number=pl.when("is_peak").then(NUMBER).forward_fill(),
            trend_state=pl.when((pl.col("close_to_200") > 1.01) & (pl.col("sma_50_to_200") > 1.01))
            .then(pl.lit("up"))
            .when((pl.col("close_to_200") < 0.99) & (pl.col("sma_50_to_200") < 0.99))
            .then(pl.lit("down"))
            .when(sma_200.is_not_null())
            .then(pl.lit("mixed")),
            falls=below & ago(below, 1) & (sma_50 < ago(sma_50, 1) * (1 - 1e-12)),
        )
        .select(
            *KEYS,
            "drawdown",
            "peak_date",
            sessions_under_water=NUMBER - pl.col("peak_number"),
            days_under_water=(day - pl.col("peak_date")).dt.total_days(),
            high_52w=pl.when(has_a_year).then(high),
            low_52w=pl.when(has_a_year).then(low),
            distance_from_52w_high=pl.when(has_a_year).then(close / high - 1),
            distance_from_52w_low=pl.when(has_a_year).then(close / low - 1),
            is_52w_high=pl.when(has_a_year).then(close > pl.col("highest_before")),
            is_52w_low=pl.when(has_a_year).then(close < pl.col("lowest_before")),
            sma_50="sma_50",
            sma_200="sma_200",
            trend_state="trend_state",
            verdict=pl.when((pl.col("trend_state") == "up") & (pl.col("drawdown").round(12) > -0.2) & (close > sma_200))
            .then(pl.lit("consolidation"))
            .when("falls")
            .then(pl.lit("reversal"))
            .when(pl.col("trend_state").is_not_null())
            .then(pl.lit("unresolved")),
            source=pl.lit(SOURCE),
        )
        .collect()
    )


def paired(bars: pl.DataFrame, instruments: pl.DataFrame, others: pl.DataFrame, basis: str) -> pl.DataFrame:
    """Returns r beside those of the benchmark b, on sessions on which both have one, numbered by `place`."""
    pairs = (
        bars.select(*KEYS, "total_return", "total_return_index")
        .join(instruments.select("symbol", benchmark=basis).drop_nulls(), on="symbol", maintain_order="left")
        .join(
            others.select(
                benchmark="symbol", session_date="session_date", b="total_return", b_index="total_return_index"
            ),
            on=["benchmark", "session_date"],
            maintain_order="left",
        )
        .filter(pl.col("total_return").is_not_null(), pl.col("b").is_not_null())
        .select(*KEYS, "benchmark", "b", r="total_return", ratio=pl.col("total_return_index") / pl.col("b_index"))
    )
    return numbered(pairs, "place")


PLACE, R, B = pl.col("place"), pl.col("r"), pl.col("b")


def of_largest(pairs: pl.LazyFrame, n: int) -> pl.LazyFrame:
    """The pair with the largest |b| of the last n, from windows that double."""
    found, width = pairs.with_columns(largest_r=R, largest_b=B), 1
    largest_r, largest_b = pl.col("largest_r"), pl.col("largest_b")
    while width < n:
        step = min(width, n - width)
        stays = largest_b.shift(step).abs() >= largest_b.abs()
        found = found.with_columns(
            largest_r=pl.when(stays).then(largest_r.shift(step)).otherwise(largest_r),
            largest_b=pl.when(stays).then(largest_b.shift(step)).otherwise(largest_b),
        )
        width += step
    return found


def relative(pairs: pl.DataFrame, prefix: str, excess_name: str) -> pl.DataFrame:
    """Rolling comparison of the pairs."""
    pairs = pairs.lazy()
    sides = {"up": B > 0, "down": B < 0}
    terms = {"r": R, "b": B, "rb": R * B, "rr": R * R, "bb": B * B}
    sums = {f"{name}_{n}": full(term.rolling_mean(n), n, PLACE) for n in (63, 252) for name, term in terms.items()}
    for side, holds in sides.items():
        for name, term in {"is": pl.lit(1.0), "r": R, "b": B, "rb": R * B, "bb": B * B}.items():
            sums[f"{name}_{side}"] = full(pl.when(holds).then(term).otherwise(0.0).rolling_sum(252), 252, PLACE)
    c = pl.col
    moments = {}
    for n in (63, 252):
        to_sample = n / (n - 1)
        moments |= {
            f"cov_{n}": (c(f"rb_{n}") - c(f"r_{n}") * c(f"b_{n}")) * to_sample,
            f"var_r_{n}": non_zero((c(f"rr_{n}") - c(f"r_{n}") ** 2) * to_sample, NO_VARIANCE),
            f"var_b_{n}": non_zero((c(f"bb_{n}") - c(f"b_{n}") ** 2) * to_sample, NO_VARIANCE),
        }
    measures = {}
    for n in (63, 252):
        cov, var_r, var_b = (c(f"{name}_{n}") for name in ("cov", "var_r", "var_b"))
        measures |= {
            f"beta_{n}": cov / var_b,
            f"alpha_{n}": c(f"r_{n}") - cov / var_b * c(f"b_{n}"),
            f"r_squared_{n}": cov**2 / (var_r * var_b),
            f"correlation_{n}": cov / (var_r.sqrt() * var_b.sqrt()),
        }
    for side in sides:
        count, r, b, rb, bb = (c(f"{name}_{side}") for name in ("is", "r", "b", "rb", "bb"))
        beta = (rb - r * b / count) / non_zero(bb - b * b / count, NO_VARIANCE)
        measures[f"beta_{side}_252"] = pl.when(count >= 20).then(beta)
    away_r, away_b = c("largest_r") - c("r_252"), c("largest_b") - c("b_252")
    # one pair less: its share leaves covariance and variance (Welford, backwards)
    left_over = c("var_b_252") * 251 - away_b**2 * 252 / 251
    tracking_error = c("sd_excess") * 252**0.5
    measures |= {
        "beta_252_without_largest": (c("cov_252") * 251 - away_r * away_b * 252 / 251) / left_over,
        "tracking_error_252": tracking_error,
        "information_ratio_252": (c("log_r").exp() - c("log_b").exp()) / non_zero(tracking_error),
    }
    variance = full((R - B).rolling_var(252), 252, PLACE)
    return (
        of_largest(pairs, 252)
        .with_columns(
            **sums,
            log_r=full(R.log1p().rolling_sum(252), 252, PLACE),
            log_b=full(B.log1p().rolling_sum(252), 252, PLACE),
            sd_excess=pl.when(variance > NO_VARIANCE).then(variance.sqrt()).when(variance.is_not_null()).then(0.0),
        )
        .with_columns(**moments)
        .select(
            *KEYS,
            (R - B).alias(excess_name),
            (c("ratio") / ago("ratio", 252, PLACE)).alias(f"{prefix}relative_strength_252"),
            *(measures[name].alias(prefix + name) for name in RELATIVE_MEASURES),
        )
        .collect()
    )


def dimson(pairs: pl.DataFrame) -> pl.DataFrame:
    """Slope on the future of the same day, and the sum of those of three days (Dimson 1979), ending with today's."""
    pairs = pairs.lazy()
    pasts = {"b1": B.shift(1), "b2": B.shift(2), "r1": R.shift(1)}
    products = {
        "bb": ("b", "b"), "bb1": ("b", "b1"), "bb2": ("b", "b2"), "rb": ("r", "b"), "rb1": ("r", "b1"), "r1b": ("r1", "b"),
    }  # fmt: skip
    c = pl.col
    means = {f"mean_{name}": c(name).rolling_mean(252) for name in ("r", "b")}
    means |= {f"mean_{name}": (c(x) * c(y)).rolling_mean(252) for name, (x, y) in products.items()}
    lags = {f"mean_{name}{n}": c(f"mean_{name}").shift(n) for name, n in (("r", 1), ("b", 1), ("b", 2))}
    covariances = {name: c(f"mean_{name}") - c(f"mean_{x}") * c(f"mean_{y}") for name, (x, y) in products.items()}
    s33, s23, s13 = c("bb"), c("bb1"), c("bb2")
    s22, s11, s12 = s33.shift(1), s33.shift(2), s23.shift(1)
    c1, c2, c3 = c("rb1").shift(1), c("rb").shift(1), c("r1b")
    # cofactors of the symmetric 3 x 3 matrix
    a11, a12, a13 = s22 * s33 - s23 * s23, s13 * s23 - s12 * s33, s12 * s23 - s13 * s22
    a22, a23, a33 = s11 * s33 - s13 * s13, s12 * s13 - s11 * s23, s11 * s22 - s12 * s12
    slopes = (a11 + a12 + a13) * c1 + (a12 + a22 + a23) * c2 + (a13 + a23 + a33) * c3
    return (
        pairs.with_columns(**pasts)
        .with_columns(**means)
        .with_columns(**lags)
        .with_columns(**covariances)
        .select(
            *KEYS,
            futures_symbol="benchmark",
            futures_beta_252=full(c("rb") / non_zero(c("bb"), NO_VARIANCE), 252, PLACE),
            futures_dimson_beta_252=full(slopes / non_zero(s11 * a11 + s12 * a12 + s13 * a13), 254, PLACE),
        )
        .collect()
    )


def sector_relative(
    bars: pl.DataFrame, instruments: pl.DataFrame, others: pl.DataFrame, ranks: pl.DataFrame
) -> pl.DataFrame:
    """Each instrument against its metal, its sector fund and the metal's future."""
    compared = instruments.filter(pl.any_horizontal(pl.col("metal_symbol", "sector_symbol").is_not_null()))
    frame = pl.concat([bars.select(*KEYS), ranks], how="horizontal").join(
        compared.select("symbol", "metal_symbol", "sector_symbol"), on="symbol", maintain_order="left"
    )
    parts = (
        relative(paired(bars, compared, others, "metal_symbol"), "", "excess_return_metal_1d"),
        relative(paired(bars, compared, others, "sector_symbol"), "sector_", "excess_return_sector_1d"),
        dimson(paired(bars, compared, others, "futures_symbol")),
    )
    for part in parts:
        frame = frame.join(part, on=KEYS, how="left", maintain_order="left")
    return frame.select(
        *KEYS,
        "metal_symbol",
        "sector_symbol",
        "excess_return_metal_1d",
        "excess_return_sector_1d",
        *(prefix + name for prefix in ("", "sector_") for name in ("relative_strength_252", *RELATIVE_MEASURES)),
        "futures_symbol",
        "futures_beta_252",
        "futures_dimson_beta_252",
        "rank_1d",
        "rank_21d",
        source=pl.lit(SOURCE),
    )


def move_scores(bars: pl.DataFrame, instruments: pl.DataFrame) -> pl.DataFrame:
    """What the move rules are held against; no score knows its own day."""
    day_return, volume, index = pl.col("total_return"), pl.col("volume"), pl.col("total_return_index")
    values = bars["total_return"].fill_null(float("nan")).to_numpy()
    medians = dict(
        zip(("median", "mad", "percentile"), scores_among_previous(values, 252, pl.thread_pool_size()), strict=True)
    )
    gap = pl.when((pl.col("sessions_since_previous") > 1) & (NUMBER > 1)).then(NUMBER)
    return (
        bars.lazy()
        .with_columns(**{name: pl.Series(array) for name, array in medians.items()})
        .join(instruments.select("symbol", "is_metal").lazy(), on="symbol", how="left", maintain_order="left")
        .select(
            *KEYS,
            return_1d="total_return",
            **{f"return_{n}d": index / ago(index, n) - 1 for n in CUMULATIVE},
            overnight_return=pl.when(OK).then((pl.col("open") + pl.col("dividend")) / pl.col("previous_close") - 1),
            volume_ratio_20=pl.when(~pl.col("is_metal")).then(
                volume / non_zero(pl.when(NUMBER > 20).then(volume.rolling_median(20).shift(1)))
            ),
            **{f"z_{n}": day_return / non_zero(day_return.rolling_std(n).shift(1), NO_VARIANCE**0.5) for n in (21, 63)},
            z_ewma=day_return.log1p() / non_zero(ewma_variance().sqrt()),
            robust_z_252=pl.when(NUMBER > 253).then((day_return - pl.col("median")) / non_zero(1.4826 * pl.col("mad"))),
            percentile_252=pl.when(NUMBER > 253).then("percentile"),
            returns_since_gap=NUMBER - gap.forward_fill().over("symbol"),
        )
        .filter(pl.col("return_1d").is_not_null())
        .collect()
    )


def rank_miners(market: Market, instruments: pl.DataFrame) -> pl.DataFrame:
    """The places of every bar's returns among the miners of its metal and session, in the order of the batches."""
    index = pl.col("total_return_index")
    miners = instruments.select("symbol", "metal", is_miner=pl.col("tier").is_in(MINERS))
    narrow = [
        read_bars(market, symbols, instruments, (*KEYS, "close", "dividend"))
        .join(miners, on="symbol", how="left", maintain_order="left")
        .select(
            pl.col("metal").cast(pl.Categorical),
            "session_date",
            rank_1d=pl.when("is_miner").then(pl.col("total_return").round(12)),
            rank_21d=pl.when("is_miner").then((index / ago(index, 21) - 1).round(12)),
        )
        for symbols in market.batches()
    ]
    return pl.concat(narrow).select(
        pl.col("rank_1d", "rank_21d").rank("min", descending=True).over("metal", "session_date").cast(pl.Int64)
    )


def program(market: Market, tables: Tables) -> None:
    """Every table of every batch."""
    instruments = read_instruments(market)
    ranks, done = rank_miners(market, instruments), 0
    named = pl.concat(
        [instruments[name].drop_nulls().unique() for name in ("metal_symbol", "sector_symbol", "futures_symbol")]
    )
    others = read_bars(market, sorted(named.unique().cast(str)), instruments, (*KEYS, "close", "dividend"))
    for symbols in market.batches():
        bars = with_sessions(read_bars(market, symbols, instruments, BARS), market, instruments)
        computed = {
            "returns": returns(bars),
            "volatility": volatility(bars),
            "trend": trend(bars),
            "sector_relative": sector_relative(bars, instruments, others, ranks.slice(done, len(bars))),
            "int_move_scores": move_scores(bars, instruments),
        }
        for name, frame in computed.items():
            tables.write(name, frame.to_arrow())
        done += len(bars)


if __name__ == "__main__":
    main(program)
