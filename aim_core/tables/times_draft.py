"""Drafting a column of days, moments, times of day or durations from its texts."""

import functools
import itertools
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime

from aim_core.tables.columns.base import Column
from aim_core.tables.columns.calendar import UNITS, next_unit, unit_start, unit_starts
from aim_core.tables.columns.clock import (
    DAY_SECONDS,
    parse_duration,
    parse_formatted_day,
    parse_moment,
    parse_time,
    zone_of,
)
from aim_core.tables.columns.temporal import (
    DateColumn,
    DatetimeColumn,
    DurationColumn,
    TimeColumn,
)
from aim_core.tables.parsing import parse_day

_DAY_FORMATS = (
    *("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y%m%d", "%Y.%m.%d"),
    *("%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d-%B-%Y", "%d %B %Y", "%B %d, %Y"),
)
_MOMENT_FORMATS = (
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M"),
    *("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%Y/%m/%d %H:%M:%S"),
)
_MIDNIGHT = re.compile(r"00:00(:00(\.0+)?)?$")
MIN_TIMES = 100
_MOMENT_UNITS = ("second", "minute", "hour", *UNITS)


def draft_times(name: str, missing: bool, texts: Sequence[str], bins: int) -> Column | None:
    """Draft a column whose texts are all days, moments, times or durations; None if they are not.

    The format is the first that reads every text. A number such as 517 is a time of day only where
    there are many different ones and each is one.
    """
    days = _read_all(texts, parse_day)
    if days and _without_time(texts):
        return _date(name, missing, days, None, bins)
    for form in _DAY_FORMATS:
        if form == "%Y%m%d" and not _are_compact(texts):
            continue
        if days := _read_all(texts, functools.partial(parse_formatted_day, form=form)):
            return _date(name, missing, days, form, bins)
    return _moments(name, missing, texts, bins) or _spans(name, missing, texts, bins)


def _read_all(texts: Sequence[str], parse: Callable[[str], int | None]) -> list[int] | None:
    """Read every text; None at the first that cannot be read."""
    numbers = []
    for text in texts:
        number = parse(text)
        if number is None:
            return None
        numbers.append(number)
    return numbers


def _without_time(texts: Sequence[str]) -> bool:
    return all(len(text) == 10 or _MIDNIGHT.search(text) for text in texts)


def _are_compact(texts: Sequence[str]) -> bool:
    """Tell whether texts are eight digits that begin with a year of our times."""
    return all(len(text) == 8 and text.isdigit() and "1800" <= text[:4] < "2200" for text in texts)


def _date(name: str, missing: bool, days: Sequence[int], form: str | None, bins: int) -> Column:
    low, high = min(days), max(days)
    unit = next((u for u in UNITS if _n_units(low, high, u, bins) <= bins), UNITS[-1])
    first, last = unit_start(low, unit), next_unit(high, unit) - 1
    return DateColumn(name, missing, first, last, unit, format=form)


def _n_units(low: int, high: int, unit: str, enough: int) -> int:
    """Count calendar units, at most one more than `enough`: there may be millions of days."""
    return sum(1 for _ in itertools.islice(unit_starts(low, high, unit), enough + 1))


def _moments(name: str, missing: bool, texts: Sequence[str], bins: int) -> Column | None:
    zone = _zone(texts)
    forms = (None,) if zone or "T" in texts[0] else _MOMENT_FORMATS
    known = zone_of(zone) if zone else None
    for form in forms:
        if seconds := _read_all(texts, functools.partial(parse_moment, form=form, zone=known)):
            low, high = min(seconds), max(seconds)
            unit = next(
                (u for u, size in _unit_seconds() if (high - low) // size + 2 <= bins), "year"
            )
            step = _step(seconds)
            return DatetimeColumn(name, missing, low, high, unit, step=step, zone=zone, format=form)
    return None


def _unit_seconds() -> list[tuple[str, int]]:
    days = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}
    sizes = {"second": 1, "minute": 60, "hour": 3600}
    sizes |= {unit: n * DAY_SECONDS for unit, n in days.items()}
    return [(unit, sizes[unit]) for unit in _MOMENT_UNITS]


def _zone(texts: Sequence[str]) -> str | None:
    """Return the offset of ISO moments, UTC if they have several; None if one has none."""
    offsets = set()
    for text in texts:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
        offsets.add(moment.strftime("%z"))
    one = offsets.pop() if len(offsets) == 1 else "+0000"
    return "UTC" if one == "+0000" else f"{one[:3]}:{one[3:5]}"


def _spans(name: str, missing: bool, texts: Sequence[str], bins: int) -> Column | None:
    for form in (None, "hhmm"):
        if form == "hhmm" and len(texts) < MIN_TIMES:
            continue
        if seconds := _read_all(texts, functools.partial(parse_time, form=form)):
            step = 60 if form else _step(seconds)
            written = (
                "%H:%M" if form is None and all(text.count(":") == 1 for text in texts) else form
            )
            return TimeColumn(
                name, missing, 0, DAY_SECONDS - 1, 24, step=min(step, 3600), format=written
            )
    found = _read_all(texts, parse_duration)
    if found is None:
        return None
    form = "days" if "day" in texts[0] else "iso" if "P" in texts[0] else "clock"
    low, high, step = min(found), max(found), _step(found)
    n_steps = high // step - low // step + 1
    return DurationColumn(name, missing, low, high, min(bins, n_steps), step=step, format=form)


def _step(seconds: Sequence[int]) -> int:
    """Return the largest of a day, an hour, a quarter, a minute and a second that all keep to."""
    common = math.gcd(*seconds)
    return next(size for size in (DAY_SECONDS, 3600, 900, 60, 1) if common % size == 0)
