"""How rare moves of each instrument are: `orchestration.evidence.return_periods`."""


def model(dbt, session):  # noqa: ARG001  (dbt reads it)
    dbt.config(materialized="table")
    from orchestration.evidence.tables import return_periods, table

    returns = dbt.ref("int_single_returns").order("symbol, session_date").to_arrow_table()
    return table("return_periods", return_periods(returns))
