"""Cells of a table, which are texts.

Every table reaches the schema as texts, so that a value has one meaning wherever it came from:
`1` in a CSV file, an integer 1 and a float 1.0 in a Parquet file are the same value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from aim_core.errors import TableError


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
