"""Incremental equals full, on dozens of generated histories: pytest -m torture tests/torture."""

from pathlib import Path

import pytest

from tests.lived_homes import check_promises

pytestmark = pytest.mark.torture


@pytest.mark.parametrize("seed", range(100, 130))
def test_incremental_equals_full(seed: int, tmp_path: Path) -> None:
    check_promises(seed, tmp_path, forgetful=seed % 3 == 2, deliveries=3 + seed % 4)
