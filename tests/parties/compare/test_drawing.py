"""How numbers and names are drawn: units that people read, names that do not overlap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parties.compare.drawing import human_bytes, human_seconds, spread_apart


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0, 0, "0 B"),
        (17, 0, "17 B"),
        (999, 0, "999 B"),
        (13_234_000, 0, "13.2 MB"),
        (1_234_000, 51_000, "1.23 ± 0.05 MB"),
        (7.3e9, 0, "7.30 GB"),
        (1.5e12, 2e9, "1,500 ± 2 GB"),
    ],
)
def test_bytes_are_in_units_that_people_read(value: float, spread: float, text: str) -> None:
    assert human_bytes(value, spread) == text


def test_long_times_are_minutes() -> None:
    assert human_seconds(12.34, 0.5) == "12.3 ± 0.5 s"
    assert human_seconds(119) == "119 s"
    assert human_seconds(150, 6) == "2.50 ± 0.10 min"
    assert human_seconds(0.004) == "0.00 s"


@given(st.lists(st.floats(0, 1), max_size=8).map(sorted))
def test_names_are_spread_apart_in_order_around_their_mean(heights: list[float]) -> None:
    placed = spread_apart(heights, 0.065)
    assert all(b - a > 0.065 - 1e-9 for a, b in pairwise(placed))
    assert sum(placed) == pytest.approx(sum(heights), abs=1e-9)
    if all(b - a > 0.07 for a, b in pairwise(heights)):
        assert placed == pytest.approx(heights)
