"""What every column has: codes for its own values, then for special ones, the rest and missing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from aim_core.arrays import Codes
from aim_core.errors import SchemaError
from aim_core.tables.cells import Cells, nfc
from aim_core.tables.columns.bins import MISFIT
from aim_core.tables.columns.keys import ColumnKeys
from aim_core.tables.parsing import MISSING_TEXTS, plain_number

Values = npt.NDArray[np.object_ | np.int64 | np.float64]
"""(n_rows,) decoded values: texts, whole numbers or numbers."""

Interval = tuple[float, float]
"""The lowest and the highest value of a code of a column with an order."""

ABSENT = -2
"""What `Column.encode` returns for a missing value that has no code."""

MAX_CODES = 1_000_000
"""Most codes that one column may have."""


@dataclass(frozen=True)
class Encoded:
    """(n_rows,) codes of a column, and how many rows were brought into it by its rules.

    A code is `MISFIT` for a value that does not fit, and `ABSENT` for a missing one without a code.
    """

    codes: Codes
    n_clipped: int
    n_other: int


@dataclass(frozen=True)
class Column(ABC):
    """A column of the schema.

    Its codes are in this order: the type's own values; each value of `special`, which has no place
    among those (999 for unknown); `other`, the text that stands for whatever else does not fit;
    and, where `missing` is true, one for missing values. `missing_values` are texts that mean
    missing here, besides those that always do (`MISSING_TEXTS`).
    """

    kind: ClassVar[str]
    dtypes: ClassVar[tuple[str, str]] = ("object", "object")
    """Of decoded values, without and with nulls among them."""

    name: str
    missing: bool
    missing_values: tuple[str, ...] = field(default=(), kw_only=True)
    special: tuple[str, ...] = field(default=(), kw_only=True)
    other: str | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def n_values(self) -> int:
        """Number of the type's own codes."""

    @abstractmethod
    def describe(self) -> str:
        """Say what values fit, for error texts."""

    @abstractmethod
    def _codes_of(self, texts: Sequence[str]) -> Codes:
        """Find the own codes of stripped texts, `MISFIT` where a text does not fit."""

    @abstractmethod
    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        """Turn codes below `n_values` into values, drawn within bins."""

    @abstractmethod
    def _own_labels(self) -> list[str]:
        """Return a short text for each of the type's own codes."""

    @abstractmethod
    def _keys(self) -> dict[str, object]:
        """Return this type's own keys as a schema file has them."""

    @classmethod
    @abstractmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column, none missing, of its type's keys; SchemaError if they make no sense."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_values <= MAX_CODES:
            raise self._refuse(
                f"it would have {self.n_values} codes; a column has 1 to {MAX_CODES}, "
                "so list at least one value, or use fewer and wider bins"
            )
        self._check_exceptions()

    @property
    def size(self) -> int:
        """Number of codes, with those for special, other and missing values."""
        return self.n_values + len(self.special) + (self.other is not None) + self.missing

    def encode(self, cells: Cells) -> Encoded:
        """Code a column of cells."""
        texts = cells.stripped
        codes = self._codes_of(texts)
        for index, text in enumerate(texts):
            codes[index] = self._exceptions.get(loose_text(text), codes[index])
        blank = np.array([text in MISSING_TEXTS for text in texts], dtype=bool)
        absent = self.size - 1 if self.missing else ABSENT
        codes[blank & (codes == MISFIT)] = absent
        n_rows = np.bincount(cells.indices[cells.indices >= 0], minlength=len(texts))
        n_clipped = self._fill(codes, self._nearest_codes(texts), n_rows)
        rest = MISFIT if self.other is None else self.n_values + len(self.special)
        n_other = self._fill(codes, np.full(len(texts), rest, dtype=np.int32), n_rows)
        # a row without a cell has index -1, which picks the entry appended here
        return Encoded(np.append(codes, np.int32(absent))[cells.indices], n_clipped, n_other)

    def decode(self, codes: Codes, generator: np.random.Generator) -> "pd.Series[Any]":
        """Turn (n,) codes into values of the column's type; missing becomes null.

        Special numbers are numbers. Where a special value is none, or `other` is there, the values
        are objects: numbers and texts.
        """
        is_own = codes < self.n_values
        values = self._values_of(np.where(is_own, codes, 0), generator)
        series = pd.Series(values, name=self.name, dtype=self.dtypes[self.missing])
        if is_own.all():
            return series
        if self._apart:
            are_numbers = all(not isinstance(value, str) for value in self._apart)
            if not are_numbers or series.dtype == object:
                series = series.astype(object)
            for code, value in enumerate(self._apart, self.n_values):
                series[codes == code] = value
        absent = codes >= self.n_values + len(self._apart)
        return series.mask(absent) if absent.any() else series

    def labels(self) -> list[str]:
        """Return (size,) a short text for each code, for axes and tables."""
        other = [] if self.other is None else [self.other]
        return [*self._own_labels(), *self.special, *other, *["missing"] * self.missing]

    def intervals(self) -> list[Interval | None]:
        """Return (size,) the lowest and highest value of each code, None for one without an order.

        Values of columns of one kind can be compared: numbers, days since the year 1, seconds.
        """
        own = self._own_intervals()
        return [*own, *[None] * (self.size - len(own))]

    def to_dict(self) -> dict[str, object]:
        """Return the keys that a schema file has for this column, its name first."""
        keys: dict[str, object] = {"name": self.name, "type": self.kind, **self._keys()}
        if self.special:
            keys["special"] = list(self.special)
        if self.other is not None:
            keys["other"] = self.other
        if self.missing:
            keys["missing"] = True
        if self.missing_values:
            keys["missing_values"] = list(self.missing_values)
        return keys

    def _own_intervals(self) -> list[Interval | None]:
        return [None] * self.n_values

    def _nearest_codes(self, texts: Sequence[str]) -> Codes:
        """Find the codes of the nearest own values, `MISFIT` for a column that does not clip."""
        return np.full(len(texts), MISFIT, dtype=np.int32)

    def _special_value(self, text: str) -> object:
        """Return a special value as the column writes it."""
        return text

    @cached_property
    def _apart(self) -> list[object]:
        """Return the values of the codes between the own ones and missing."""
        other = [] if self.other is None else [self.other]
        return [*map(self._special_value, self.special), *other]

    @cached_property
    def _exceptions(self) -> dict[str, int]:
        """Return the codes of special and missing texts."""
        special = {loose_text(text): code for code, text in enumerate(self.special, self.n_values)}
        return special | {loose_text(text): self.size - 1 for text in self.missing_values}

    def _fill(self, codes: Codes, found: Codes, n_rows: npt.NDArray[np.intp]) -> int:
        """Give misfits what was found for them; return how many rows that is."""
        filled = (codes == MISFIT) & (found != MISFIT)
        codes[filled] = found[filled]
        return int(n_rows[filled].sum())

    def _check_exceptions(self) -> None:
        if self.missing_values and not self.missing:
            raise self._refuse("`missing_values` needs `missing = true`, the code that they get")
        texts = [loose_text(text) for text in (*self.special, *self.missing_values)]
        if len(set(texts)) < len(texts):
            raise self._refuse(
                "`special` and `missing_values` must be distinct (`9` and `9.0` are the same); "
                "remove the repeated one"
            )
        if "" in self.special:
            raise self._refuse("`special` must not list an empty text: an empty cell is missing")
        if self.other is not None and (self.encode(Cells.of([self.other])).n_other != 1):
            raise self._refuse(
                f"`other` is written as {self.other!r}, which means something else in this column; "
                "take a text that is no value of it and does not mean missing"
            )

    def _refuse(self, text: str) -> SchemaError:
        return SchemaError(f"column {self.name!r}: {text}")


def loose_text(text: str) -> str:
    """Return one text for all spellings of a number, or of true and false, and of a letter."""
    text = nfc(text)
    folded = text.casefold()
    return folded if folded in ("true", "false") else plain_number(text) or text


def looked_up(texts: Sequence[str], codes: Mapping[str, int], loose: Sequence[str]) -> Codes:
    """Find each text's code, by itself or by its loose form; `MISFIT` where there is none."""
    found = [codes.get(t, codes.get(o, MISFIT)) for t, o in zip(texts, loose, strict=True)]
    return np.array(found, dtype=np.int32)
