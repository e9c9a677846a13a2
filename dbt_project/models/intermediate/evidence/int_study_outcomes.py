"""What followed each event of each study: `orchestration.evidence.studies`."""


def model(dbt, session):  # noqa: ARG001  (dbt reads it)
    dbt.config(materialized="table")
    from orchestration.evidence.tables import members_of, series_of, study_outcomes, table

    members = members_of(dbt.source("control", "instruments").select("symbol, tier").fetchall())
    found = study_outcomes(dbt.ref("int_study_events").df(), series_of(dbt.ref("int_study_series")), members)
    return table("study_outcomes", found)
