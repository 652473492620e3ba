"""Cells of a table, which are texts.

Every table reaches the schema as texts, so that a value has one meaning wherever it came from:
`1` in a CSV file, an integer 1 and a float 1.0 in a Parquet file are the same value.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from aim_core.errors import TableError
from aim_core.tables.columns.clock import duration_text

_CLOCK = re.compile(r"(.*:[0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{4})?")
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True)
class Cells:
    """One column of a chunk: its different texts, and for each row which of them it has.

    `texts` are as written but in Unicode's normal form (NFC), in the order in which rows first
    bring them; `indices` is (n_rows,), -1 where a row has no cell at all. `categories` are all
    texts in order, where the table's file or frame states one, in use or not.
    """

    texts: Sequence[str]
    indices: npt.NDArray[np.int32]
    categories: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def of(cls, cells: Sequence[str | None], categories: tuple[str, ...] | None = None) -> Self:
        """Collect the cells of all rows, None for a row that has none."""
        return cls._encoded(pa.array(cells, pa.large_string()), categories)

    @classmethod
    def of_arrow(cls, array: pa.Array, name: str) -> Self:
        """Turn an Arrow column into cells; TableError for nested values or undecodable bytes."""
        try:
            if not pa.types.is_dictionary(array.type):
                return cls._encoded(array)
            ordered = tuple(map(nfc, _texts(array.dictionary))) if array.type.ordered else None
            # its dictionary may hold values that no row has
            return cls._encoded(array.dictionary_decode(), ordered)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TableError(
                f"column {name!r} has type {array.type}, which has no plain text form; store it as "
                "text, number, boolean or date, or list the column in the schema's `drop`"
            ) from error

    @classmethod
    def _encoded(cls, array: pa.Array, categories: tuple[str, ...] | None = None) -> Self:
        encoded = array.dictionary_encode()
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        cells = cls(_texts(encoded.dictionary), indices, categories)
        return cells if all(map(str.isascii, cells.texts)) else cells.respelled(nfc)

    def respelled(self, spell: Callable[[str], str]) -> Self:
        """Return the cells with each text spelled otherwise; texts that become equal are one."""
        spelled = [spell(text) for text in self.texts]
        numbers = {text: number for number, text in enumerate(dict.fromkeys(spelled))}
        # a row without a cell has index -1, which picks the entry appended here
        merged = np.array([numbers[text] for text in spelled] + [-1], dtype=np.int32)
        return replace(self, texts=list(numbers), indices=merged[self.indices])

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


def nfc(text: str) -> str:
    """Return a text in Unicode's composed form, in which texts that look alike are alike."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def frame_cells(frame: pd.DataFrame) -> Chunk:
    """Turn a pandas table of any types into cells; TableError for nested or repeated columns."""
    names = [nfc(str(name)) for name in frame.columns]
    if len(set(names)) < len(names):
        raise TableError("the table has two columns of one name; rename one")
    return {name: _series_cells(frame.iloc[:, index]) for index, name in enumerate(names)}


def _series_cells(series: "pd.Series[Any]") -> Cells:
    if isinstance(series.dtype, pd.CategoricalDtype):
        return _categorical_cells(series.cat)
    if _is_mixed(series):
        return _cells_one_by_one(series)
    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return _cells_one_by_one(series)
    if isinstance(array.type, pa.BaseExtensionType):
        return _cells_one_by_one(series)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return Cells.of_arrow(array, str(series.name))


def _categorical_cells(column: Any) -> Cells:
    """Turn a pandas column of categories into cells; an order that it states is kept."""
    names = _series_cells(column.categories.to_series())
    texts = [names.texts[index] for index in names.indices]
    # a missing value has code -1, which picks the entry appended here
    cells = np.array([*texts, None], dtype=object)[column.codes]
    return Cells.of(cells, tuple(texts) if column.ordered else None)


def _is_mixed(series: "pd.Series[Any]") -> bool:
    """Tell whether a column has values of several Python types, which Arrow would make one of."""
    return series.dtype == object and len({type(value) for value in series[series.notna()]}) > 1


def _cells_one_by_one(series: "pd.Series[Any]") -> Cells:
    present = series.notna()
    return Cells.of(
        [str(value) if given else None for value, given in zip(series, present, strict=True)]
    )


def _texts(array: pa.Array) -> list[str]:
    """Return the plain texts of values but for nulls; raises what Arrow does if there are none.

    A duration is `1 days 17:16:16`, a time of day `17:16:16`, a moment `2024-02-29 17:16:16`, with
    `.500000` of a second where there are some and with `+01:00` where there is a zone.
    """
    array = array.drop_null()
    if pa.types.is_duration(array.type):
        scale = _NANOSECONDS[array.type.unit]
        return [elapsed_text(value * scale) for value in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_decimal(array.type):
        return [f"{value:f}" for value in array.to_pylist()]
    texts: list[str] = array.cast(pa.large_string()).to_pylist()
    if pa.types.is_time(array.type) or pa.types.is_timestamp(array.type):
        return [_clock_text(text) for text in texts]
    return texts


def elapsed_text(nanoseconds: int) -> str:
    """Write a duration as pandas does: `1 days 17:16:16`, `-1 days +23:00:00.500000`."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    return _clock_text(f"{duration_text(seconds, 'days')}.{fraction:09}")


def _clock_text(text: str) -> str:
    """Shorten the second's fraction to none or six digits if that loses nothing; part the zone."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return text
    whole, fraction, zone = match[1], (match[2] or "").ljust(9, "0"), match[3] or ""
    if not fraction.strip("0"):
        fraction = ""
    elif fraction.endswith("000"):
        fraction = fraction[:6]
    zone = "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[3:]}" if zone else ""
    return whole + (f".{fraction}" if fraction else "") + zone
