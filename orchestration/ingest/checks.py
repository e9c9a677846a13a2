"""Checks of one ingest run: what failed, what came otherwise than declared, what is new in the quarantine."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.ingest.specs import BARS, REJECTED_BARS

if TYPE_CHECKING:
    from orchestration.ingest.report import IngestReport

FETCH_OUTCOME = "fetch_outcome"
DECLARED = "delivered_as_declared"
QUARANTINED = "newly_quarantined"

# Rows of a metadata table that a person would still read.
TABLE_ROWS = 50


def check_specs() -> list[dg.AssetCheckSpec]:
    """The checks, each with its place in the runbook."""
    return [
        dg.AssetCheckSpec(
            name, asset=asset, blocking=blocking, description=f"{text} What to do: docs/runbook.md#{name}"
        )
        for name, asset, blocking, text in (
            (
                FETCH_OUTCOME,
                BARS,
                True,
                "Every symbol was delivered. Some failing is a warning; nothing arriving stops the run.",
            ),
            (
                DECLARED,
                BARS,
                False,
                "The source has no note about what it brought.",
            ),
            (QUARANTINED, REJECTED_BARS, False, "No row of this batch had to be rejected or stripped of its range."),
        )
    ]


def fetch_outcome(report: "IngestReport") -> dg.AssetCheckResult:
    """Symbols that failed; an error if nothing arrived at all."""
    failures = report.failures
    nothing_arrived = bool(report.results) and all(r.status != "ok" for r in report.results)
    summary = f"{len(failures)} of {len(report.results)} symbols failed"
    if nothing_arrived and not failures:
        summary = "the drop folder has no file for any watched symbol"
    return dg.AssetCheckResult(
        check_name=FETCH_OUTCOME,
        asset_key=BARS,
        passed=not failures and not nothing_arrived,
        severity=dg.AssetCheckSeverity.ERROR if nothing_arrived else dg.AssetCheckSeverity.WARN,
        description=summary,
        metadata=_table("failed", [{"symbol": r.symbol, "error": str(r.status), "detail": r.detail} for r in failures]),
    )


def delivered_as_declared(report: "IngestReport", simulated: bool) -> dg.AssetCheckResult:
    """The source's notes about the symbols that it delivered."""
    # The simulated source labels every delivery, which is no news.
    offenders = [
        {"symbol": r.symbol, "note": r.note} for r in report.results if r.status == "ok" and r.note and not simulated
    ]
    return dg.AssetCheckResult(
        check_name=DECLARED,
        asset_key=BARS,
        passed=not offenders,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(offenders)} symbols with a note",
        metadata=_table("symbols", offenders),
    )


def newly_quarantined(report: "IngestReport") -> dg.AssetCheckResult:
    """The rows that are new in the quarantine, the last ones of many."""
    names = ("symbol", "session", "rule", "severity", "detail")
    rows = [dict(zip(names, (str(cell or "") for cell in row), strict=True)) for row in report.new_rejections]
    return dg.AssetCheckResult(
        check_name=QUARANTINED,
        asset_key=REJECTED_BARS,
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(rows)} rows of this batch are new in the quarantine",
        metadata=_table("rows", rows[-TABLE_ROWS:]),
    )


def symbols_table(report: "IngestReport") -> dg.TableMetadataValue:
    """How each request ended."""
    texts, counts = ("symbol", "reason", "status"), ("delivered", "new", "rebased", "rejected", "demoted", "held_back")
    label = {"reason": "asked because", "held_back": "held back"}
    columns = [dg.TableColumn(label.get(name, name), "string") for name in texts]
    columns += [dg.TableColumn(label.get(name, name), "int") for name in counts]
    rows = [
        {label.get(name, name): str(getattr(r, name)) for name in texts}
        | {label.get(name, name): getattr(r, name) for name in counts}
        for r in report.results
    ]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], dg.TableSchema(columns))


def _table(name: str, rows: list[dict[str, Any]]) -> dict[str, dg.TableMetadataValue]:
    return {name: dg.MetadataValue.table([dg.TableRecord(row) for row in rows])} if rows else {}
