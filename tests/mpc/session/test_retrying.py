"""Deadlines and attempts, on a clock that the test moves."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.session.retrying import Backoff, Deadline, attempts, retry


class Clock:
    """Time that passes only while somebody sleeps, or as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mpc.session.retrying.time", clock)
    return clock


class Away(Exception):
    """Whom an action asks is away."""


class Peer:
    """Answers from a moment on; until then each question takes `seconds` and fails."""

    def __init__(self, clock: Clock, back_after: float, seconds: float = 0.0) -> None:
        self._clock, self._back, self._seconds = clock, clock.now + back_after, seconds
        self.n_asked = 0

    def ask(self) -> str:
        self.n_asked += 1
        if self._clock.now < self._back:
            self._clock.now += self._seconds
            raise Away(f"question {self.n_asked}")
        return "here"


@given(first=st.floats(0.01, 10), factor=st.floats(1, 100))
def test_pauses_grow_to_the_most_and_are_drawn_from_their_upper_half(
    first: float, factor: float
) -> None:
    most = first * factor
    for number, pause in enumerate(islice(Backoff(first, most), 12)):
        bound = min(first * 2**number, most)
        assert bound / 2 <= pause <= bound


def test_two_sites_do_not_come_back_in_step() -> None:
    one, other = (list(islice(Backoff(0.1, 5.0), 8)) for _ in range(2))
    assert one != other


def test_a_deadline_passes_once_and_can_be_restarted(clock: Clock) -> None:
    deadline = Deadline(5)
    clock.now += 4
    assert (deadline.left, deadline.passed) == (1, False)
    clock.now += 2
    assert (deadline.left, deadline.passed) == (0, True)
    deadline.restart()
    assert (deadline.left, deadline.passed) == (5, False)


def test_attempts_end_with_one_at_the_deadline(clock: Clock) -> None:
    times = [clock.now - 1000 for _ in attempts(Deadline(3), Backoff(1, 1))]
    assert times[0] == 0
    assert times[-1] == 3
    assert all(0 < pause <= 1 for pause in clock.pauses)


def test_no_time_at_all_is_one_attempt(clock: Clock) -> None:
    assert len(list(attempts(Deadline(0), Backoff(1, 1)))) == 1
    peer = Peer(clock, back_after=1)
    with pytest.raises(Away):
        retry(peer.ask, (Away,), Deadline(0), Backoff(1, 1))
    assert peer.n_asked == 1
    assert clock.pauses == []


def test_who_comes_back_in_time_is_heard(clock: Clock) -> None:
    told: list[Exception] = []
    peer = Peer(clock, back_after=2.5)
    assert retry(peer.ask, (Away,), Deadline(3), Backoff(1, 1), told.append) == "here"
    assert [str(error) for error in told] == [f"question {n + 1}" for n in range(peer.n_asked - 1)]


def test_who_stays_away_is_given_up_at_the_deadline_with_the_last_failure(clock: Clock) -> None:
    peer = Peer(clock, back_after=100)
    with pytest.raises(Away) as caught:
        retry(peer.ask, (Away,), Deadline(3), Backoff(1, 1))
    assert str(caught.value) == f"question {peer.n_asked}"
    assert clock.now == 1003


def test_the_deadline_counts_from_the_first_failure(clock: Clock) -> None:
    peer = Peer(clock, back_after=61, seconds=60)  # as long as an upload that breaks late
    deadline = Deadline(5)
    assert retry(peer.ask, (Away,), deadline, Backoff(2, 2)) == "here"


def test_progress_gives_more_time(clock: Clock) -> None:
    peer, deadline = Peer(clock, back_after=20), Deadline(3)

    def ask() -> str:
        if peer.n_asked < 30:
            deadline.restart()
        return peer.ask()

    assert retry(ask, (Away,), deadline, Backoff(1, 1)) == "here"


def test_another_error_is_not_tried_again(clock: Clock) -> None:
    def broken() -> None:
        raise ValueError("for good")

    with pytest.raises(ValueError, match="for good"):
        retry(broken, (Away,), Deadline(100), Backoff(1, 1))
    assert clock.pauses == []
