"""Time left: nothing before it means something, and never more than the rounds left can take."""

import pytest

from parties.pace import RoundPace, duration


def test_nothing_is_said_before_three_whole_rounds() -> None:
    pace = RoundPace()
    assert pace.left(0.0, 0.0) is None
    pace.ended(0.0, 0.06)
    assert pace.left(100.0, 0.06 + 1e-6) is None  # a selection alone: nearly nothing is spent
    for number in (1, 2):
        pace.ended(2.0 * number, 0.06 + 0.01 * number)
        assert pace.left(2.0 * number, 0.06 + 0.01 * number) is None
    pace.ended(6.0, 0.09)
    assert pace.left(6.0, 0.09) == pytest.approx(91 * 2.0)


@pytest.mark.parametrize("selection", [0.0, 1e-9, 0.001])
def test_equal_rounds_are_guessed_exactly_also_within_a_round(selection: float) -> None:
    pace = RoundPace()
    for number in range(51):
        now, spent = 10.0 + 3.0 * number, 0.0 + 0.01 * number
        pace.ended(now, spent)
        if number >= 3:
            assert pace.left(now, spent) == pytest.approx(3.0 * (100 - number))
            assert pace.left(now + 1, spent + selection) == pytest.approx(3.0 * (100 - number) - 1)


def test_annealing_shortens_the_guess_and_a_wait_never_lengthens_it() -> None:
    pace, spent, part = RoundPace(), 0.05, 0.005
    guesses = []
    pace.ended(0.0, spent)
    for number in range(1, 8):
        part *= 2
        spent += part
        pace.ended(1.0 * number, spent)
        left = pace.left(1.0 * number, spent)
        guesses += [] if left is None else [left]
        if spent < 1 and left is not None:
            assert left <= (1 - spent) / part * 4  # the rounds that are left at most, a second each
            assert pace.left(1.0 * number + 1e6, spent) == 0.0
    assert guesses == sorted(guesses, reverse=True)


def test_at_the_end_nothing_is_left() -> None:
    assert RoundPace().left(5.0, 1.0) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99.0, "99 s"), (120.0, "2 min"), (5999.0, "100 min"), (7200.0, "2 h"),
     (55_967.0, "16 h"), (400_000.0, "5 days")],
)  # fmt: skip
def test_durations_are_in_units_that_people_take(seconds: float, text: str) -> None:
    assert duration(seconds) == text
