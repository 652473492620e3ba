"""Estimating how many records groups of holders have, from noisy marginals alone.

Where not everybody takes part in every release, marginals come from different groups of holders.
They are brought to one population before a model is fitted, with group sizes that are estimated,
since the true ones are not public.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aim_core.domain import Clique
from aim_core.models.measurement import Measurement

Group = frozenset[int]

_STEPS = 20


@dataclass(frozen=True, eq=False)
class GroupMeasurement:
    """A released marginal together with the holders whose records it counts."""

    measurement: Measurement
    group: Group


def measured_cliques(released: Sequence[GroupMeasurement]) -> tuple[Clique, ...]:
    """Return the cliques that have been measured, each once, in the order of their first time."""
    return tuple(dict.fromkeys(item.measurement.clique for item in released))


class Population:
    """Estimated numbers of records, by group of holders.

    A group of h holders is taken to have N(h lambda, h lambda^2) records before anything is
    measured: holders' sizes vary by as much as their mean lambda. A noisy marginal of n cells adds
    an observation of variance n sigma^2, so a precise one decides alone and an imprecise one
    changes little. lambda is the mean that explains all groups best.
    """

    def __init__(self, released: Sequence[GroupMeasurement]) -> None:
        self._observed = _observations(released)
        self.records_per_holder = self._fit_mean()

    def records(self, group: Group) -> float:
        """Return a group's estimated number of records, at least 1."""
        prior = len(group) * self.records_per_holder
        if group not in self._observed:
            return max(1.0, prior)
        value, variance = self._observed[group]
        spread = len(group) * self.records_per_holder**2
        return max(1.0, (value * spread + prior * variance) / (spread + variance))

    def scaled(self, released: GroupMeasurement, total: float) -> Measurement:
        """Bring a marginal to `total` records; the noise grows with it."""
        factor = total / self.records(released.group)
        measurement = released.measurement
        if factor == 1.0:
            return measurement
        return replace(
            measurement,
            values=measurement.values * factor,
            variance=measurement.variance * factor**2,
        )

    def _fit_mean(self) -> float:
        """Fit lambda by least squares, re-weighted with the spread that it implies."""
        if not self._observed:
            return 1.0
        sizes = np.array([len(group) for group in self._observed], dtype=np.float64)
        values, variances = np.array(list(self._observed.values())).T
        mean = max(1.0, float(values.sum() / sizes.sum()))
        for _ in range(_STEPS):
            weights = sizes / (variances + sizes * mean**2)
            mean = max(1.0, float((weights * values).sum() / (weights * sizes).sum()))
        return mean


def _observations(released: Sequence[GroupMeasurement]) -> dict[Group, tuple[float, float]]:
    """Return per group its measured number of records and that number's variance.

    The sums of one group's marginals are averaged by inverse variance, as Private-PGM does.
    """
    sums: dict[Group, list[tuple[float, float]]] = {}
    for item in released:
        values = item.measurement.values
        variance = item.measurement.variance * values.size
        sums.setdefault(item.group, []).append((float(values.sum(dtype=np.float64)), variance))
    observed = {}
    for group, pairs in sums.items():
        values, variances = np.array(pairs).T
        precision = float((1 / variances).sum())
        observed[group] = (float((values / variances).sum()) / precision, 1 / precision)
    return observed
