"""Incremental equals full, on a few generated histories; with -m torture on dozens."""

from pathlib import Path

import pytest

from tests.lived_homes import check_piecemeal_equals_at_once, check_refreshed_equals_rebuilt

pytestmark = pytest.mark.integration


def few_of(*seeds: int, many: range) -> list:
    return [*seeds, *(pytest.param(seed, marks=pytest.mark.torture) for seed in many)]


LONGER = [pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", few_of(1, 2, many=range(100, 106)))
def test_refreshed_equals_rebuilt(seed: int, tmp_path: Path) -> None:
    check_refreshed_equals_rebuilt(seed, tmp_path, forgetful=seed % 2 == 0, deliveries=3 + seed % 3)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3)), *few_of(many=range(200, 230))]
)
def test_piecemeal_equals_at_once(seed: int, tmp_path: Path) -> None:
    check_piecemeal_equals_at_once(seed, tmp_path, deliveries=5 + seed % 4)
