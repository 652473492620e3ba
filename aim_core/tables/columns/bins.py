"""Bins of ordered values: from a value to its bin, and a uniform draw back."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from aim_core.arrays import Codes, FloatArray

Number = TypeVar("Number", int, float)
"""What bins and their limits are made of: whole or real numbers."""

MISFIT = -1
"""What stands in `Codes` for a value outside all bins."""


class Bins(Protocol[Number]):
    """What bins of any numbers can do."""

    @property
    def n_bins(self) -> int:
        """Number of bins."""

    def codes(self, values: Sequence[Number | None], /) -> Codes:
        """Find each value's bin, `MISFIT` for None and for values outside."""

    def nearest(self, value: Number, /) -> int:
        """Return the bin of the nearest number inside."""

    def intervals(self) -> Sequence[tuple[Number, Number]]:
        """Return each bin's lowest and highest number."""


@dataclass(frozen=True)
class IntegerBins:
    """Bin i holds the integers from `starts[i]` up to the next start; the last ends at `last`."""

    starts: npt.NDArray[np.int64]
    last: int

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.starts)

    def codes(self, values: Sequence[int | None]) -> Codes:
        """Find each value's bin, -1 for None and for values outside."""
        first = int(self.starts[0])
        inside = np.array([v is not None and first <= v <= self.last for v in values], dtype=bool)
        codes = np.full(len(values), MISFIT, dtype=np.int32)
        kept = np.array([v for v, fits in zip(values, inside, strict=True) if fits], dtype=np.int64)
        codes[inside] = np.searchsorted(self.starts, kept, side="right") - 1
        return codes

    def nearest(self, value: int) -> int:
        """Return the bin of the nearest number inside."""
        inside = min(max(value, int(self.starts[0])), self.last)
        return int(np.searchsorted(self.starts, inside, side="right")) - 1

    def intervals(self) -> list[tuple[int, int]]:
        """Return each bin's lowest and highest number."""
        lasts = np.append(self.starts[1:] - 1, self.last)[: self.n_bins]
        return list(zip(self.starts.tolist(), lasts.tolist(), strict=True))

    def draw(
        self, codes: Codes, generator: np.random.Generator, step: int = 1
    ) -> npt.NDArray[np.int64]:
        """Draw one multiple of `step` of each code's bin, uniformly; each bin must have one."""
        ends = np.append(self.starts[1:], self.last + 1)
        return generator.integers(-(-self.starts // step)[codes], -(-ends // step)[codes]) * step

    def without_multiple(self, step: int) -> int | None:
        """Return a bin that has no multiple of `step`, None if each has one."""
        ends = np.append(self.starts[1:], self.last + 1)
        empty = np.flatnonzero(-(-self.starts // step) == -(-ends // step))
        return int(empty[0]) if len(empty) else None


def integer_bins(low: int, high: int, n_bins: int) -> IntegerBins:
    """Cut the integers low..high into bins whose sizes differ by at most one."""
    width = high - low + 1
    starts = [low + width * index // n_bins for index in range(n_bins)]
    return IntegerBins(np.array(starts, dtype=np.int64), high)


@dataclass(frozen=True)
class RealBins:
    """Bin i is `[edges[i], edges[i + 1])`; the last bin holds its right edge too."""

    edges: FloatArray

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    def codes(self, values: FloatArray | Sequence[float | None]) -> Codes:
        """Find each value's bin, -1 for None, NaN and values outside."""
        values = np.array(values, dtype=np.float64)
        codes = np.searchsorted(self.edges, values, side="right") - 1
        codes[values == self.edges[-1]] = self.n_bins - 1
        inside = (values >= self.edges[0]) & (values <= self.edges[-1])
        return np.where(inside, codes, MISFIT).astype(np.int32)

    def nearest(self, value: float) -> int:
        """Return the bin of the nearest number inside."""
        inside = min(max(value, float(self.edges[0])), float(self.edges[-1]))
        return min(int(np.searchsorted(self.edges, inside, side="right")), self.n_bins) - 1

    def intervals(self) -> list[tuple[float, float]]:
        """Return each bin's edges."""
        return list(itertools.pairwise(self.edges.tolist()))

    def multiples(self, step: Fraction) -> IntegerBins:
        """Return bins of the whole k for which k times `step` lies in each bin; some may be empty.

        The last bin holds its right edge too.
        """
        starts = [math.ceil(Fraction(edge) / step) for edge in self._exact_edges()]
        last = math.floor(self._exact_edges()[-1] / step)
        return IntegerBins(np.array(starts[:-1], dtype=np.int64), last)

    def _exact_edges(self) -> list[Fraction]:
        """Return the edges as the decimal numbers that they are written as."""
        return [Fraction(repr(edge)) for edge in self.edges.tolist()]

    def draw(self, codes: Codes, generator: np.random.Generator, decimals: int) -> FloatArray:
        """Draw one number of each code's bin, uniformly, with so many decimals.

        A draw that rounding would move to another bin is rounded inwards; where the bin has no
        number with so many decimals it stays unrounded.
        """
        left, right = self.edges[codes], self.edges[codes + 1]
        drawn = left + (right - left) * generator.random(len(codes))
        drawn = np.minimum(drawn, np.nextafter(right, left))
        scale = 10.0**decimals
        result = drawn.copy()
        with np.errstate(over="ignore"):
            for rounded in (np.floor, np.ceil, np.rint):
                candidate = rounded(drawn * scale) / scale
                fits = self.codes(candidate) == codes
                result[fits] = candidate[fits]
        return result


def real_bins(low: float, high: float, n_bins: int) -> RealBins:
    """Cut low..high into bins of equal width.

    Edges are computed exactly from the decimal texts, so that they are the same on every machine
    and 0.1 steps look like 0.3, not 0.30000000000000004.
    """
    start, width = Fraction(str(low)), Fraction(str(high)) - Fraction(str(low))
    edges = [float(start + width * index / n_bins) for index in range(n_bins + 1)]
    return RealBins(np.array(edges))


def natural_decimals(bins: RealBins) -> int:
    """Choose decimals that show a hundredth of the narrowest bin."""
    width = float(np.diff(bins.edges).min())
    return min(15, max(0, 2 - math.floor(math.log10(width))))
