# Golden answers of R's TTR on the S&P 500 and Nasdaq series inside the Python package `arch`.
#
#   python -m tests.golden.producers.dump_series FOLDER
#   Rscript tests/golden/producers/ttr.R FOLDER tests/golden
#
# Debian packages: r-base-core, r-cran-ttr.
suppressMessages(library(TTR))
arguments <- commandArgs(trailingOnly = TRUE)
series <- function(name) {
  frame <- read.csv(file.path(arguments[1], paste0(name, ".csv")))
  list(date = frame$Date, bars = xts::xts(frame[, c("Open", "High", "Low", "Close")], as.Date(frame$Date)))
}
written <- function(frame, name) {
  target <- gzfile(file.path(arguments[2], paste0(name, ".csv.gz")), "wb")
  text <- capture.output(write.csv(format(frame, digits = 17, trim = TRUE), row.names = FALSE, quote = FALSE))
  writeLines(text, target)
  close(target)
}
sp500 <- series("SPX")
nasdaq <- series("NDQ")
bars <- sp500$bars
close <- as.numeric(bars$Close)

volatility_table <- data.frame(date = sp500$date)
for (n in c(21, 63, 252)) {
  # TTR's close estimator counts prices: its n + 1 is our n returns.
  volatility_table[[paste0("close_to_close_", n)]] <- as.numeric(volatility(bars, n = n + 1, calc = "close", N = 252))
  for (calc in c("parkinson", "garman.klass", "rogers.satchell", "gk.yz", "yang.zhang")) {
    column <- paste0(gsub(".", "_", calc, fixed = TRUE), "_", n)
    volatility_table[[column]] <- as.numeric(volatility(bars, n = n, calc = calc, N = 252))
  }
}
# TTR ranks today's value among itself and those before it; ours is its place among those before it alone.
percentile_before <- function(values, n) {
  (runPercentRank(values, n + 1, exact.multiplier = 0.5) * (n + 1) - 0.5) / n
}
# The same over a series that starts with unknown values.
after_unknown <- function(values, call) {
  known <- which(!is.na(values))
  c(rep(NA, known[1] - 1), call(values[known]))
}
volatility_21 <- volatility_table$close_to_close_21
volatility_table$volatility_percentile_252 <-
  after_unknown(volatility_21, function(values) percentile_before(values, 252))
volatility_table$volatility_of_volatility_63 <-
  after_unknown(c(NA, diff(log(volatility_21))), function(values) runSD(values, 63))
written(volatility_table, "ttr_volatility_sp500")

returns <- c(NA, close[-1] / close[-length(close)] - 1)
lagged <- function(values) c(NA, values[-length(values)])
score_table <- data.frame(date = sp500$date)
score_table$sma_50 <- SMA(close, 50)
score_table$sma_200 <- SMA(close, 200)
# 52 weeks are (date - 1 year, date]: as many bars as lie in it on each date, the length of TTR's window.
dates <- as.Date(sp500$date)
year_before <- as.POSIXlt(dates)
leap_day <- year_before$mon == 1 & year_before$mday == 29
year_before$mday[leap_day] <- 28
year_before$year <- year_before$year - 1
bars_of_year <- seq_along(dates) - findInterval(as.Date(year_before), dates)
full_year <- as.Date(year_before) >= dates[1]
score_table$high_52w <- NA
score_table$low_52w <- NA
for (n in unique(bars_of_year[full_year])) {
  rows <- which(full_year & bars_of_year == n)
  score_table$high_52w[rows] <- runMax(close, n)[rows]
  score_table$low_52w[rows] <- runMin(close, n)[rows]
}
score_table$peak <- runMax(close, 1, cumulative = TRUE)
for (n in c(21, 63)) {
  score_table[[paste0("z_", n)]] <- returns / lagged(c(NA, runSD(returns[-1], n)))
}
# runMAD with its own median as centre and the constant 1.4826; both known before the session.
median_before <- lagged(c(NA, runMedian(returns[-1], 252)))
mad_before <- lagged(c(NA, runMAD(returns[-1], 252)))
score_table$robust_z_252 <- (returns - median_before) / mad_before
score_table$percentile_252 <- c(NA, percentile_before(returns[-1], 252))
written(score_table, "ttr_scores_sp500")

r_sp500 <- xts::xts(close[-1] / close[-length(close)] - 1, as.Date(sp500$date[-1]))
close_nasdaq <- as.numeric(nasdaq$bars$Close)
r_nasdaq <- xts::xts(close_nasdaq[-1] / close_nasdaq[-length(close_nasdaq)] - 1, as.Date(nasdaq$date[-1]))
regression_table <- data.frame(date = nasdaq$date[-1])
for (n in c(63, 252)) {
  fit <- rollSFM(r_nasdaq, r_sp500, n)
  regression_table[[paste0("alpha_", n)]] <- as.numeric(fit$alpha)
  regression_table[[paste0("beta_", n)]] <- as.numeric(fit$beta)
  regression_table[[paste0("r_squared_", n)]] <- as.numeric(fit$r.squared)
  regression_table[[paste0("correlation_", n)]] <- as.numeric(runCor(r_nasdaq, r_sp500, n))
}
written(regression_table, "ttr_regression_nasdaq_on_sp500")

# A pair: 21 differences of log returns, their z and place among the 252 sums before.
difference <- diff(log(close_nasdaq)) - diff(log(close))
spread <- runSum(difference, 21)
mean_before <- after_unknown(spread, function(values) lagged(runMean(values, 252)))
sd_before <- after_unknown(spread, function(values) lagged(runSD(values, 252)))
pair_table <- data.frame(date = nasdaq$date[-1], spread_1d = difference, spread_21d = spread)
pair_table$z_252 <- (spread - mean_before) / sd_before
pair_table$percentile_252 <- after_unknown(spread, function(values) percentile_before(values, 252))
written(pair_table, "ttr_pair_nasdaq_sp500")

# Yahoo's adjusted close: prices and dividends are on its split-adjusted basis, so dividends alone adjust.
actions <- read.csv(file.path(arguments[1], "ACTIONS.csv"))
dividends <- ifelse(actions$Dividends > 0, actions$Dividends, NA)
ratios <- adjRatios(dividends = xts::xts(dividends, as.Date(actions$Date)),
                    close = xts::xts(actions$Close, as.Date(actions$Date)))
adjusted <- data.frame(date = actions$Date, adj_close = actions$Close * as.numeric(ratios[, "Div"]))
written(adjusted, "ttr_adjusted_close_actions")
writeLines(c(paste("R", getRversion()), paste("TTR", packageVersion("TTR"))), file.path(arguments[2], "ttr_versions.txt"))
