# Golden answers of R's TTR on the S&P 500 and Nasdaq series inside the Python package `arch`.
#
#   python tests/golden/producers/dump_series.py FOLDER
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
written(volatility_table, "ttr_volatility_sp500")

returns <- c(NA, close[-1] / close[-length(close)] - 1)
lagged <- function(values) c(NA, values[-length(values)])
score_table <- data.frame(date = sp500$date)
score_table$sma_50 <- SMA(close, 50)
score_table$sma_200 <- SMA(close, 200)
score_table$highest_252 <- runMax(close, 252)
for (n in c(21, 63)) {
  score_table[[paste0("z_", n)]] <- returns / lagged(c(NA, runSD(returns[-1], n)))
}
# runMAD with its own median as centre and the constant 1.4826; both known before the session.
median_before <- lagged(c(NA, runMedian(returns[-1], 252)))
mad_before <- lagged(c(NA, runMAD(returns[-1], 252)))
score_table$robust_z_252 <- (returns - median_before) / mad_before
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
writeLines(c(paste("R", getRversion()), paste("TTR", packageVersion("TTR"))), file.path(arguments[2], "ttr_versions.txt"))
