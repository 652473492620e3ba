"""The warning where noise exceeds the average cell: by hand, at its border, and what it says."""

import pytest

from aim_core.domain import Domain
from aim_core.privacy.noise_warning import noise_warning

DOMAIN = Domain(("a", "b", "c"), (2, 10, 50))


@pytest.mark.parametrize(
    ("sigma", "records", "columns"),
    [
        (10.0, 500, ""),
        (10.1, 500, "1 of 3 columns (c)"),
        (49.9, 500, "1 of 3 columns (c)"),
        (50.1, 500, "2 of 3 columns (b, c)"),
        (251.0, 500, "3 of 3 columns (a, b, c)"),
    ],
)
def test_columns_are_named_whose_average_cell_is_below_the_noise(
    sigma: float, records: float, columns: str
) -> None:
    text = noise_warning(DOMAIN, sigma, records, "at most")
    assert (text is None) == (columns == "")
    assert text is None or f"exceeds the average cell in {columns}:" in text


def test_it_says_what_exceeds_what_and_what_to_do() -> None:
    text = noise_warning(DOMAIN, 30.0, 1000, "at most")
    assert text is not None
    assert "at most 1,000 records over the 50 values of c are 20 a cell" in text
    assert "standard deviation of 30" in text
    assert "Raise epsilon, take fewer columns or coarser values, or more records." in text
    assert "number of rows" not in text


def test_a_total_that_is_noise_is_said_besides() -> None:
    """1 / (1/2 + 1/10 + 1/50) = 1.613, so the total is off by 1.27 sigma."""
    below = noise_warning(DOMAIN, 100.0, 128, "an estimated")
    above = noise_warning(DOMAIN, 100.0, 126, "an estimated")
    assert below is not None
    assert above is not None
    assert "number of rows" not in below
    assert "The number of rows is noise as well: it is off by 127 or so." in above


def test_many_columns_are_counted_and_some_named() -> None:
    names = tuple(f"x{index}" for index in range(60))
    text = noise_warning(Domain(names, (5,) * 60), 1e4, 100, "at most")
    assert text is not None
    assert "in 60 of 60 columns (x0, x1, x2, x3, x4, ...)" in text
