"""Columns of numbers: listed values with a code each, and bins for the rest."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Self

import numpy as np

from aim_core.arrays import Codes
from aim_core.tables.columns.base import MAX_CODES, Interval, Values
from aim_core.tables.columns.binned import BinnedColumn, range_or_edges
from aim_core.tables.columns.bins import (
    MISFIT,
    Bins,
    IntegerBins,
    Number,
    RealBins,
    integer_bins,
    natural_decimals,
    real_bins,
)
from aim_core.tables.columns.keys import ColumnKeys
from aim_core.tables.parsing import number_text, parse_integer, parse_number

_N_REDRAWS = 50


@dataclass(frozen=True)
class _NumberColumn(BinnedColumn[Number]):
    """Numbers: `values` have a code each, in their order; other numbers lie in bins.

    Either may be absent. A number drawn within a bin is a multiple of `step`, if there is one, and
    none of `values`, unless the bin hardly holds another.
    """

    low: Number | None = None
    high: Number | None = None
    n_bins: int | None = None
    edges: tuple[Number, ...] | None = None
    values: tuple[Number, ...] = field(default=(), kw_only=True)
    step: Number | None = field(default=None, kw_only=True)

    @abstractmethod
    def _draw(self, codes: Codes, generator: np.random.Generator) -> Values:
        """Draw numbers of the bins with these codes, counted from the first bin."""

    @abstractmethod
    def _no_bins(self) -> Bins[Number]:
        """Return bins of which there are none."""

    def _take_numbers(self, bins: Bins[Number] | None) -> None:
        """Take the bins, None for `values` alone; SchemaError for what is no set of values."""
        if len(set(self.values)) < len(self.values) or (bins is None and not self.values):
            raise self._refuse(
                "give distinct `values`, or bins by `min`, `max` and `bins` or by `edges`"
            )
        if self.step is not None and self.step <= 0:
            raise self._refuse(f"`step` must be above 0, not {self.step}")
        self._take(self._no_bins() if bins is None else bins)

    @cached_property
    def _own(self) -> dict[Number, int]:
        return {value: code for code, value in enumerate(self.values)}

    @property
    def n_values(self) -> int:
        """Number of values and bins."""
        return len(self.values) + self.bins.n_bins

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        numbers = [self._number_of(text) for text in texts]
        own = [MISFIT if n is None else self._own.get(n, MISFIT) for n in numbers]
        codes = np.array(own, dtype=np.int32)
        if self.bins.n_bins:
            binned = self.bins.codes(numbers)
            binned[binned != MISFIT] += len(self.values)
            codes = np.where(codes == MISFIT, binned, codes)
        return codes

    def _nearest(self, number: Number) -> int:
        if not self.bins.n_bins:
            return min(range(len(self.values)), key=lambda code: abs(self.values[code] - number))
        return len(self.values) + self.bins.nearest(number)

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        n_own = len(self.values)
        if not n_own:
            return self._draw(codes, generator)
        own = np.array(self.values, dtype=self.dtypes[0])
        if not self.bins.n_bins:
            return own[codes]
        values = own[np.minimum(codes, n_own - 1)]
        open_rows = np.flatnonzero(codes >= n_own)
        for _ in range(_N_REDRAWS):
            values[open_rows] = self._draw(codes[open_rows] - n_own, generator)
            open_rows = open_rows[np.isin(values[open_rows], own)]
            if not len(open_rows):
                break
        return values

    def _own_labels(self) -> list[str]:
        return [*map(self._label, self.values), *super()._own_labels()]

    def _own_intervals(self) -> list[Interval | None]:
        return [*((value, value) for value in self.values), *super()._own_intervals()]

    def _label(self, number: float) -> str:
        return number_text(number)

    def describe(self) -> str:
        """Say which values fit."""
        noun = "a whole number" if self.kind == "integer" else "a number"
        if not self.bins.n_bins:
            return f"one of the {len(self.values)} listed numbers"
        limits = self.bins.intervals()
        also = f" or one of the {len(self.values)} listed ones" if self.values else ""
        return f"{noun} from {self._label(limits[0][0])} to {self._label(limits[-1][1])}{also}"

    @property
    def _is_listed(self) -> bool:
        """Tell whether there are `values` and no bins beside them."""
        cut = (self.low, self.high, self.n_bins, self.edges)
        return bool(self.values) and cut == (None, None, None, None)

    def _keys(self) -> dict[str, object]:
        values = {"values": list(self.values)} if self.values else {}
        cut: dict[str, object] = {"min": self.low, "max": self.high, "bins": self.n_bins}
        if self.edges is not None:
            cut = {"edges": list(self.edges)}
        given = {key: value for key, value in cut.items() if value is not None}
        return {**values, **given, **self._grid_key(), **self._clip_key()}

    def _grid_key(self) -> dict[str, object]:
        return {} if self.step is None else {"step": self.step}


@dataclass(frozen=True)
class IntegerColumn(_NumberColumn[int]):
    """Whole numbers: `values`, and `edges` or `low` to `high` (with `n_bins`, else a code each)."""

    kind = "integer"
    dtypes = ("int64", "Int64")
    bins: IntegerBins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bins = self._bins()
        empty = None if bins is None else bins.without_multiple(max(1, self.step or 1))
        if bins is not None and empty is not None:
            low, high = bins.intervals()[empty]
            raise self._refuse(
                f"its bin from {low} to {high} has no multiple of `step` = {self.step}"
            )
        self._take_numbers(bins)

    def _bins(self) -> IntegerBins | None:
        if self._is_listed:
            return None
        low, high = range_or_edges(self.name, self.low, self.high, self.edges, self.n_bins)
        if self.edges is not None:
            return IntegerBins(np.array(self.edges[:-1], dtype=np.int64), high)
        width = high - low + 1
        if not 1 <= (self.n_bins or width) <= min(width, MAX_CODES):
            raise self._refuse(
                f"{self.n_bins or width} bins do not suit the {width} numbers from {low} to "
                f"{high}; give `bins` between 1 and {min(width, MAX_CODES)}"
            )
        return integer_bins(low, high, self.n_bins or width)

    def _no_bins(self) -> IntegerBins:
        return IntegerBins(np.empty(0, dtype=np.int64), 0)

    def _number_of(self, text: str) -> int | None:
        return parse_integer(text)

    @property
    def grid(self) -> Fraction:
        """`step`, or 1."""
        return Fraction(self.step or 1)

    def with_edges(self, edges: Sequence[Fraction]) -> Self:
        """Return this column with other bins, whose edges are whole numbers."""
        whole = tuple(int(edge) for edge in edges)
        return replace(self, low=None, high=None, n_bins=None, edges=whole)

    def _draw(self, codes: Codes, generator: np.random.Generator) -> Values:
        return self.bins.draw(codes, generator, self.step or 1)

    def _special_value(self, text: str) -> object:
        whole = parse_integer(text)
        return text if whole is None else whole

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `values`, `edges`, `min`, `max`, `bins`, `step` and `clip`."""
        return cls(
            keys.column,
            False,
            keys.integer("min"),
            keys.integer("max"),
            keys.integer("bins"),
            keys.integers("edges"),
            values=keys.integers("values") or (),
            step=keys.integer("step"),
            clip=keys.flag("clip"),
        )


