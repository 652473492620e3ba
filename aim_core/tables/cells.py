"""Cells of a table, which are texts, and what a text means as a number, a day or nothing.

Every table reaches the schema as texts, so that a value has one meaning wherever it came from:
`1` in a CSV file, an integer 1 and a float 1.0 in a Parquet file are the same value.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from aim_core.errors import TableError

MISSING_TEXTS = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null"}
)
"""Texts that stand for a missing value, unless the schema lists them as a category."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_DAY = re.compile(r"([0-9]{4})[-/]([0-9]{2})[-/]([0-9]{2})(?:[ T][0-9]{2}:[0-9]{2}.*)?")
_MAX_EXACT_DIGITS = 25


@dataclass(frozen=True)
class Cells:
    """One column of a chunk: its different texts, and for each row which of them it has.

    `texts` are as written, in the order in which rows first bring them; `indices` is (n_rows,),
    -1 where a row has no cell at all.
    """

    texts: Sequence[str]
    indices: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def of(cls, cells: Sequence[str | None]) -> Self:
        """Collect the cells of all rows, None for a row that has none."""
        return cls._encoded(pa.array(cells, pa.large_string()))

    @classmethod
    def of_arrow(cls, array: pa.Array, name: str) -> Self:
        """Turn an Arrow column into cells; TableError for nested values or undecodable bytes."""
        if pa.types.is_dictionary(array.type):
            # its dictionary may hold values that no row has
            array = array.dictionary_decode()
        try:
            return cls._encoded(array)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TableError(
                f"column {name!r} has type {array.type}, which has no plain text form; store it as "
                "text, number, boolean or date, or list the column in the schema's `drop`"
            ) from error

    @classmethod
    def _encoded(cls, array: pa.Array) -> Self:
        encoded = array.dictionary_encode()
        texts = encoded.dictionary.cast(pa.large_string()).drop_null().to_pylist()
        return cls(texts, encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))

    @cached_property
    def stripped(self) -> list[str]:
        """The different texts without the white space around them."""
        return [text.strip() for text in self.texts]

    def row(self, index: int) -> str | None:
        """Return the text of one row, None if it has no cell."""
        which = self.indices[index]
        return None if which < 0 else self.texts[which]


Chunk = Mapping[str, Cells]
"""Some rows of a table: its columns by name, all of one length."""


def frame_cells(frame: pd.DataFrame) -> Chunk:
    """Turn a pandas table of any types into cells; TableError for nested or repeated columns."""
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise TableError("the table has two columns of one name; rename one")
    return {name: _series_cells(frame.iloc[:, index]) for index, name in enumerate(names)}


def _series_cells(series: "pd.Series[Any]") -> Cells:
    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        present = series.notna()
        return Cells.of(
            [str(value) if given else None for value, given in zip(series, present, strict=True)]
        )
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return Cells.of_arrow(array, str(series.name))


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
