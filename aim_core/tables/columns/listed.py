"""Columns of listed values: categories, yes and no, and codes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from aim_core.arrays import Codes
from aim_core.tables.columns.base import Column, Interval, Values, looked_up, loose_text
from aim_core.tables.columns.bins import IntegerBins
from aim_core.tables.columns.groups import Groups
from aim_core.tables.columns.keys import ColumnKeys
from aim_core.tables.parsing import parse_integer

TRUE_TEXTS = ("true", "t", "yes", "y", "1")
FALSE_TEXTS = ("false", "f", "no", "n", "0")


@dataclass(frozen=True)
class CategoricalColumn(Column):
    """Listed values; `1`, `1.0` and a Parquet integer 1 are the same category.

    With `groups` the values are names of groups, and the table's own values are found in them by a
    public map. `ordered` values rise in the order in which they are listed.
    """

    kind = "categorical"
    values: tuple[str, ...]
    ordered: bool = False
    groups: Groups | None = None
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        exact = {value: code for code, value in enumerate(self.values)}
        loose = {loose_text(value): code for code, value in enumerate(self.values)}
        if len(loose) < len(self.values) or "" in exact:
            raise self._refuse(
                "its values must be distinct and not empty (`1` and `1.0` are the same, "
                "an empty cell is a missing value); remove the repeated or empty one"
            )
        object.__setattr__(self, "_codes", loose | exact)
        super().__post_init__()

    @property
    def n_values(self) -> int:
        """Number of categories."""
        return len(self.values)

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        if self.groups is not None:
            texts = [self.groups.find(text) or text for text in texts]
        return looked_up(texts, self._codes, [loose_text(text) for text in texts])

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        del generator
        return np.array(self.values, dtype=object)[codes]

    def decode(self, codes: Codes, generator: np.random.Generator) -> "pd.Series[Any]":
        """Turn (n,) codes into texts, into an ordered categorical where the values are ordered."""
        series = super().decode(codes, generator)
        if not self.ordered:
            return series
        return series.astype(pd.CategoricalDtype(self.labels()[: self.size - self.missing], True))

    def describe(self) -> str:
        """Say which values fit."""
        grouped = "" if self.groups is None else " or a value that `groups` puts into one"
        return f"one of the {self.n_values} listed categories{grouped}"

    def _own_labels(self) -> list[str]:
        return list(self.values)

    def _own_intervals(self) -> list[Interval | None]:
        if not self.ordered:
            return super()._own_intervals()
        return [(code, code) for code in range(self.n_values)]

    def _keys(self) -> dict[str, object]:
        ordered = {"ordered": True} if self.ordered else {}
        if self.groups is None:
            return {"values": list(self.values), **ordered}
        return {**ordered, "groups": self.groups.to_dict()}

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `values`, or of `groups`, whose names are its values."""
        values, ordered = keys.labels("values"), keys.flag("ordered")
        groups = keys.lists("groups")
        if (values is None) == (groups is None):
            raise keys.refuse(
                "a categorical column needs `values`, the list of its categories, or `groups`, "
                "the table of its groups with the values in each; one of the two"
            )
        if groups is None:
            return cls(keys.column, False, values or (), ordered)
        return cls(keys.column, False, tuple(groups), ordered, Groups(keys.column, groups))


@dataclass(frozen=True)
class BooleanColumn(Column):
    """No (code 0) or yes (code 1), in any case; the first spelling is written on decoding."""

    kind = "boolean"
    true: tuple[str, ...] = TRUE_TEXTS
    false: tuple[str, ...] = FALSE_TEXTS
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        spellings = [loose_text(text).casefold() for text in (*self.false, *self.true)]
        if not self.true or not self.false or len(set(spellings)) < len(spellings):
            raise self._refuse(
                "`true` and `false` must each list a spelling, and none may occur twice "
                "(upper and lower case are the same)"
            )
        codes = {text: int(index >= len(self.false)) for index, text in enumerate(spellings)}
        object.__setattr__(self, "_codes", codes)
        super().__post_init__()

    @property
    def n_values(self) -> int:
        """No and yes."""
        return 2

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return looked_up(texts, self._codes, [loose_text(text).casefold() for text in texts])

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        del generator
        return np.array([self.false[0], self.true[0]], dtype=object)[codes]

    def describe(self) -> str:
        """Say which values fit."""
        return f"a boolean ({', '.join((*self.true, *self.false))})"

    def _own_labels(self) -> list[str]:
        return [self.false[0], self.true[0]]

    def _keys(self) -> dict[str, object]:
        return {"true": list(self.true), "false": list(self.false)}

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `true` and `false`, or of the usual spellings without them."""
        true, false = keys.labels("true"), keys.labels("false")
        if true is None and false is None:
            return cls(keys.column, False)
        return cls(keys.column, False, true or (), false or ())


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

    def _own_labels(self) -> list[str]:
        return [str(code) for code in range(self.n_codes)]

    def _own_intervals(self) -> list[Interval | None]:
        return [(code, code) for code in range(self.n_codes)]

    def _special_value(self, text: str) -> object:
        whole = parse_integer(text)
        return text if whole is None else whole

    def _keys(self) -> dict[str, object]:
        return {"size": self.n_codes}

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `size`."""
        return cls(keys.column, False, keys.integer("size") or 0)
