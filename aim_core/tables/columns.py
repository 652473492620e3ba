"""Types of columns: what values a column may hold and which code each value has."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from aim_core.arrays import Codes
from aim_core.errors import SchemaError
from aim_core.tables.bins import MISFIT, IntegerBins
from aim_core.tables.cells import MISSING_TEXTS, Cells, parse_integer, plain_number
from aim_core.tables.column_keys import ColumnKeys

Values = npt.NDArray[np.object_ | np.int64 | np.float64]
"""(n_rows,) decoded values: texts, whole numbers or numbers."""

ABSENT = -2
"""What `Column.encode` returns for a missing value that has no code."""

MAX_CODES = 1_000_000
"""Most codes that one column may have."""

TRUE_TEXTS = ("true", "t", "yes", "y", "1")
FALSE_TEXTS = ("false", "f", "no", "n", "0")


@dataclass(frozen=True)
class Column(ABC):
    """A column of the schema. A missing value has the last code, where `missing` is true."""

    kind: ClassVar[str]
    dtypes: ClassVar[tuple[str, str]] = ("object", "object")

    name: str
    missing: bool

    @property
    @abstractmethod
    def n_values(self) -> int:
        """Number of codes, not counting the one for missing."""

    @abstractmethod
    def describe(self) -> str:
        """Say what values fit, for error texts."""

    @abstractmethod
    def _codes_of(self, texts: Sequence[str]) -> Codes:
        """Find the codes of stripped texts, `MISFIT` where a text does not fit."""

    @abstractmethod
    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        """Turn codes below `n_values` into values, drawn within bins."""

    @abstractmethod
    def _keys(self) -> dict[str, object]:
        """Return this type's own keys as a schema file has them."""

    @classmethod
    @abstractmethod
    def from_keys(cls, keys: ColumnKeys, missing: bool) -> Self:
        """Make a column of the keys that `_keys` returns; SchemaError if they make no sense."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_values <= MAX_CODES:
            raise self._refuse(
                f"it would have {self.n_values} codes; a column has 1 to {MAX_CODES}, "
                "so list at least one value, or use fewer and wider bins"
            )

    @property
    def size(self) -> int:
        """Number of codes, with the one for missing."""
        return self.n_values + self.missing

    def encode(self, cells: Cells) -> Codes:
        """Code a column of cells.

        Returns (n_rows,) codes, `MISFIT` for a value that does not fit and `ABSENT` for a missing
        one that has no code.
        """
        texts = cells.stripped
        codes = self._codes_of(texts)
        blank = np.array([text in MISSING_TEXTS for text in texts], dtype=bool)
        absent = self.n_values if self.missing else ABSENT
        codes[blank & (codes == MISFIT)] = absent
        # a row without a cell has index -1, which picks the entry appended here
        return np.append(codes, np.int32(absent))[cells.indices]

    def decode(self, codes: Codes, generator: np.random.Generator) -> "pd.Series[Any]":
        """Turn (n,) codes into values of the column's type; missing becomes null."""
        absent = codes >= self.n_values
        values = self._values_of(np.where(absent, 0, codes), generator)
        series = pd.Series(values, name=self.name, dtype=self.dtypes[self.missing])
        return series.mask(absent) if absent.any() else series

    def to_dict(self) -> dict[str, object]:
        """Return the keys that a schema file has for this column, its name first."""
        missing = {"missing": True} if self.missing else {}
        return {"name": self.name, "type": self.kind, **self._keys(), **missing}

    def _refuse(self, text: str) -> SchemaError:
        return SchemaError(f"column {self.name!r}: {text}")


