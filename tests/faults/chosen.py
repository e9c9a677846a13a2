"""Ten faults where one would hurt most: each is small, easily made, and seen by nobody on the day it is made."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.fault import Fault, Place, fault_at


@dataclass(frozen=True)
class Chosen:
    """A fault that somebody has thought of.

    Attributes:
        id: by which a person names it.
        path: of the file.
        old: stands exactly once in the file.
        new: what takes its place.
        harm: what would go wrong.
    """

    id: str
    path: str
    old: str
    new: str
    harm: str


CHOSEN = (
    Chosen(
        "open-session-stored",
        "orchestration/market/calendar.py",
        'return frame[frame["close_utc"] <= pd.Timestamp(now)]',
        'return frame[frame["open_utc"] <= pd.Timestamp(now)]',
        "The bar of a session that is still trading is stored as if the session had ended.",
    ),
    Chosen(
        "failed-request-counts-as-answered",
        "orchestration/ingest/lake.py",
        'log = log.filter(pc.and_(pc.equal(log["status"], "ok"), pc.is_valid(log["requested_to"])))',
        'log = log.filter(pc.is_valid(log["requested_to"]))',
        "The fetch plan takes sessions that a failed request did not bring for holes of the vendor and leaves them.",
    ),
    Chosen(
        "contradicting-rows-stored",
        "orchestration/market/validation.py",
        '    reasons[conflicting] = "duplicate_session"\n',
        "",
        "Of two rows that contradict each other the last one is stored, and no quarantine says so.",
    ),
    Chosen(
        "late-value-not-stored",
        "orchestration/market/new_versions.py",
        "else (a == b) | (np.isnan(a) & np.isnan(b)))",
        "else (a == b) | (np.isnan(a) | np.isnan(b)))",
        "A volume or a range that the vendor delivers a day after its close never reaches the lake.",
    ),
    Chosen(
        "compaction-loses-the-last-files",
        "orchestration/ingest/compaction.py",
        "    if group:\n        yield group\n",
        "",
        "Merging small files throws away the newest rows of the lake, which nothing brings back.",
    ),
    Chosen(
        "running-state-from-a-replaced-row",
        "dbt_project/macros/read.sql",
        "and stored.session_date < changes.changed_from",
        "and stored.session_date <= changes.changed_from",
        "An incremental build goes on from a row that it replaces: indices count that session twice.",
    ),
    Chosen(
        "one-close-confirms-a-side",
        "dbt_project/models/intermediate/levels/int_line_states.sql",
        "'case when side = previous_side then side end'",
        "'side'",
        "A level's confirmed side is that of the last close, so that a change of its role is never told.",
    ),
    Chosen(
        "failed-audit-passes",
        "orchestration/publish/gate.py",
        "    if stopped:\n",
        "    if False:\n",
        "A build that a blocking check has stopped counts as audited and may be published.",
    ),
    Chosen(
        "earlier-change-forgotten",
        "orchestration/transform/changed_ranges.py",
        "since[name] = min(before.since[name], named)",
        "since[name] = named",
        "After two builds without a publication readers keep old rows that the first of the two has changed.",
    ),
    Chosen(
        "alert-sent-twice",
        "orchestration/alerts/send.py",
        'FileLock(Path(order.folder, f"{order.channel}.lock"), timeout=0)',
        'FileLock(Path(order.folder, f"{order.channel}-{time.time_ns()}.lock"), timeout=0)',
        "Two processes that send to a channel at the same time both send everything that is pending for it.",
    ),
)


def chosen_faults(read: Callable[[str], str]) -> list[Fault]:
    """The ten, in files whose texts `read` gives.

    Raises:
        ValueError: a file no longer holds exactly one such place.
    """
    return [_placed(chosen, read(chosen.path)) for chosen in CHOSEN]


def _placed(chosen: Chosen, text: str) -> Fault:
    if text.count(chosen.old) != 1:
        raise ValueError(f"{chosen.path}: {chosen.old!r} stands there {text.count(chosen.old)} times; mend {__name__}")
    start = text.index(chosen.old)
    place = Place(start, start + len(chosen.old), chosen.new, "chosen")
    return fault_at(chosen.id, chosen.path, text, place, chosen.harm)
