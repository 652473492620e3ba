"""What a text means: a number, a day, or nothing."""

import re
from datetime import date
from decimal import Decimal

MISSING_TEXTS = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}
    | {"-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null"}
)
"""Texts that stand for a missing value, unless the schema lists them as a category."""

_DECIMAL = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_SCIENTIFIC = r"[+-]?[0-9](?:\.[0-9]*[eE][+-]?|[eE][+-])[0-9]{1,3}"
_PLAIN = re.compile(f"{_DECIMAL}|{_SCIENTIFIC}")
_NUMBER = re.compile(rf"{_DECIMAL}|{_SCIENTIFIC}|[+-]?[0-9]e[0-9]{{1,3}}")
"""Numbers as programs write them: `1e-05` and `1.5E10`, but `10E2` and `7E3` are codes."""

_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_DAY = re.compile(r"([0-9]{4})[-/]([0-9]{2})[-/]([0-9]{2})(?:[ T][0-9]{2}:[0-9]{2}.*)?")
_MAX_EXACT_DIGITS = 25


def has_leading_zero(text: str) -> bool:
    """Tell whether a digit follows a leading zero, as in a postal code."""
    return _LEADING_ZERO.match(text) is not None


def plain_number(text: str) -> str | None:
    """Return one text for all spellings of a number, or None if the text is no plain number.

    `1`, `1.0` and `1.0e+0` give the same text. `01` is no plain number: it may be a postal code;
    nor is `1e3`, which may be a code.
    """
    if len(text) > _MAX_EXACT_DIGITS or not _PLAIN.fullmatch(text) or has_leading_zero(text):
        return None
    value = Decimal(text).normalize()
    return "0" if value == 0 else str(value)


def parse_integer(text: str) -> int | None:
    """Read a whole number (`3`, `3.0` and `3e0` alike); None if the text is not one."""
    if len(text) > _MAX_EXACT_DIGITS or not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdigit():
        return int(text)
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else None


def parse_number(text: str) -> float:
    """Read a finite number; NaN if the text is not one, infinity if it is too large."""
    return float(text) if _NUMBER.fullmatch(text) else float("nan")


def parse_day(text: str) -> int | None:
    """Read an ISO date, with or without a time of day, as its proleptic day number."""
    match = _DAY.fullmatch(text)
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3])).toordinal()
    except ValueError:
        return None


def day_text(day: int) -> str:
    """Write a day number as an ISO date."""
    return date.fromordinal(day).isoformat()


def number_text(number: float) -> str:
    """Write a number without an exponent where that is short, and without needless digits."""
    if number == int(number) and abs(number) < 1e15:
        return str(int(number))
    return repr(number)
