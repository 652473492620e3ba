"""The plaintext oracle: exact arithmetic, ties, and the exponential mechanism's distribution."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from aim_core.arrays import Counts
from aim_core.counts.marginals import project
from aim_core.domain import Clique
from aim_core.errors import MechanismError, WorkloadError
from aim_core.mechanisms.plaintext import PlaintextOracle, Sampler
from aim_core.mechanisms.requests import Measure, Select
from tests.support.toys import TOY, NoNoise, SeededNoise

COUNTS = np.arange(12, dtype=np.int64)
ONEWAYS = (("a",), ("b",), ("c",))


def oracle(sampler: Sampler, fraction_bits: int = 20) -> PlaintextOracle:
    return PlaintextOracle(TOY, {TOY.attributes: COUNTS}, sampler, fraction_bits)


def select(
    candidates: tuple[Clique, ...],
    distances: Sequence[int],
    *,
    weights: tuple[int, ...] | None = None,
    biases: tuple[int, ...] | None = None,
    epsilon: Fraction = Fraction(1),
) -> Select:
    """Ask with model counts that are `distances` away from the real ones."""
    model = []
    for clique, distance in zip(candidates, distances, strict=True):
        counts = project(COUNTS, TOY, TOY.attributes, clique).copy()
        counts[0] += distance
        model.append(counts)
    n = len(candidates)
    return Select(
        1, candidates, weights or (1,) * n, epsilon, biases or (0,) * n, tuple(model), Fraction(1)
    )


def test_scripted_noise_decides_exactly_and_ties_go_to_the_lowest_index() -> None:
    assert oracle(NoNoise()).select(select(ONEWAYS, [3, 9, 9])) == 1
    assert oracle(NoNoise()).select(select(ONEWAYS, [3, 9, 9], biases=(0, 7, 0))) == 2
    assert oracle(NoNoise()).select(select(ONEWAYS, [5, 4, 4], weights=(1, 1, 2))) == 2

    class Push(NoNoise):
        def gumbel(self, n: int, fraction_bits: int) -> Counts:
            return np.array([0, 0, 2**19], dtype=np.int64)

    # A multiplier is 2**19 here, so this noise is worth exactly one count.
    assert oracle(Push()).select(select(ONEWAYS, [3, 9, 8])) == 1
    assert oracle(Push()).select(select(ONEWAYS, [3, 9, 9])) == 2


def test_scores_beyond_64_bits_do_not_wrap() -> None:
    huge = select(ONEWAYS, [10**9, 10**9 + 1, 5], epsilon=Fraction(50))
    assert oracle(NoNoise(), fraction_bits=48).select(huge) == 1


def test_measurements_are_exact_counts_plus_the_noise() -> None:
    class Fixed(NoNoise):
        def gaussian(self, n: int, sigma2: Fraction) -> Counts:
            return np.full(n, int(sigma2), dtype=np.int64)

    answer = oracle(Fixed()).measure(Measure(0, ONEWAYS, Fraction(7), Fraction(1)))
    for values, clique in zip(answer, ONEWAYS, strict=True):
        exact = project(COUNTS, TOY, TOY.attributes, clique)
        assert values.dtype == np.int64
        assert values.tolist() == (exact + 7).tolist()
    again = oracle(NoNoise())
    first = again.measure(Measure(0, ONEWAYS, Fraction(7), Fraction(1)))
    first[0] += 1000
    second = again.measure(Measure(0, ONEWAYS, Fraction(7), Fraction(1)))
    assert second[0].tolist() == project(COUNTS, TOY, TOY.attributes, ("a",)).tolist()


def selection_p_value(claimed_epsilon: float) -> float:
    """Test 6,000 selections with epsilon = 1 against the exponential mechanism's formula."""
    distances, weights, biases = (3, 9, 6), (2, 1, 3), (1, 0, 0)
    quality = np.array(weights) * (np.array(distances) - np.array(biases))
    expected = np.exp(claimed_epsilon * quality / (2 * max(weights)))
    request = select(ONEWAYS, distances, weights=weights, biases=biases)
    answering = oracle(SeededNoise(11))
    drawn = np.bincount([answering.select(request) for _ in range(6000)], minlength=3)
    return float(stats.chisquare(drawn, 6000 * expected / expected.sum()).pvalue)


def test_selections_follow_the_exponential_mechanism() -> None:
    assert selection_p_value(1.0) > 1e-4


def test_the_same_test_rejects_an_epsilon_30_percent_off() -> None:
    assert selection_p_value(1.3) < 1e-6


def test_unknown_cliques_and_wrong_shapes_are_refused() -> None:
    partial = PlaintextOracle(TOY, {("a", "b"): np.ones(6, np.int64)}, NoNoise(), 20)
    with pytest.raises(WorkloadError):
        partial.measure(Measure(0, (("c",),), Fraction(1), Fraction(1)))
    request = select(ONEWAYS, [0, 0, 0])
    swapped = dataclasses.replace(request, model_counts=(request.model_counts[1],) * 3)
    with pytest.raises(MechanismError, match="shape"):
        oracle(NoNoise()).select(swapped)


def test_the_oracle_shows_no_counts() -> None:
    assert repr(oracle(NoNoise())) == "PlaintextOracle(1 marginals)"
