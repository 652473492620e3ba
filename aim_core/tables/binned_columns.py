"""Types of columns whose values lie in bins: whole numbers, real numbers and days."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from aim_core.arrays import Codes
from aim_core.errors import SchemaError
from aim_core.tables.bins import (
    IntegerBins,
    Number,
    RealBins,
    integer_bins,
    natural_decimals,
    real_bins,
)
from aim_core.tables.calendar import UNITS, unit_starts
from aim_core.tables.cells import day_text, parse_day, parse_integer, parse_number
from aim_core.tables.column_keys import ColumnKeys
from aim_core.tables.columns import MAX_CODES, Column, Values


class _BinnedColumn(Column):
    """A column whose values lie in bins, which its keys say."""

    bins: IntegerBins | RealBins

    def _take(self, bins: IntegerBins | RealBins) -> None:
        """Take the bins; SchemaError if there are too many."""
        object.__setattr__(self, "bins", bins)
        super().__post_init__()

    @property
    def n_values(self) -> int:
        """Number of bins."""
        return self.bins.n_bins


@dataclass(frozen=True)
class IntegerColumn(_BinnedColumn):
    """Whole numbers: `edges`, or `low` to `high` with a code each or cut into `n_bins` bins."""

    kind = "integer"
    dtypes = ("int64", "Int64")
    low: int | None = None
    high: int | None = None
    n_bins: int | None = None
    edges: tuple[int, ...] | None = None
    bins: IntegerBins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = _range_or_edges(self.name, self.low, self.high, self.edges, self.n_bins)
        width = high - low + 1
        if self.edges is None and not 1 <= (self.n_bins or width) <= min(width, MAX_CODES):
            raise self._refuse(
                f"{self.n_bins or width} bins do not suit the {width} numbers from {low} to "
                f"{high}; give `bins` between 1 and {min(width, MAX_CODES)}"
            )
        if self.edges is None:
            bins = integer_bins(low, high, self.n_bins or width)
        else:
            bins = IntegerBins(np.array(self.edges[:-1], dtype=np.int64), high)
        self._take(bins)

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return self.bins.codes([parse_integer(text) for text in texts])

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        return self.bins.draw(codes, generator)

    def describe(self) -> str:
        """Say which values fit."""
        return f"a whole number from {self.bins.starts[0]} to {self.bins.last}"

    def _keys(self) -> dict[str, object]:
        if self.edges is not None:
            return {"edges": list(self.edges)}
        bins = {} if self.n_bins is None else {"bins": self.n_bins}
        return {"min": self.low, "max": self.high, **bins}

    @classmethod
    def from_keys(cls, keys: ColumnKeys, missing: bool) -> Self:
        """Make a column of `edges`, or of `min`, `max` and perhaps `bins`."""
        low, high = keys.integer("min"), keys.integer("max")
        return cls(keys.column, missing, low, high, keys.integer("bins"), keys.integers("edges"))


@dataclass(frozen=True)
class ContinuousColumn(_BinnedColumn):
    """Real numbers: bin `edges`, or `low` to `high` cut into `n_bins` bins of equal width.

    Decoding draws within the bin, with `decimals` decimals (by default a hundredth of a bin).
    """

    kind = "continuous"
    dtypes = ("float64", "float64")
    low: float | None = None
    high: float | None = None
    n_bins: int | None = None
    edges: tuple[float, ...] | None = None
    decimals: int | None = None
    bins: RealBins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = _range_or_edges(self.name, self.low, self.high, self.edges, self.n_bins)
        if self.edges is not None:
            bins = RealBins(np.array(self.edges))
        elif low < high and self.n_bins is not None and 1 <= self.n_bins <= MAX_CODES:
            bins = real_bins(low, high, self.n_bins)
        else:
            raise self._refuse(
                f"give `min` < `max` and `bins` from 1 to {MAX_CODES} (the number of codes)"
            )
        if not bool(np.all(np.diff(bins.edges) > 0)):
            raise self._refuse("its bins are too narrow for double precision; use fewer bins")
        if self.decimals is not None and not 0 <= self.decimals <= 15:
            raise self._refuse(f"`decimals` must be from 0 to 15, not {self.decimals}")
        self._take(bins)

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        numbers = np.array([parse_number(text) for text in texts], dtype=np.float64)
        return self.bins.codes(numbers)

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        decimals = natural_decimals(self.bins) if self.decimals is None else self.decimals
        return self.bins.draw(codes, generator, decimals)

    def describe(self) -> str:
        """Say which values fit."""
        return f"a number from {self.bins.edges[0]:g} to {self.bins.edges[-1]:g}"

    def _keys(self) -> dict[str, object]:
        decimals = {} if self.decimals is None else {"decimals": self.decimals}
        if self.edges is not None:
            return {"edges": list(self.edges), **decimals}
        return {"min": self.low, "max": self.high, "bins": self.n_bins, **decimals}

    @classmethod
    def from_keys(cls, keys: ColumnKeys, missing: bool) -> Self:
        """Make a column of `edges`, or of `min`, `max` and `bins`; and perhaps `decimals`."""
        low, high = keys.number("min"), keys.number("max")
        n_bins, edges = keys.integer("bins"), keys.numbers("edges")
        return cls(keys.column, missing, low, high, n_bins, edges, keys.integer("decimals"))


@dataclass(frozen=True)
class DateColumn(_BinnedColumn):
    """Days: bin `edges`, or `low` to `high` (day numbers) cut at calendar units.

    Weeks begin on Monday. The first and the last bin are cut off at `low` and `high`.
    """

    kind = "date"
    low: int | None = None
    high: int | None = None
    unit: str | None = None
    edges: tuple[int, ...] | None = None
    bins: IntegerBins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = _range_or_edges(self.name, self.low, self.high, self.edges, self.unit)
        if self.edges is not None:
            starts = list(self.edges[:-1])
        elif self.unit in UNITS:
            starts = list(unit_starts(low, high, self.unit))
        else:
            raise self._refuse(f"`unit` must be one of {', '.join(UNITS)}, not {self.unit!r}")
        self._take(IntegerBins(np.array(starts, dtype=np.int64), high))

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return self.bins.codes([parse_day(text) for text in texts])

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        days = self.bins.draw(codes, generator)
        return np.array([day_text(int(day)) for day in days], dtype=object)

    def describe(self) -> str:
        """Say which values fit."""
        first, last = day_text(int(self.bins.starts[0])), day_text(self.bins.last)
        return f"a date from {first} to {last} written like {first}"

    def _keys(self) -> dict[str, object]:
        if self.edges is not None:
            return {"edges": [day_text(day) for day in self.edges]}
        limits = {"min": self.low, "max": self.high}
        return {key: day_text(day) for key, day in limits.items() if day is not None} | {
            "unit": self.unit
        }

    @classmethod
    def from_keys(cls, keys: ColumnKeys, missing: bool) -> Self:
        """Make a column of `edges`, or of `min`, `max` and `unit`."""
        low, high, edges = keys.day("min"), keys.day("max"), keys.days("edges")
        unit = keys.text("unit") if edges is None else None
        return cls(keys.column, missing, low, high, unit, edges)


def _range_or_edges(
    name: str,
    low: Number | None,
    high: Number | None,
    edges: tuple[Number, ...] | None,
    cut: int | str | None,
) -> tuple[Number, Number]:
    """Return the limits; SchemaError unless there are either rising edges or low <= high."""
    if edges is not None:
        rising = len(edges) >= 2 and all(a < b for a, b in itertools.pairwise(edges))
        if not rising or not (low is None and high is None and cut is None):
            raise SchemaError(
                f"column {name!r}: `edges` must rise strictly, be at least two and stand alone "
                "(without `min`, `max`, `bins` or `unit`)"
            )
        return edges[0], edges[-1]
    if low is None or high is None or low > high:
        raise SchemaError(
            f"column {name!r}: give `min` and `max` with `min` <= `max`, or a list `edges`; "
            "they are public, so take them from what is known, not from the data"
        )
    return low, high