@dataclass(frozen=True)
class CategoricalColumn(Column):
    """Listed values; `1`, `1.0` and a Parquet integer 1 are the same category."""

    kind = "categorical"
    values: tuple[str, ...]
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        exact = {value: code for code, value in enumerate(self.values)}
        loose = {loose_text(value): code for code, value in enumerate(self.values)}
        if len(loose) < len(self.values) or "" in exact:
            raise self._refuse(
                "its values must be distinct and not empty (`1` and `1.0` are the same, "
                "an empty cell is a missing value); remove the repeated or empty one"
            )
        object.__setattr__(self, "_codes", loose | exact)

    @property
    def n_values(self) -> int:
        """Number of categories."""
        return len(self.values)

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return _looked_up(texts, self._codes, loose_text)

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        del generator
        return np.array(self.values, dtype=object)[codes]

    def describe(self) -> str:
        """Say which values fit."""
        return f"one of the {self.n_values} listed categories"

    def _keys(self) -> dict[str, object]:
        return {"values": list(self.values)}

    @classmethod
    def from_keys(cls, keys: ColumnKeys, missing: bool) -> Self:
        """Make a column of `values`."""
        values = keys.labels("values")
        if values is None:
            raise keys.refuse("a categorical column needs `values`, the list of its categories")
        return cls(keys.column, missing, values)


@dataclass(frozen=True)
class BooleanColumn(Column):
    """No (code 0) or yes (code 1), in any case; the first spelling is written on decoding."""

    kind = "boolean"
    true: tuple[str, ...] = TRUE_TEXTS
    false: tuple[str, ...] = FALSE_TEXTS
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        spellings = [loose_text(text).casefold() for text in (*self.false, *self.true)]
        if not self.true or not self.false or len(set(spellings)) < len(spellings):
            raise self._refuse(
                "`true` and `false` must each list a spelling, and none may occur twice "
                "(upper and lower case are the same)"
            )
        codes = {text: int(index >= len(self.false)) for index, text in enumerate(spellings)}
        object.__setattr__(self, "_codes", codes)

    @property
    def n_values(self) -> int:
        """No and yes."""
        return 2

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return _looked_up(texts, self._codes, lambda text: loose_text(text).casefold())

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        del generator
        return np.array([self.false[0], self.true[0]], dtype=object)[codes]

    def describe(self) -> str:
        """Say which values fit."""
        return f"a boolean ({', '.join((*self.true, *self.false))})"

    def _keys(self) -> dict[str, object]:
        return {"true": list(self.true), "false": list(self.false)}

    @classmethod
    def from_keys(cls, keys: ColumnKeys, missing: bool) -> Self:
        """Make a column of `true` and `false`, or of the usual spellings without them."""
        true, false = keys.labels("true"), keys.labels("false")
        if true is None and false is None:
            return cls(keys.column, missing)
        return cls(keys.column, missing, true or (), false or ())


@dataclass(frozen=True)
class CodedColumn(Column):
    """Values that are codes already: 0 up to `n_codes` - 1."""

    kind = "coded"
    dtypes = ("int64", "Int64")
    n_codes: int

    @property
    def n_values(self) -> int:
        """`n_codes`."""
        return self.n_codes

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        bins = IntegerBins(np.arange(self.n_codes, dtype=np.int64), self.n_codes - 1)
        return bins.codes([parse_integer(text) for text in texts])

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        del generator
        return codes.astype(np.int64)

    def describe(self) -> str:
        """Say which values fit."""
        return f"a code from 0 to {self.n_codes - 1}"

    def _keys(self) -> dict[str, object]:
        return {"size": self.n_codes}

    @classmethod
    def from_keys(cls, keys: ColumnKeys, missing: bool) -> Self:
        """Make a column of `size`."""
        return cls(keys.column, missing, keys.integer("size") or 0)


def loose_text(text: str) -> str:
    """Return one text for all spellings of a number, or of true and false."""
    folded = text.casefold()
    return folded if folded in ("true", "false") else plain_number(text) or text


def _looked_up(
    texts: Sequence[str], codes: Mapping[str, int], loosen: Callable[[str], str]
) -> Codes:
    found = [codes.get(text, codes.get(loosen(text), MISFIT)) for text in texts]
    return np.array(found, dtype=np.int32)
