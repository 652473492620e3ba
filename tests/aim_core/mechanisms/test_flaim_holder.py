"""A holder's steps in FLAIM: scores and sensitivities, by hand and exhaustively."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest

from aim_core.counts.scores import multipliers
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError, TableError
from aim_core.mechanisms.flaim_holder import FlaimHolder, Question, model_references
from aim_core.mechanisms.flaim_terms import PROPORTION_BITS, Proportions, to_proportions
from tests.support.toys import TOY, DenseModel, NoNoise, SeededNoise

BITS = 16
UNIT = 2**PROPORTION_BITS
Rows = tuple[tuple[int, ...], ...]
SMALL = Domain(("a", "b"), (2, 2))
CANDIDATES = (("a",), ("a", "b"))


question = partial(
    Question,
    candidates=CANDIDATES,
    weights=(1, 2),
    selection_epsilon=Fraction(1),
    biases=(0, 0),
    n_steps=1,
    references=(to_proportions(np.array([1.0, 1.0])), to_proportions(np.ones(4))),
)


def holder(rows: npt.ArrayLike, domain: Domain = SMALL) -> FlaimHolder:
    return FlaimHolder(domain, np.asarray(rows))


def test_scores_by_hand() -> None:
    # 4 rows: a = 0, 0, 0, 1 and ab = 00, 00, 01, 11
    four = holder([[0, 0], [0, 0], [0, 1], [1, 1]])
    # |(3, 1) - 4 (1/2, 1/2)| = 2; |(2, 1, 0, 1) - (1, 1, 1, 1)| = 2, in counts
    assert four.distance(("a",), question().references[0]) == 2 * UNIT
    assert four.distance(("a", "b"), question().references[1]) == 2 * UNIT
    # C = 2^16 w / (2 * 2) for epsilon 1
    assert four.scores(question(), BITS) == [2**16 / 4 * 2, 2**16 / 2 * 2]
    # the noise would leave 1 and 3 counts
    assert four.scores(question(biases=(1, 3)), BITS) == [2**16 / 4, -(2**16) / 2]


def test_the_private_correction_by_hand() -> None:
    four = holder([[0, 0], [0, 0], [0, 1], [1, 1]])
    oneways: dict[Clique, Proportions] = {
        ("a",): to_proportions(np.array([1.0, 1.0])),
        ("b",): to_proportions(np.array([3.0, 1.0])),
    }
    asked = question(oneways=oneways)
    # tau: |(3, 1) - (2, 2)| = 2 for a and |(2, 2) - (3, 1)| = 2 for b; the mean over ab is 2
    assert four.heterogeneity(("a",), asked) == 2 * UNIT
    assert four.heterogeneity(("a", "b"), asked) == 2 * UNIT
    assert four.scores(asked, BITS) == [0, 0]
    # with tau the sensitivity doubles, so the multipliers halve
    uneven = question(oneways={**oneways, ("b",): to_proportions(np.array([1.0, 1.0]))})
    assert four.scores(uneven, BITS) == [0, 2**16 / 4 * (2 - 1)]


def test_the_oracle_correction_by_hand() -> None:
    four = holder([[0, 0], [0, 0], [0, 1], [1, 1]])
    truths = {("a",): to_proportions(np.array([3.0, 1.0])), ("a", "b"): to_proportions(np.ones(4))}
    asked = question(truths=truths)
    # as all holders together in a, 2 counts away in ab
    assert four.scores(asked, BITS) == [2**16 / 8 * 2, 0]


def test_sparse_distances_are_the_dense_ones() -> None:
    generator = np.random.default_rng(1)
    rows = np.stack([generator.integers(0, size, 50) for size in TOY.sizes], axis=1)
    some = holder(rows, TOY)
    for clique in (("a",), ("b", "c"), ("a", "b", "c")):
        reference = to_proportions(generator.random(TOY.n_cells(clique)))
        dense = np.abs((some.marginal(clique) << PROPORTION_BITS) - 50 * reference).sum()
        assert some.distance(clique, reference) == dense


def neighbours(domain: Domain, n_rows: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield tables, and each with one row taken out."""
    cells = list(itertools.product(*(range(size) for size in domain.sizes)))
    for rows in itertools.combinations_with_replacement(cells, n_rows):
        for place in range(n_rows):
            yield rows, rows[:place] + rows[place + 1 :]


