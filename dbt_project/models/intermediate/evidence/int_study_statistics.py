"""What each study says, beside what any session says: `orchestration.evidence.statistics`."""


def model(dbt, session):  # noqa: ARG001  (dbt reads it)
    dbt.config(materialized="table")
    from orchestration.evidence.tables import STUDY, study_statistics, table

    study = ", ".join([*STUDY, "sessions"])
    studies = dbt.ref("int_study_outcomes").aggregate(
        f"{study}, count(*) as signals, count(*) filter (where is_episode) as episodes,"
        " coalesce(list(outcome) filter (where is_episode and outcome is not null), []) as changes,"
        " coalesce(list(is_hit::int order by session_date) filter (where is_episode and is_hit is not null), [])"
        " as hits,"
        " coalesce(list(base_hit_rate order by session_date) filter (where is_episode and is_hit is not null), [])"
        " as hit_bases",
        study,
    )
    found = study_statistics(studies.order(study).df(), dbt.ref("int_base_rates").df())
    return table("study_statistics", found)
