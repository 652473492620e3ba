"""Waiting for others: deadlines, and attempts with growing pauses of a random length.

Sites that were cut off together would come back in step, again and again, if their pauses were
equal.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Backoff:
    """Pauses in seconds: the first is at most `first`, each at most twice the last, up to `most`.

    Each is drawn between half of that and all of it. As an iterable it never ends.
    """

    first: float
    most: float

    def __iter__(self) -> Iterator[float]:
        bound = self.first
        while True:
            yield random.uniform(bound / 2, bound)  # noqa: S311 - no secret: a length of time
            bound = min(2 * bound, self.most)


class Deadline:
    """The end of a wait, some seconds after it was made or restarted."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Count anew from now on."""
        self._end = time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        """Seconds until the end, 0 after it."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the wait is over."""
        return self.left == 0


def attempts(deadline: Deadline, backoff: Backoff) -> Iterator[None]:
    """Yield at once and after each pause, for the last time when the deadline has passed."""
    for pause in backoff:
        late = deadline.passed
        yield
        if late:
            return
        time.sleep(min(pause, deadline.left))


def retry(
    action: Callable[[], Result],
    errors: tuple[type[Exception], ...],
    deadline: Deadline,
    backoff: Backoff,
    on_failure: Callable[[Exception], None] = lambda _: None,
) -> Result:
    """Return what `action` returns; while it raises one of `errors`, try it again.

    The deadline counts from the first failure on, and `action` may restart it. Raises the failure
    that comes after it, so that with 0 seconds there is one attempt. `on_failure` is told every
    failure that is not final, before the pause.
    """
    for n_failures, pause in enumerate(backoff):
        try:
            return action()
        except errors as error:
            if n_failures == 0:
                deadline.restart()
            if deadline.passed:
                raise
            on_failure(error)
        time.sleep(min(pause, deadline.left))
    raise AssertionError("a backoff never ends")
