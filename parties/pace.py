"""How long something will take from how fast it went: the one place where time left is guessed."""


def seconds_left(elapsed: float, done: float, left: float) -> float | None:
    """Return the seconds for what is left at the rate of what is done, None before there is one."""
    return elapsed * left / done if done > 0 else None
