"""How often levels held: `orchestration.evidence.level_statistics`."""


def model(dbt, session):  # noqa: ARG001  (dbt reads it)
    dbt.config(materialized="table")
    from orchestration.evidence.level_statistics import level_statistics
    from orchestration.evidence.tables import table

    prices = dbt.ref("int_traded_bars").order("symbol, session_date")
    columns = "symbol, session_date, low, high, close, atr_14, splits_to_come"
    levels = dbt.source("control", "price_levels").filter("series is null").to_arrow_table().to_pylist()
    return table("level_statistics", level_statistics(prices.select(columns).to_arrow_table(), levels))
