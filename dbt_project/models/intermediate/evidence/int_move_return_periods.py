"""How rare each flagged move was, as known before it: `orchestration.evidence.return_periods`."""


def model(dbt, session):  # noqa: ARG001  (dbt reads it)
    dbt.config(materialized="table")
    import os
    from pathlib import Path

    from orchestration.evidence.tables import PERIODS, Memory, move_return_periods, table

    memory = Memory(Path(os.environ.get("DBT_TARGET_PATH", "target"), "return_periods.parquet"), PERIODS)
    moves = dbt.ref("large_moves").order("symbol").select("symbol, session_date").to_arrow_table()
    returns = dbt.ref("int_single_returns").order("symbol, session_date").to_arrow_table()
    found = table("move_return_periods", move_return_periods(returns, moves, memory))
    memory.save()
    return found
