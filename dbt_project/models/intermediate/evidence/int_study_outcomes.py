"""What followed each event of each study: `orchestration.evidence.studies`."""


def model(dbt, session):  # noqa: ARG001  (dbt reads it)
    dbt.config(materialized="table")
    from orchestration.evidence.tables import members_of, series_of, study_outcomes, table

    members = members_of(dbt.source("control", "instruments").select("symbol, tier").fetchall())
    series = dbt.ref("int_study_series").order("series, session_date")
    columns = "series, session_date, value, value_in_base, call_value, is_call_base"
    index = series_of(series.select(columns).to_arrow_table())
    events = dbt.ref("int_study_events").order("event_id")  # of several of one session the same one is always kept
    return table("study_outcomes", study_outcomes(events.to_arrow_table(), index, members))
