"""The code location of Orewatch with an evening every minute, for the test that waits for the schedule.

Every minute the real schedule is asked as if the evening of the simulated market's today had come.
"""

import dagster as dg

from orchestration.build import build_definitions
from orchestration.settings import Settings, load_settings


def every_minute(settings: Settings) -> dg.Definitions:
    product = build_definitions(settings)
    (evening,), (job,) = product.schedules, product.jobs

    @dg.schedule(name=evening.name, job=job, cron_schedule="* * * * *", default_status=evening.default_status)
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        with dg.build_schedule_context(instance=context.instance, scheduled_execution_time=settings.now()) as at_close:
            return evening(at_close)

    return dg.Definitions(
        assets=product.assets,
        asset_checks=product.asset_checks,
        jobs=product.jobs,
        schedules=[schedule],
        sensors=product.sensors,
        resources=product.resources,
        executor=product.executor,
    )


defs = every_minute(load_settings())
