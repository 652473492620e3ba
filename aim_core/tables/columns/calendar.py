"""Calendar units of day numbers (`date.toordinal`): where they begin. Weeks begin on Monday."""

from collections.abc import Iterator
from datetime import date

UNITS = ("day", "week", "month", "quarter", "year")
_N_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def unit_start(day: int, unit: str) -> int:
    """Return the first day of the calendar unit that `day` lies in."""
    if unit == "day":
        return day
    here = date.fromordinal(day)
    if unit == "week":
        return max(1, day - here.weekday())
    n_months = _N_MONTHS[unit]
    return date(here.year, (here.month - 1) // n_months * n_months + 1, 1).toordinal()


def next_unit(day: int, unit: str) -> int:
    """Return the first day of the calendar unit after the one that `day` lies in."""
    start = unit_start(day, unit)
    if unit in ("day", "week"):
        return start + {"day": 1, "week": 7}[unit]
    first = date.fromordinal(start)
    month = first.month - 1 + _N_MONTHS[unit]
    if month >= 12 and first.year == date.max.year:
        return date.max.toordinal() + 1
    return date(first.year + month // 12, month % 12 + 1, 1).toordinal()


def unit_starts(low: int, high: int, unit: str) -> Iterator[int]:
    """Yield `low` and the first days of the calendar units that begin in (low, high]."""
    start = low
    while start <= high:
        yield start
        start = next_unit(start, unit)