@dataclass(frozen=True)
class ContinuousColumn(_NumberColumn[float]):
    """Real numbers: `values`, and bin `edges` or `low` to `high` in `n_bins` bins of equal width.

    Decoding draws within the bin: multiples of `step`, or numbers with `decimals` decimals (by
    default a hundredth of a bin).
    """

    kind = "continuous"
    dtypes = ("float64", "float64")
    decimals: int | None = None
    bins: RealBins = field(init=False, repr=False, compare=False)
    _multiples: IntegerBins | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bins = self._bins()
        if bins is not None and not bool(np.all(np.diff(bins.edges) > 0)):
            raise self._refuse("its bins are too narrow for double precision; use fewer bins")
        if self.decimals is not None and not 0 <= self.decimals <= 15:
            raise self._refuse(f"`decimals` must be from 0 to 15, not {self.decimals}")
        if self.decimals is not None and self.step is not None:
            raise self._refuse("give `decimals` or `step`, not both")
        object.__setattr__(self, "_multiples", self._multiples_in(bins))
        self._take_numbers(bins)

    def _bins(self) -> RealBins | None:
        if self._is_listed:
            return None
        low, high = range_or_edges(self.name, self.low, self.high, self.edges, self.n_bins)
        if self.edges is not None:
            return RealBins(np.array(self.edges))
        if low < high and self.n_bins is not None and 1 <= self.n_bins <= MAX_CODES:
            return real_bins(low, high, self.n_bins)
        raise self._refuse(
            f"give `min` < `max` and `bins` from 1 to {MAX_CODES} (the number of codes)"
        )

    def _multiples_in(self, bins: RealBins | None) -> IntegerBins | None:
        if bins is None or self.step is None or self.step <= 0:
            return None
        if abs(bins.edges).max() / self.step >= 2**53:
            raise self._refuse(f"`step` = {self.step} is too fine for numbers of this size")
        multiples = bins.multiples(Fraction(repr(self.step)))
        if (empty := multiples.without_multiple(1)) is not None:
            low, high = bins.intervals()[empty]
            raise self._refuse(
                f"its bin from {low:g} to {high:g} has no multiple of `step` = {self.step}"
            )
        return multiples

    def _no_bins(self) -> RealBins:
        return RealBins(np.zeros(1))

    def _number_of(self, text: str) -> float | None:
        number = parse_number(text)
        return None if np.isnan(number) else number

    @property
    def _n_decimals(self) -> int:
        return natural_decimals(self.bins) if self.decimals is None else self.decimals

    @property
    def grid(self) -> Fraction:
        """`step`, or the last decimal."""
        if self.step is not None:
            return Fraction(repr(self.step))
        return Fraction(1, 10**self._n_decimals)

    def with_edges(self, edges: Sequence[Fraction]) -> Self:
        """Return this column with other bins, from which as many decimals are drawn."""
        decimals = self._n_decimals if self.step is None else None
        real = tuple(float(edge) for edge in edges)
        return replace(self, low=None, high=None, n_bins=None, edges=real, decimals=decimals)

    def _draw(self, codes: Codes, generator: np.random.Generator) -> Values:
        if self._multiples is not None:
            step = Fraction(repr(self.step))
            drawn = self._multiples.draw(codes, generator).astype(np.float64)
            drawn *= float(step.numerator)
            drawn /= float(step.denominator)
            return drawn
        return self.bins.draw(codes, generator, self._n_decimals)

    def _special_value(self, text: str) -> object:
        number = self._number_of(text)
        return text if number is None else number

    def _grid_key(self) -> dict[str, object]:
        return super()._grid_key() if self.decimals is None else {"decimals": self.decimals}

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `values`, `edges`, `min`, `max`, `bins`, `decimals`, `step`, `clip`."""
        return cls(
            keys.column,
            False,
            keys.number("min"),
            keys.number("max"),
            keys.integer("bins"),
            keys.numbers("edges"),
            keys.integer("decimals"),
            values=keys.numbers("values") or (),
            step=keys.number("step"),
            clip=keys.flag("clip"),
        )
