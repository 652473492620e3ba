"""Workload errors and likelihoods: by hand, at the extremes, and refusals."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import Workload, parse_workload
from aim_core.domain import Clique, Domain
from aim_core.errors import TableError, WorkloadError
from aim_core.models.tree_model import calibrate
from aim_core.studies.errors_of_tables import (
    WorkloadErrors,
    negative_log_likelihood,
    triples_outside,
    workload_errors,
)

DOMAIN = Domain(("x", "y"), (2, 2))
REAL = np.array([[0, 0], [0, 1], [1, 1], [1, 1]])


def errors(
    synthetic: npt.ArrayLike,
    cliques: tuple[Clique, ...] = (("x",), ("y",), ("x", "y")),
    counted: Sequence[Clique] = (("x", "y"),),
) -> WorkloadErrors:
    real = count_marginals([REAL], DOMAIN, counted)
    return workload_errors(real, np.array(synthetic), Workload(DOMAIN, cliques))


def test_errors_by_hand_whatever_the_numbers_of_rows() -> None:
    found = errors([[0, 0], [0, 1], [0, 1], [0, 1], [0, 0], [0, 0], [1, 0], [1, 0]])
    assert found.l1[("x",)] == pytest.approx(2 * (6 / 8 - 1 / 2))
    assert found.l1[("y",)] == pytest.approx(2 * (5 / 8 - 1 / 4))
    assert found.l1[("x", "y")] == pytest.approx(1 / 8 + 1 / 8 + 2 / 8 + 1 / 2)
    assert found.tv[("x", "y")] == pytest.approx(found.l1[("x", "y")] / 2)
    assert found.mean_l1 == pytest.approx(sum(found.l1.values()) / 3)
    assert found.mean_tv == pytest.approx(found.mean_l1 / 2)


def test_the_mean_weighs_cliques_as_the_workload_does() -> None:
    real = count_marginals([REAL], DOMAIN, [("x", "y")])
    workload = Workload(DOMAIN, (("x",), ("y",), ("x", "y")), (1, 5, 2))
    found = workload_errors(real, np.array([[0, 0], [0, 1]]), workload)
    assert found.l1 == pytest.approx({("x",): 1.0, ("y",): 0.5, ("x", "y"): 1.0})
    assert found.mean_l1 == pytest.approx((1 * 1.0 + 5 * 0.5 + 2 * 1.0) / 8)


def test_the_same_table_has_no_error_and_a_disjoint_one_the_largest() -> None:
    assert errors(np.tile(REAL, (3, 1))).mean_l1 == pytest.approx(0)
    assert errors([[1, 0]], cliques=(("x", "y"),)).mean_tv == pytest.approx(1)


def test_real_marginals_are_found_in_larger_ones_or_taken_as_they_are() -> None:
    direct = errors([[0, 0]], cliques=(("x",),), counted=(("x",), ("x", "y")))
    assert direct.l1 == errors([[0, 0]], cliques=(("x",),)).l1


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(TableError, match="without rows"):
        errors(np.zeros((0, 2), dtype=np.int64))
    with pytest.raises(TableError):
        errors([[0, 2]])
    with pytest.raises(WorkloadError):
        errors([[0, 0]], counted=(("x",),))


def test_triples_outside_a_workload() -> None:
    domain = Domain(tuple("abcde"), (2,) * 5)
    outside = triples_outside(Workload(domain, (("a", "b", "c"), ("b", "c", "d", "e"), ("a", "e"))))
    # What a larger clique of W contains is not outside: five triples are left of ten.
    assert set(outside) == {
        ("a", "b", "d"),
        ("a", "b", "e"),
        ("a", "c", "d"),
        ("a", "c", "e"),
        ("a", "d", "e"),
    }
    assert triples_outside(Workload(domain, (domain.attributes,))) == ()
    assert triples_outside(Workload(Domain(("a", "b"), (2, 2)), (("a",),))) == ()


def test_many_triples_outside_are_drawn_from_the_seed_and_huge_ones_left_out() -> None:
    domain = Domain(tuple("abcdefghijkl"), (2,) * 10 + (1000, 1001))
    workload = parse_workload("random:20:1", domain)
    drawn = triples_outside(workload)
    assert len(drawn) == 64
    assert not set(drawn) & set(workload.cliques)
    assert not any({"k", "l"} <= set(clique) for clique in drawn)
    assert drawn == triples_outside(workload)
    assert drawn != triples_outside(workload, seed=1)


def test_likelihood_by_hand() -> None:
    uniform = calibrate(DOMAIN, {}, 100.0)
    assert negative_log_likelihood(uniform, REAL) == pytest.approx(np.log(4))
    x_only = calibrate(DOMAIN, {("x",): np.log([3.0, 1.0])}, 7.0)
    expected = -np.mean(np.log([3 / 8, 3 / 8, 1 / 8, 1 / 8]))
    assert negative_log_likelihood(x_only, REAL) == pytest.approx(expected)


def test_rows_that_the_model_rules_out_cost_a_finite_amount() -> None:
    potential = np.array([0.0, -5000.0])
    model = calibrate(DOMAIN, {("x",): potential}, 10.0)
    impossible = negative_log_likelihood(model, np.array([[1, 0]]))
    assert impossible == pytest.approx(np.log(1e9) + np.log(4))
    assert negative_log_likelihood(model, np.array([[0, 0]])) == pytest.approx(np.log(2))
    every = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    scored = [np.exp(-negative_log_likelihood(model, row[None])) for row in every]
    assert sum(scored) == pytest.approx(1.0, abs=1e-14)


def test_the_likelihood_of_no_rows_is_refused() -> None:
    with pytest.raises(TableError, match="without rows"):
        negative_log_likelihood(calibrate(DOMAIN, {}, 1.0), np.zeros((0, 2), dtype=int))
