"""Put thirty faults into a copy of the code, one at a time, and see which test finds each: `make faults`.

    python -m tests.faults.run [--seed N] [--count N] [--only ID ...] [--list] [--fresh] [--everything]

It takes hours and may be ended at any time: what is found out is kept in `.faults/results.jsonl`, and the next run of
the same revision goes on from there. What pytest printed about each fault is kept in `.faults/said/`.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from filelock import FileLock, Timeout

from tests.faults.chosen import chosen_faults
from tests.faults.draw import draw, places_of
from tests.faults.fault import Fault
from tests.faults.results import EVERYDAY, REST, SURVIVED, Result, Results, table
from tests.faults.scratch import FOLDER, Copy, UnclearError
from tests.faults.suite import Suite

SEED = 1
COUNT = 20
# Of one run of tests; far more than all of them take, for a fault that makes something wait for ever.
MINUTES = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """What the module says."""
    asked = _parser().parse_args(arguments)
    FOLDER.mkdir(exist_ok=True)
    try:
        with FileLock(FOLDER / "lock", timeout=0):
            return _run(asked)
    except UnclearError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nended; the next run goes on with the fault that was being tried", file=sys.stderr)
        return 130
    except Timeout:
        print("faults are being put in already; one at a time", file=sys.stderr)
        return 1


def _run(asked: argparse.Namespace) -> int:
    copy = Copy.at(asked.revision)
    faults = [*chosen_faults(copy.read), *draw(places_of(copy.files(), copy.read), asked.seed, asked.count)]
    if unknown := set(asked.only or ()) - {fault.id for fault in faults}:
        print(f"there is no fault {', '.join(sorted(unknown))}; --list names them", file=sys.stderr)
        return 1
    faults = [fault for fault in faults if not asked.only or fault.id in asked.only]
    results = Results(FOLDER / "results.jsonl")
    if asked.list:
        for fault in faults:
            print(f"{fault.id}: {fault.diff}" + (f"\n  {fault.harm}" if fault.harm else ""))
        return 0
    if asked.fresh:
        results.forget()
    if elsewhere := copy.found_elsewhere():
        print(f"the tests would not see the faults: they import {', '.join(elsewhere)}", file=sys.stderr)
        return 1
    if (parsed := copy.dbt_reads_it()).code != 0:
        print(f"dbt does not read the models as they are\n{parsed.said}", file=sys.stderr)
        return 1
    print(f"Faults are put into {copy.revision[:12]}; what is not committed is not in it", flush=True)
    suite = Suite(copy, asked.minutes * 60)
    suite.must_start()
    _try_each(faults, copy, suite, results, asked.everything)
    print(table(faults, copy.revision, results.read()))
    return 0


def _try_each(faults: Sequence[Fault], copy: Copy, suite: Suite, results: Results, everything: bool) -> None:
    known = results.read()
    for number, fault in enumerate(faults, start=1):
        before = known.get(fault.key(copy.revision))
        if before and (before.outcome != SURVIVED or before.everything or not everything):
            continue
        print(f"[{number}/{len(faults)}] {fault.id}: {fault.diff}", flush=True)
        try:
            result = _tried(fault, copy, suite, before, everything)
        except UnclearError as error:
            # Nothing is noted: it is tried again by the next run.
            print(f"  unclear: {error}", flush=True)
        else:
            results.add(result)
            print(f"  {result.outcome} {result.by} ({result.seconds:.0f} s)", flush=True)
        finally:
            (FOLDER / "said").mkdir(exist_ok=True)
            (FOLDER / "said" / f"{fault.id}.txt").write_text("\n".join([fault.diff, *suite.said]), "utf-8")


def _tried(fault: Fault, copy: Copy, suite: Suite, before: Result | None, everything: bool) -> Result:
    """What becomes of a fault; one that is known to survive `make test` meets only the rest."""
    began = time.monotonic() - (before.seconds if before else 0.0)
    outcome, by = EVERYDAY, None if before else suite.everyday(fault)
    if by is None and everything:
        outcome, by = REST, suite.rest(fault)
    if by is None:
        outcome = SURVIVED
    seconds = round(time.monotonic() - began, 1)
    return Result(fault.key(copy.revision), fault.id, fault.diff, outcome, by or "", seconds, everything)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED, help="of the lot (%(default)s)")
    parser.add_argument("--count", type=int, default=COUNT, help="faults that are drawn, beside the ten (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these faults")
    parser.add_argument("--list", action="store_true", help="say which faults there are and try none")
    parser.add_argument("--fresh", action="store_true", help="forget what is known")
    parser.add_argument("--everything", action="store_true", help="what make test does not find meets make test-all")
    parser.add_argument("--revision", default="HEAD", help="of the code that is broken (%(default)s)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for one run of tests (%(default)g)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
