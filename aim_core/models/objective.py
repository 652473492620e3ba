"""The loss of a model against noisy marginals, and its gradient by the model's marginals."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aim_core.arrays import FloatArray
from aim_core.domain import Domain
from aim_core.models.contraction import Axes, spread, sum_onto
from aim_core.models.junction_tree import CellCounts, mask_of, maximal_masks, positions_of
from aim_core.models.measurement import Measurement
from aim_core.models.structural_zeros import allowed_tables, forbidden_cells


@dataclass(frozen=True)
class _Nested:
    """A measured clique inside a leaf, or inside a larger nested clique of the same leaf."""

    leaf: int
    holder: int | None
    axes: Axes
    target: FloatArray
    weight: float


_Shared = tuple[tuple[int, ...], list[tuple[int, Axes]]]


def _shared_axes(leaves: Sequence[Axes], sizes: Sequence[int]) -> list[_Shared]:
    """List the sets of axes that leaves share: their shape, and (leaf, its other axes) for each.

    The larger sets come first.
    """
    masks = [mask_of(axes) for axes in leaves]
    meets = {left & right for left, right in itertools.combinations(masks, 2)} - {0}
    shared: list[_Shared] = []
    for meet in sorted(meets, key=lambda m: (-m.bit_count(), m)):
        members = [
            (i, tuple(number for number, axis in enumerate(axes) if not meet >> axis & 1))
            for i, axes in enumerate(leaves)
            if meet & ~masks[i] == 0
        ]
        shared.append((tuple(sizes[axis] for axis in positions_of(meet)), members))
    return shared


class Objective:
    """The loss, sum of |M(model) - y|^2 / (2 variance), as a function of the leaves' marginals.

    Leaves are the maximal cliques that are measured or have structural zeros, and the attributes
    that neither names; their marginals lie one after another in a flat vector. Measurements of one
    clique are first combined, weighted by inverse variance, which changes the loss by a constant
    only. `forbidden` are the cells of the vector that structural zeros rule out; what was measured
    there is noise or a record that should not be, and does not count.
    """

    def __init__(self, domain: Domain, measurements: Sequence[Measurement]) -> None:
        sizes, cells = domain.sizes, CellCounts(domain.sizes)
        combined: dict[int, tuple[FloatArray, float]] = {}
        for measured in measurements:
            mask, weight = mask_of(domain.positions(measured.clique)), 1.0 / measured.variance
            sums, so_far = combined.get(mask, (np.zeros(cells[mask]), 0.0))
            combined[mask] = (sums + weight * measured.values, so_far + weight)
        singles = [1 << position for position in range(len(domain))]
        masks = maximal_masks([*combined, *allowed_tables(domain), *singles])
        self.leaves = [positions_of(mask) for mask in masks]
        self.starts = np.cumsum([0] + [cells[mask] for mask in masks])
        self._shapes = [tuple(sizes[axis] for axis in axes) for axes in self.leaves]
        self.shared = _shared_axes(self.leaves, sizes)
        self.forbidden = forbidden_cells(domain, self.leaves)
        self._weight = np.zeros(self.starts[-1])
        self._target = np.zeros(self.starts[-1])
        blocks = [0.0] * len(masks)
        self._nested: list[_Nested] = []
        for mask in sorted(combined, key=lambda m: (-m.bit_count(), m)):
            sums, weight = combined[mask]
            leaf = min(
                (i for i, other in enumerate(masks) if mask & ~other == 0),
                key=lambda i: (cells[masks[i]], i),
            )
            blocks[leaf] += weight * cells[masks[leaf]] / cells[mask]
            if masks[leaf] == mask:
                part = slice(self.starts[leaf], self.starts[leaf + 1])
                self._weight[part], self._target[part] = weight, sums / weight
            else:
                self._add_nested(leaf, mask, sums / weight, weight, sizes)
        self.lipschitz = max(blocks) or 1.0
        self._difference = np.empty(self.starts[-1])
        if self.forbidden.size:
            self._ignore_forbidden()

    def _add_nested(
        self, leaf: int, mask: int, target: FloatArray, weight: float, sizes: Sequence[int]
    ) -> None:
        axes = positions_of(mask)
        holders = [
            number
            for number, other in enumerate(self._nested)
            if other.leaf == leaf and set(axes) < set(other.axes)
        ]
        holder = min(holders, key=lambda i: (self._nested[i].target.size, i), default=None)
        shape = [sizes[axis] for axis in axes]
        self._nested.append(_Nested(leaf, holder, axes, target.reshape(shape), weight))

    def _ignore_forbidden(self) -> None:
        """Let nothing have been measured in cells without a record, which the model has empty."""
        self._target[self.forbidden] = 0.0
        possible = np.ones(self.starts[-1])
        possible[self.forbidden] = 0.0
        tables = self.tables(possible)
        for nested in self._nested:
            n_possible = sum_onto(tables[nested.leaf], self.leaves[nested.leaf], nested.axes)
            nested.target[n_possible == 0.0] = 0.0

    def tables(self, vector: FloatArray) -> list[FloatArray]:
        """View the flat vector as one table per leaf."""
        return [
            vector[start:end].reshape(shape)
            for start, end, shape in zip(self.starts, self.starts[1:], self._shapes, strict=False)
        ]

    def evaluate(self, marginals: FloatArray, gradient: FloatArray) -> float:
        """Return the loss, and write its gradient by the leaves' marginals to `gradient`."""
        difference = np.subtract(marginals, self._target, out=self._difference)
        np.multiply(difference, self._weight, out=gradient)
        loss = 0.5 * float(np.dot(difference, gradient))
        if not self._nested:
            return loss
        tables, gradients = self.tables(marginals), self.tables(gradient)
        sums: list[FloatArray] = []
        slopes: list[FloatArray] = []
        for nested in self._nested:
            if nested.holder is None:
                source, axes = tables[nested.leaf], self.leaves[nested.leaf]
            else:
                source, axes = sums[nested.holder], self._nested[nested.holder].axes
            sums.append(sum_onto(source, axes, nested.axes))
            residual = sums[-1] - nested.target
            slopes.append(residual * nested.weight)
            loss += 0.5 * float(np.vdot(residual, slopes[-1]))
        for nested, slope in zip(reversed(self._nested), reversed(slopes), strict=True):
            if nested.holder is None:
                onto, axes = gradients[nested.leaf], self.leaves[nested.leaf]
            else:
                onto, axes = slopes[nested.holder], self._nested[nested.holder].axes
            onto += spread(slope, nested.axes, axes)
        return loss
