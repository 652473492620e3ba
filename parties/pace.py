"""How long something will take from how fast it went: the one place where time left is guessed."""

from collections import deque

_LEAST, _MOST = 3, 5
"""How many rounds a guess rests on."""


def seconds_left(elapsed: float, done: float, left: float) -> float | None:
    """Return the seconds for what is left at the rate of what is done, None before there is one."""
    return elapsed * left / done if done > 0 else None


class RoundPace:
    """What is left of a run, from the budget that its last whole rounds have spent.

    Nothing is said before `_LEAST` rounds: a selection alone spends next to nothing, and what comes
    before the first round is no round. The guess is bounded: it is the time per round times the
    rounds that the rest of the budget pays for, and rounds never become cheaper but for the last.
    """

    def __init__(self) -> None:
        self._ends: deque[tuple[float, float]] = deque(maxlen=_MOST + 1)

    def ended(self, now: float, spent: float) -> None:
        """Note the end of a round, or of what comes before the first, and the part spent then."""
        self._ends.append((now, spent))

    def left(self, now: float, spent: float) -> float | None:
        """Return the seconds left, None while nothing can be said; `spent` is a part of 1."""
        if spent >= 1:
            return 0.0
        if len(self._ends) <= _LEAST:
            return None
        (first, before), (last, after) = self._ends[0], self._ends[-1]
        at_last = seconds_left(last - first, after - before, 1 - after)
        return None if at_last is None else max(0.0, at_last - (now - last))


def duration(seconds: float) -> str:
    """Write a guessed duration in the unit that people would take."""
    for most, unit, size in ((100, "s", 1), (100 * 60, "min", 60), (48 * 3600, "h", 3600)):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