@pytest.mark.parametrize("tau", [None, "oneways", "truths"])
def test_a_record_moves_scores_by_the_sensitivity_at_most(tau: str | None) -> None:
    """n_k stays, as the neighbouring relation says; the largest change found is the bound."""
    generator = np.random.default_rng(2)
    largest = Fraction(0)
    for _ in range(20):
        references = tuple(to_proportions(generator.random(n) ** 4) for n in (2, 4))
        oneways: dict[Clique, Proportions] = {
            (name,): to_proportions(generator.random(2) ** 4) for name in "ab"
        }
        truths = dict(
            zip(CANDIDATES, (to_proportions(generator.random(n) ** 4) for n in (2, 4)), strict=True)
        )
        asked = question(
            references=references,
            weights=(2, 2),
            oneways=oneways if tau == "oneways" else None,
            truths=truths if tau == "truths" else None,
        )
        for rows, fewer in neighbours(SMALL, 3):
            before, after = Fixed(SMALL, rows, 3), Fixed(SMALL, fewer, 3)
            changes = [
                abs(x - y)
                for x, y in zip(before.scores(asked, BITS), after.scores(asked, BITS), strict=True)
            ]
            largest = max(largest, *changes)
    bound = Fraction(2**BITS, 2)
    assert largest <= bound
    assert largest > bound * 9 / 10


def test_without_doubling_the_sensitivity_the_bound_would_be_broken() -> None:
    """The negative control: with tau, the undoubled multipliers let scores move by more."""
    full = multipliers((2,), Fraction(1), BITS)[0]
    reference, oneway = to_proportions(np.array([1.0, 0.0])), to_proportions(np.array([0.0, 1.0]))
    asked = question(candidates=(("a",),), weights=(2,), biases=(0,), references=(reference,))
    moved = []
    for rows in ([[1, 0], [1, 0]], [[1, 0]]):
        some = Fixed(SMALL, rows, 2)
        tau = dataclasses.replace(asked, oneways={("a",): oneway})
        moved.append(full * (some.distance(("a",), reference) - some.heterogeneity(("a",), tau)))
    assert abs(moved[0] - moved[1]) / UNIT == 2 * Fraction(2**BITS, 2)


def test_recounting_n_k_would_double_the_sensitivity() -> None:
    """Why the neighbouring relation keeps n_k: dividing by a changed n_k moves everything."""
    reference = to_proportions(np.array([1.0, 0.0]))
    far = holder([[1, 0], [1, 0]]).distance(("a",), reference)
    near = holder([[1, 0]]).distance(("a",), reference)
    assert far - near == 2 * UNIT


class Fixed(FlaimHolder):
    """A holder whose n_k is what it enrolled with."""

    def __init__(self, domain: Domain, rows: npt.ArrayLike, n_records: int) -> None:
        super().__init__(domain, np.asarray(rows).reshape(-1, len(domain)))
        self._n_records = n_records

    @property
    def n_records(self) -> int:
        return self._n_records


def test_choices_follow_the_exponential_mechanism() -> None:
    four = holder([[0, 0], [0, 0], [0, 1], [1, 1]])
    asked = question()
    noise = SeededNoise(3)
    n = 4000
    counts = Counter(four.choose(asked, noise, BITS)[0] for _ in range(n))
    # scores 1/2 and 1: P = e / (e + sqrt(e)), four standard deviations
    expected = math.exp(1) / (math.exp(1) + math.exp(0.5))
    assert abs(counts[1] / n - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def test_steps_choose_different_candidates_best_first() -> None:
    four = holder([[0, 0], [0, 0], [0, 1], [1, 1]])
    assert four.choose(question(n_steps=2), NoNoise(), BITS) == (1, 0)
    with pytest.raises(MechanismError):
        four.choose(question(n_steps=3), NoNoise(), BITS)


def test_model_references_are_normalised() -> None:
    model = DenseModel(Domain(("a",), (2,)), np.array([30.0, 10.0]))
    assert model_references(model, [("a",)])[0].tolist() == [3 * 2**30, 2**30]


def test_a_holder_needs_rows_and_shows_none() -> None:
    with pytest.raises(TableError):
        holder(np.zeros((0, 2), int))
    assert repr(holder([[0, 1]])) == "FlaimHolder()"
