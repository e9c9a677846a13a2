"""Pure domain code: no Dagster, dbt, yfinance, DuckDB or network in here."""
