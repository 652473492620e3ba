"""Cells of a table as texts, and what a text means as a number, a day or nothing.

Every table reaches the schema as texts, so that a value has one meaning wherever it came from:
`1` in a CSV file, an integer 1 and a float 1.0 in a Parquet file are the same value.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from aim_core.errors import TableError

Texts = npt.NDArray[np.object_]
"""One column of cells, each a `str` or None for missing."""

MISSING_TEXTS = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null"}
)
"""Texts that stand for a missing value, unless the schema lists them as a category."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_DAY = re.compile(r"([0-9]{4})[-/]([0-9]{2})[-/]([0-9]{2})(?:[ T][0-9]{2}:[0-9]{2}.*)?")
_MAX_EXACT_DIGITS = 25


def cell_texts(cells: "pd.Series[Any]") -> Texts:
    """Turn a pandas column of any type into texts; TableError for nested values."""
    try:
        array = pa.Array.from_pandas(cells)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        absent = cells.isna()
        values = [
            None if is_null else str(value) for value, is_null in zip(cells, absent, strict=True)
        ]
        return np.array(values, dtype=object)
    return arrow_texts(array, str(cells.name))


def arrow_texts(array: "pa.Array | pa.ChunkedArray", name: str) -> Texts:
    """Turn an Arrow column into texts; TableError for nested values or undecodable bytes."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        texts: Texts = array.cast(pa.string()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TableError(
            f"column {name!r} has type {array.type}, which has no plain text form; "
            "store it as text, number, boolean or date, or list the column in the schema's `drop`"
        ) from error
    return texts


def has_leading_zero(text: str) -> bool:
    """Tell whether a digit follows a leading zero, as in a postal code."""
    return _LEADING_ZERO.match(text) is not None


def plain_number(text: str) -> str | None:
    """Return one text for all spellings of a number, or None if the text is no plain number.

    `1`, `1.0` and `1e0` give the same text. `01` is no plain number: it may be a postal code.
    """
    if len(text) > _MAX_EXACT_DIGITS or not _NUMBER.fullmatch(text) or has_leading_zero(text):
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
