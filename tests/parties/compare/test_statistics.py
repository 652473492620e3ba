"""Means with their intervals, pairs with central AIM, the order of groups, the mark in texts."""

import math

import pytest

from parties.compare.rows import METHODS
from parties.compare.statistics import Mean, mean_of, summarise, text_marker
from tests.support.comparisons import make_row

T_4 = 2.7764451049  # Student's t, 97.5 %, 4 degrees of freedom, from a printed table


def known(mean: Mean | None) -> Mean:
    assert mean is not None
    return mean


def test_an_interval_is_students_t_over_the_seeds() -> None:
    # mean 3, squared deviations 4 + 1 + 0 + 1 + 4 = 10, variance 10/4, standard error sqrt(1/2)
    mean = known(mean_of([1, 2, 3, 4, 5]))
    half = T_4 * math.sqrt(0.5)
    assert (mean.n, mean.mean) == (5, 3)
    assert mean.interval == pytest.approx((3 - half, 3 + half), rel=1e-9)
    assert mean.half_width == pytest.approx(half, rel=1e-9)


def test_two_seeds_have_the_wide_interval_of_one_degree_of_freedom() -> None:
    # t with one degree of freedom is Cauchy's: tan(0.475 pi) = 12.706; standard error 1
    assert known(mean_of([4, 6])).half_width == pytest.approx(math.tan(0.475 * math.pi), rel=1e-9)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    single = known(mean_of([4.0]))
    assert single.interval is None
    assert single.half_width == 0
    assert mean_of([]) is None


def test_ratios_and_differences_pair_the_seeds() -> None:
    central = [make_row("central", seed=s, error_l1=e, nll=9 + e) for s, e in enumerate((1, 2, 4))]
    # Seed 7 has no partner; ratios on the others are 2, 4, 8, so logs are 1, 2, 3 times log 2.
    errors = ((2, 32.0), (0, 2.0), (1, 8.0), (7, 99.0))
    flaim = [make_row("flaim", seed=seed, error_l1=e, nll=9 + e) for seed, e in errors]
    own = summarise([*flaim, *central])[1]
    ratio = known(own.ratios["error_l1"])
    width = 4.3026527299 / math.sqrt(3)
    assert ratio.n == 3
    assert ratio.mean == pytest.approx(4)
    assert ratio.interval == pytest.approx((2 ** (2 - width), 2 ** (2 + width)), rel=1e-9)
    assert known(own.differences["nll"]).mean == pytest.approx((1 + 6 + 28) / 3)
    assert known(own.metrics["error_l1"]).n == 4


def test_there_is_no_ratio_to_an_error_of_zero() -> None:
    rows = [make_row("central", error_l1=0.0), make_row("flaim")]
    own = summarise(rows)[1]
    assert own.ratios["error_l1"] is None
    assert known(own.differences["error_l1"]).mean == 0.25


def test_without_central_there_is_nothing_to_pair_with() -> None:
    assert summarise([make_row("flaim")])[0].ratios == {}
    others = summarise([make_row("flaim", "3"), make_row("central", "1")])
    assert [group.ratios for group in others] == [{}, {}]


def test_bytes_of_one_run_get_no_interval_but_errors_do() -> None:
    rows = [make_row("distaim", seed=s, error_l1=0.1 * s, bytes_up=7.0) for s in range(3)]
    own = summarise(rows)[0]
    assert known(own.metrics["bytes_up"]).interval is None
    assert known(own.metrics["bytes_up"]).mean == 7
    assert known(own.metrics["error_l1"]).interval is not None
    measured = summarise([make_row("flaim", seed=s) for s in range(3)])[0]
    assert known(measured.metrics["bytes_up"]).interval


def test_groups_stand_in_the_order_of_methods_and_of_epsilon_as_a_number() -> None:
    rows = [make_row(m, e) for e in ("10", "3", "1/2") for m in reversed(METHODS)]
    expected = [(m, e) for m in METHODS for e in ("1/2", "3", "10")]
    assert [(group.method, group.epsilon) for group in summarise(rows)] == expected


def test_texts_for_one_epsilon_are_one_group() -> None:
    assert len(summarise([make_row("flaim", "1"), make_row("flaim", "1.0", 1)])) == 1


def test_the_marker_marks_once() -> None:
    mark = text_marker([make_row("flaim")])
    once = "flaim, augflaim-oracle (not private), augflaim-private, AugFLAIM (Oracle) (not private)"
    assert mark(once.replace(" (not private)", "")) == once
    assert mark(once) == once
