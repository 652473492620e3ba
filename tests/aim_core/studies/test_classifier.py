"""The classifier's AUC: perfect, useless, in between; many classes; what has no value."""

import numpy as np
import pytest

from aim_core.arrays import CodeTable
from aim_core.domain import Domain
from aim_core.errors import TableError
from aim_core.studies.classifier import auc, default_target

DOMAIN = Domain(("noise", "cause", "label"), (5, 3, 2))


def toy(n_rows: int, seed: int, flip: float = 0.0) -> CodeTable:
    """Rows whose label is `cause == 2`, flipped at random with probability `flip`."""
    generator = np.random.default_rng(seed)
    codes = np.stack([generator.integers(0, size, n_rows) for size in DOMAIN.sizes], axis=1)
    codes[:, 2] = (codes[:, 1] == 2) ^ (generator.random(n_rows) < flip)
    return codes


def test_a_rule_that_always_holds_is_learnt_and_a_reversed_one_misleads() -> None:
    assert auc(toy(400, 1), toy(300, 2), DOMAIN, "label").value == 1.0
    reversed_rule = toy(400, 1)
    reversed_rule[:, 2] ^= 1
    assert auc(reversed_rule, toy(300, 2), DOMAIN, "label").value == 0.0


def test_labels_that_follow_nothing_can_only_be_guessed() -> None:
    found = auc(toy(400, 3), toy(4000, 4, flip=0.5), DOMAIN, "label")
    assert found.value == pytest.approx(0.5, abs=0.04)  # four standard errors


def test_by_hand_with_one_feature() -> None:
    # The classifier can only rank the two codes; (2 of 3 pairs right, 1 tied) gives 5/6.
    domain = Domain(("x", "y"), (2, 2))
    synthetic = np.array([[0, 0]] * 90 + [[0, 1]] * 10 + [[1, 0]] * 10 + [[1, 1]] * 90)
    real = np.array([[0, 0], [0, 0], [1, 0], [1, 1]])
    assert auc(synthetic, real, domain, "y").value == pytest.approx((1 + 1 + 0.5) / 3)


def test_many_classes_and_one_that_the_synthetic_table_lacks() -> None:
    domain = Domain(("x", "y"), (4, 4))
    every = np.repeat(np.arange(4), 100)
    real = np.stack([every, every], axis=1)
    assert auc(real, real, domain, "y").value == 1.0
    without = real[every != 3]
    # Classes 0 to 2 are told apart as well as before; class 3 counts a half.
    found = auc(without, real, domain, "y").value
    assert found is not None
    assert (3 * 0.8 + 0.5) / 4 < found <= (3 + 0.5) / 4


def test_features_with_many_codes_are_taken_as_ordered() -> None:
    domain = Domain(("x", "y"), (1000, 2))
    x = np.random.default_rng(5).integers(0, 1000, 2000)
    table = np.stack([x, x >= 500], axis=1)
    assert auc(table[:1000], table[1000:], domain, "y").value == pytest.approx(1.0, abs=1e-3)


def test_the_same_tables_give_the_same_area() -> None:
    # Above 10,000 rows boosting stops early on a random part of them.
    tables = toy(12_000, 6, flip=0.2), toy(500, 7, flip=0.2)
    assert auc(*tables, DOMAIN, "label") == auc(*tables, DOMAIN, "label")


def test_one_class_has_no_area() -> None:
    constant = toy(50, 8)
    constant[:, 2] = 1
    found = auc(constant, toy(50, 9), DOMAIN, "label")
    assert found.value is None
    assert "synthetic" in found.reason
    assert "real" in auc(toy(50, 9), constant, DOMAIN, "label").reason


def test_refusals() -> None:
    with pytest.raises(TableError, match="cannot be predicted"):
        auc(toy(5, 0), toy(5, 0), DOMAIN, "income")
    with pytest.raises(TableError, match="no rows"):
        auc(toy(0, 0), toy(5, 0), DOMAIN, "label")
    with pytest.raises(TableError, match="outside"):
        auc(toy(5, 0) + 1, toy(5, 0), DOMAIN, "label")
    with pytest.raises(TableError, match="at least two"):
        auc(np.zeros((3, 1), int), np.zeros((3, 1), int), Domain(("y",), (2,)), "y")


def test_default_target() -> None:
    assert default_target(DOMAIN) == "label"
    assert default_target(Domain(("a", "b", "c"), (2, 2, 3))) == "b"
    assert default_target(Domain(("a", "b"), (3, 1))) is None
