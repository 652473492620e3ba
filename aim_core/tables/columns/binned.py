"""What columns with bins share: where a number lies, and clipping of numbers that lie outside."""

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, Self

import numpy as np

from aim_core.arrays import Codes
from aim_core.errors import SchemaError
from aim_core.tables.columns.base import Column, Interval
from aim_core.tables.columns.bins import MISFIT, Bins, Number


@dataclass(frozen=True)
class BinnedColumn(Column, Generic[Number]):
    """A column whose values lie in bins.

    With `clip` a value below or above all bins counts as the nearest one inside.
    """

    clip: bool = field(default=False, kw_only=True)
    bins: Bins[Number] = field(init=False, repr=False, compare=False)

    @abstractmethod
    def _number_of(self, text: str) -> Number | None:
        """Read a text as the number that lies in a bin; None if it is none."""

    def number_of(self, text: str) -> float:
        """Return the number, as `intervals` has it, that a text means; NaN if it means none."""
        number = self._number_of(text)
        return np.nan if number is None else float(number)

    def _take(self, bins: Bins[Number]) -> None:
        """Take the bins; SchemaError if there are too many."""
        object.__setattr__(self, "bins", bins)
        Column.__post_init__(self)

    @property
    def n_values(self) -> int:
        """Number of bins."""
        return self.bins.n_bins

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return self.bins.codes([self._number_of(text) for text in texts])

    def _nearest_codes(self, texts: Sequence[str]) -> Codes:
        numbers = [self._number_of(text) if self.clip else None for text in texts]
        codes = [MISFIT if number is None else self._nearest(number) for number in numbers]
        return np.array(codes, dtype=np.int32)

    def _nearest(self, number: Number) -> int:
        return self.bins.nearest(number)

    def _own_intervals(self) -> list[Interval | None]:
        return list(self.bins.intervals())

    def _own_labels(self) -> list[str]:
        return [
            self._label(low) if low == high else f"{self._label(low)} to {self._label(high)}"
            for low, high in self.bins.intervals()
        ]

    @property
    @abstractmethod
    def grid(self) -> Fraction:
        """What the numbers that are drawn within bins are multiples of."""

    @abstractmethod
    def with_edges(self, edges: Sequence[Fraction]) -> Self:
        """Return this column with other bins, from edge to edge; SchemaError if they do not do."""

    @abstractmethod
    def _label(self, number: float) -> str:
        """Write a number as the column writes it."""

    def _clip_key(self) -> dict[str, object]:
        return {"clip": True} if self.clip else {}


def range_or_edges(
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
