"""The plaintext twins on inputs worked out by hand."""

import numpy as np

from mpc import reference


def test_products_do_not_overflow_before_the_reduction() -> None:
    x = np.array([2**63 + 1], np.uint64)
    assert reference.multiply(x, x, 64).tolist() == [1]
    assert reference.multiply(np.array([6], np.uint8), np.array([3], np.uint8), 0).tolist() == [2]


def test_sums_and_bits() -> None:
    x = np.array([7, 0], np.uint8)
    assert reference.add(x, np.array([1, 5], np.uint8), 3).tolist() == [0, 5]
    assert reference.ring_to_bits(x, 3).tolist() == [[1, 0], [1, 0], [1, 0]]
    assert reference.less_than(x, np.array([7, 1], np.uint8)).tolist() == [0, 1]


def test_distances_and_products() -> None:
    cells = np.array([1, 4, 0, 2, 9])
    models = [np.array([3, 1]), np.array([0, 0, 10])]
    assert reference.l1_distances(cells, [2, 3], [0, 1], models) == [5, 3]
    d = np.array([5, 6], np.uint32)
    assert reference.bit_products(d, np.array([1, 0], np.uint8), 2).tolist() == [1, 0]


def test_selection_takes_the_first_of_equals() -> None:
    assert reference.tournament([4, 9, 9, 1]) == 1
    assert reference.select([10, 20], [2, 1], [0, 0], [0, 0]) == 0
    assert reference.select([10, 20], [2, 1], [1, 0], [0, 0]) == 1
    assert reference.measure(np.array([3]), np.array([-5])).tolist() == [-2]
