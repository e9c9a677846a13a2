"""Alerts from what went wrong with the data: a failed run, failed data checks, symbols that could not be fetched.

A warning is sent when it begins, not every evening: the outbox knows what was failing before. What fails in another
way (other instruments, another severity) is sent again, and so is what fails after it had passed. What keeps readers on
an older version, a failed run or a check that stops the publication, is sent once a day for as long as it lasts; days
of a clock which was ahead are forgotten when it goes on from an earlier one, and sent when they come.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration.alerts.messages import Alert
from orchestration.alerts.outbox import Judgement
from orchestration.market.errors import OrewatchError
from orchestration.signals.checks import MARKET_STEP

# Columns that say which offender it is; the others say how bad it is today.
IDENTITY = ("symbol", "session", "rule", "error")

RUN = "run"
LINES_SHOWN = 5

# Days that are remembered of one failure. A clock that was ahead, and is right again, comes to a day that was sent.
DAYS_KEPT = 10

# Above any score: what stops a publication comes first.
ERROR_RANK, WARNING_RANK = 1000.0, 500.0


def judge_run(
    run_id: str,
    failed: bool,
    ended: dt.date,
    evaluations: Sequence[tuple[str | None, dg.AssetCheckEvaluation]],
    causes: Sequence[str],
    before: Mapping[str, str],
) -> Judgement:
    """What of an ended run is news.

    `ended` is its day in New York: both ticks of an evening's schedule are of one day. `evaluations` come each with the
    step that made it, `causes` are errors of failed steps, `before` is what was failing, by name, with its state.
    """
    failing = dict(before)
    alerts = []
    stopped = False
    for step, evaluation in evaluations:
        if step == MARKET_STEP:
            continue
        name = f"{evaluation.asset_key.to_user_string()}:{evaluation.check_name}"
        if evaluation.passed:
            failing.pop(name, None)
            continue
        stops = _stops(evaluation)
        stopped |= stops
        records = offenders(evaluation)
        parts: list[Any] = [evaluation.severity.value, sorted(_subject(record) for record in records)]
        known = failing.get(name, "")
        failing[name], is_news = _daily(known, ended, parts) if stops else _lasting(known, parts)
        if is_news:
            alerts.append(_check_alert(run_id, ended, evaluation, records))
    if not failed:
        # A fetch alone, the first half of a refresh from the command line, is no proof that all is well again.
        if any(step == MARKET_STEP for step, _ in evaluations):
            failing.pop(RUN, None)
    elif not stopped:  # else the check has said it
        failing[RUN], is_news = _daily(failing.get(RUN, ""), ended, causes)
        if is_news:
            alerts.append(_run_alert(run_id, ended, causes))
    return Judgement(failing, alerts)


def cause(event: dg.DagsterEvent) -> str:
    """The error of a failed step that a person can act on: our own one at the bottom of the chain, else the outermost.

    One line.
    """
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    ours = {cls.__name__ for cls in OrewatchError.__subclasses__()}
    error = data.error
    while error is not None:
        if error.cls_name in ours or error.cause is None:
            line = error.message.strip().splitlines()[0]
            # Of ours the words alone, without the name of the class.
            return line.partition(f"{error.cls_name}: ")[2] or line if error.cls_name in ours else line
        error = error.cause
    return "unknown"


def _check_alert(
    run_id: str, day: dt.date, evaluation: dg.AssetCheckEvaluation, records: Sequence[Mapping[str, Any]]
) -> Alert:
    asset = evaluation.asset_key.to_user_string()
    error = evaluation.severity is dg.AssetCheckSeverity.ERROR
    lines = [", ".join(str(v) for v in record.values() if v not in (None, "")) for record in records[:LINES_SHOWN]]
    if len(records) > LINES_SHOWN:
        lines.append(f"and {len(records) - LINES_SHOWN} more")
    if _stops(evaluation):
        lines.append("Nothing was published: readers keep the last good version.")
    return Alert(
        f"data|{asset}|{evaluation.check_name}|{run_id}",
        "data",
        "error" if error else "warning",
        tuple(sorted({str(record["symbol"]) for record in records if record.get("symbol")})),
        day,
        f"data check {evaluation.check_name} of {asset} failed: {evaluation.description or 'see the run'}",
        tuple(lines),
        ERROR_RANK if error else WARNING_RANK,
    )


def _run_alert(run_id: str, day: dt.date, causes: Sequence[str]) -> Alert:
    return Alert(
        f"data|run|{run_id}",
        "data",
        "error",
        (),
        day,
        "the refresh failed",
        (*causes[:LINES_SHOWN], "Readers keep the last published version."),
        ERROR_RANK,
    )


def _stops(evaluation: dg.AssetCheckEvaluation) -> bool:
    """Whether a failed check keeps readers on an older version."""
    return bool(evaluation.blocking) and evaluation.severity is dg.AssetCheckSeverity.ERROR


def offenders(evaluation: dg.AssetCheckEvaluation) -> list[Mapping[str, Any]]:
    """The offenders in a check's metadata tables."""
    tables = (v for v in evaluation.metadata.values() if isinstance(v, dg.TableMetadataValue))
    return [record.data for table in tables for record in table.records]


def _subject(record: Mapping[str, Any]) -> str:
    """What an offender is, without figures that change every evening."""
    known = {name: record[name] for name in IDENTITY if record.get(name)}
    return json.dumps(known or dict(record), sort_keys=True, default=str)


def _lasting(known: str, parts: Sequence[Any]) -> tuple[str, bool]:
    """The state of a failure that is sent when it begins or changes, and whether it has."""
    state = _digest(parts)
    return state, state != known


def _daily(known: str, day: dt.date, parts: Sequence[Any]) -> tuple[str, bool]:
    """The state of a failure that is sent once a day, and whether it has not been sent on this day.

    The state holds what was sent, as `DAY:DIGEST`; of an earlier version of this program the digest alone.
    """
    sent = [entry.rpartition(":")[::2] for entry in known.split()]
    today, digest = day.isoformat(), _digest([day.isoformat(), *parts])
    if digest in {digest for _, digest in sent}:
        return known, False
    if any(earlier < today for earlier, _ in sent):
        sent = [entry for entry in sent if entry[0] <= today]
    kept = [*sent, (today, digest)][-DAYS_KEPT:]
    return " ".join(":".join(filter(None, entry)) for entry in kept), True


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
