"""Days, moments, times of day and durations as whole numbers, read from texts and written back.

A day is `date.toordinal`; a moment is wall time in seconds since the beginning of the year 1; a
time of day is seconds since midnight; a duration is seconds. Fractions of a second are cut off.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

DAY_SECONDS = 86_400
UNIT_SECONDS = {"second": 1, "minute": 60, "hour": 3600}

_STEP = re.compile(r"([1-9][0-9]{0,8})(s|min|h|d)")
_STEP_SECONDS = {"d": DAY_SECONDS, "h": 3600, "min": 60, "s": 1}
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?")
_HOURS = re.compile(r"(-?)([0-9]{1,9}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?")
_DAYS = re.compile(
    r"(-?[0-9]{1,9}) days?,?(?: \+?([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?)?"
)
_ISO_DURATION = re.compile(
    r"(-?)P(?:([0-9]{1,9})D)?(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})(?:\.[0-9]+)?S)?)?"
)
_UNPADDED = re.compile(r"%-([dmHIMSjy])")
_FIRST = datetime(1, 1, 1)  # noqa: DTZ001 - wall time


def parse_step(text: str) -> int | None:
    """Read a step such as 1s, 15min, 1h or 1d in seconds; None if it is none."""
    match = _STEP.fullmatch(text)
    return int(match[1]) * _STEP_SECONDS[match[2]] if match else None


def step_text(seconds: int) -> str:
    """Write a step in its largest unit."""
    unit = next(unit for unit, size in _STEP_SECONDS.items() if seconds % size == 0)
    return f"{seconds // _STEP_SECONDS[unit]}{unit}"


def zone_of(name: str) -> tzinfo | None:
    """Return a time zone by its name or offset: UTC, +02:00, Europe/Berlin; None if unknown."""
    if match := re.fullmatch(r"([+-])([0-9]{2}):([0-9]{2})", name):
        minutes = int(match[2]) * 60 + int(match[3])
        if minutes >= 24 * 60:
            return None
        return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    try:
        return UTC if name in ("UTC", "Z") else ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return None
    except KeyError:
        return None


def parse_moment(text: str, form: str | None, zone: tzinfo | None) -> int | None:
    """Read a moment, ISO 8601 or in a format of `strftime`, as wall time in a zone.

    A text with an offset is converted to the zone; one without is wall time already. Without a
    zone, None for a text with an offset: it would lose its meaning.
    """
    try:
        moment = datetime.fromisoformat(text) if form is None else _read(text, form)
    except ValueError:
        return None
    if form is None and len(text) < len("2024-01-31"):
        return None  # fromisoformat takes 20240131 and 2024-W05 too
    if moment.tzinfo is not None:
        if zone is None:
            return None
        try:
            moment = moment.astimezone(zone).replace(tzinfo=None)
        except OverflowError:
            return None
    return int((moment - _FIRST) // timedelta(seconds=1))


def moment_text(seconds: int, form: str | None, zone: tzinfo | None) -> str:
    """Write a moment as `parse_moment` reads it."""
    moment = (_FIRST + timedelta(seconds=seconds)).replace(tzinfo=zone)
    return moment.isoformat() if form is None else _write(moment, form)


def parse_formatted_day(text: str, form: str) -> int | None:
    """Read a day in a format of `strftime`; None if it is none."""
    try:
        return _read(text, form).toordinal()
    except ValueError:
        return None


def formatted_day(day: int, form: str) -> str:
    """Write a day as `parse_formatted_day` reads it."""
    return _write(datetime.combine(date.fromordinal(day), datetime.min.time()), form)


def parse_time(text: str, form: str | None) -> int | None:
    """Read a time of day: 05:17 or 05:17:00, or in a format; `hhmm` is the number 517."""
    if form == "hhmm":
        number = text.removesuffix(".0")
        if not (number.isascii() and number.isdigit()) or len(number) > 4:
            return None
        hours, minutes = divmod(int(number), 100)
        return hours * 3600 + minutes * 60 if hours < 24 and minutes < 60 else None
    if form is None:
        match = _CLOCK.fullmatch(text)
        if match is None:
            return None
        hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3] or 0)
        inside = hours < 24 and minutes < 60 and seconds < 60
        return hours * 3600 + minutes * 60 + seconds if inside else None
    try:
        moment = _read(text, form)
    except ValueError:
        return None
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def time_text(seconds: int, form: str | None) -> str:
    """Write a time of day as `parse_time` reads it."""
    if form == "hhmm":
        return str(seconds // 3600 * 100 + seconds // 60 % 60)
    moment = _FIRST + timedelta(seconds=seconds)
    return moment.strftime("%H:%M:%S") if form is None else _write(moment, form)


def parse_duration(text: str) -> int | None:
    """Read a duration: `1 days 02:03:04`, `26:03:04` or ISO 8601 in days and smaller units."""
    if match := _DAYS.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if match := _HOURS.fullmatch(text):
        hours, minutes, seconds = (int(part) for part in match.groups()[1:])
        total = (hours * 60 + minutes) * 60 + seconds
        return -total if match[1] else total
    match = _ISO_DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return -total if match[1] else total


def duration_text(seconds: int, form: str) -> str:
    """Write a duration in one of the forms `days`, `clock` and `iso`."""
    if form == "days":
        days, rest = divmod(seconds, DAY_SECONDS)
        sign = "+" if days < 0 else ""
        return f"{days} days {sign}{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    sign, size = ("-", -seconds) if seconds < 0 else ("", seconds)
    if form == "clock":
        return f"{sign}{size // 3600}:{size // 60 % 60:02}:{size % 60:02}"
    days, rest = divmod(size, DAY_SECONDS)
    return f"{sign}P{days}DT{rest // 3600}H{rest // 60 % 60}M{rest % 60}S"


def _read(text: str, form: str) -> datetime:
    """Read a text in a format; ValueError if it does not fit."""
    return datetime.strptime(text, _UNPADDED.sub(r"%\1", form).replace("%:z", "%z"))  # noqa: DTZ007


def _write(moment: datetime, form: str) -> str:
    """Write a moment in a format; `%-d` is without padding, `%:z` an offset with a colon."""
    form = _UNPADDED.sub(lambda m: moment.strftime(f"%{m[1]}").lstrip("0") or "0", form)
    offset = moment.strftime("%z")
    form = form.replace("%:z", f"{offset[:3]}:{offset[3:5]}" if offset else "")
    # the C library does not pad years below 1000
    return moment.strftime(form.replace("%Y", f"{moment.year:04}"))
