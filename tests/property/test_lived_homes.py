"""Incremental equals full, on a few generated histories; tests/torture has dozens."""

from pathlib import Path

import pytest

from tests.lived_homes import check_promises

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("seed", "forgetful"), [(1, False), (2, True)])
def test_incremental_equals_full(seed: int, forgetful: bool, tmp_path: Path) -> None:
    check_promises(seed, tmp_path, forgetful, deliveries=4)
