"""Workload errors: by hand, at the extremes, and refusals."""

import numpy as np
import pytest

from aim_core.domain import Domain
from aim_core.errors import TableError, WorkloadError
from aim_core.evaluation import workload_errors
from aim_core.marginals import count_marginals
from aim_core.workload import Workload

DOMAIN = Domain(("x", "y"), (2, 2))
REAL = np.array([[0, 0], [0, 1], [1, 1], [1, 1]])


def errors(synthetic, cliques=(("x",), ("y",), ("x", "y")), counted=(("x", "y"),)):
    real = count_marginals([REAL], DOMAIN, counted)
    return workload_errors(real, np.array(synthetic), Workload(DOMAIN, cliques))


def test_errors_by_hand_whatever_the_numbers_of_rows():
    found = errors([[0, 0], [0, 1], [0, 1], [0, 1], [0, 0], [0, 0], [1, 0], [1, 0]])
    assert found.l1[("x",)] == pytest.approx(2 * (6 / 8 - 1 / 2))
    assert found.l1[("y",)] == pytest.approx(2 * (5 / 8 - 1 / 4))
    assert found.l1[("x", "y")] == pytest.approx(1 / 8 + 1 / 8 + 2 / 8 + 1 / 2)
    assert found.tv[("x", "y")] == pytest.approx(found.l1[("x", "y")] / 2)
    assert found.mean_l1 == pytest.approx(sum(found.l1.values()) / 3)
    assert found.mean_tv == pytest.approx(found.mean_l1 / 2)


def test_the_same_table_has_no_error_and_a_disjoint_one_the_largest():
    assert errors(np.tile(REAL, (3, 1))).mean_l1 == pytest.approx(0)
    assert errors([[1, 0]], cliques=(("x", "y"),)).mean_tv == pytest.approx(1)


def test_real_marginals_are_found_in_larger_ones_or_taken_as_they_are():
    direct = errors([[0, 0]], cliques=(("x",),), counted=(("x",), ("x", "y")))
    assert direct.l1 == errors([[0, 0]], cliques=(("x",),)).l1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(TableError, match="without rows"):
        errors(np.zeros((0, 2), dtype=np.int64))
    with pytest.raises(TableError):
        errors([[0, 2]])
    with pytest.raises(WorkloadError):
        errors([[0, 0]], counted=(("x",),))
