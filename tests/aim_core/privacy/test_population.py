"""Numbers of records by group of holders, estimated from noisy marginals."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from aim_core.models.measurement import Measurement
from aim_core.privacy.population import GroupMeasurement, Population


def released(holders: Iterable[int], values: Sequence[int], variance: float) -> GroupMeasurement:
    measurement = Measurement(("a",), np.asarray(values), variance)
    return GroupMeasurement(measurement, frozenset(holders))


def test_one_group_has_the_inverse_variance_weighted_sum() -> None:
    # sums 100 (variance 2 * 1) and 130 (variance 2 * 2): (100 / 2 + 130 / 4) / (1/2 + 1/4) = 110
    population = Population([released({0}, [60, 40], 1.0), released({0}, [70, 60], 2.0)])
    assert population.records(frozenset({0})) == pytest.approx(110)
    assert population.records_per_holder == pytest.approx(110)


def test_a_precise_group_counts_for_itself_and_an_imprecise_one_for_the_mean() -> None:
    precise = [released({h}, [n, 0], 1e-6) for h, n in enumerate([50, 150, 100])]
    noisy = released({3}, [-900, 100], 1e9)
    population = Population([*precise, noisy])
    assert population.records_per_holder == pytest.approx(100, rel=1e-3)
    assert population.records(frozenset({1})) == pytest.approx(150, rel=1e-3)
    assert population.records(frozenset({3})) == pytest.approx(100, rel=2e-2)
    assert population.records(frozenset({7, 8})) == pytest.approx(200, rel=1e-3)


def test_scaling_keeps_the_relative_noise() -> None:
    item = released({0, 1}, [30, 10], 4.0)
    scaled = Population([item]).scaled(item, 400.0)
    assert scaled.values == pytest.approx([300, 100])
    assert scaled.variance == pytest.approx(400)
    # the same population: the very same object, not a copy with rounding errors
    population = Population([item])
    assert population.scaled(item, population.records(item.group)) is item.measurement


def test_nothing_but_noise_still_gives_a_positive_population() -> None:
    population = Population([released({0}, [-50, -20], 100.0)])
    assert population.records(frozenset({0})) >= 1
    assert Population([]).records(frozenset({0, 1})) == 2
