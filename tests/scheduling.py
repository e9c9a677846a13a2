"""Which tests go to one process together: those of a file that shares something, made once, among its tests.

And which begin first, so that no process is left alone with one of them at the end.
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

from orchestration.settings import PROJECT_ROOT

SHARED = 'scope="module"'
# Minutes each, the longest first.
LONGEST = (
    "test_parity",
    "test_spark_refresh",
    "test_dashboard",
    "test_team",
    "test_power_cut",
    "test_documents",
    "test_incremental",
    "test_spark_cluster",
    "test_kill",
    "test_lived_homes",
    "test_sample_refresh",
    "test_no_look_ahead",
)


def turn(file: Path) -> int:
    """When the tests of a file begin: a smaller number is earlier, files of the same number keep their order."""
    return LONGEST.index(file.stem) if file.stem in LONGEST else len(LONGEST)


@cache
def shares_something(file: str) -> bool:
    """Whether a test file has a fixture of its module's, which two processes would make twice."""
    path = Path(PROJECT_ROOT, file)
    return path.is_file() and SHARED in path.read_text("utf-8")


class ByWhatIsShared(LoadScopeScheduling):
    """Gives a free process the next test, or the next file whose tests share something; no file waits for another."""

    def _split_scope(self, nodeid: str) -> str:
        # The extension point that xdist's own schedulers use.
        file = nodeid.partition("::")[0]
        return file if shares_something(file) else nodeid
