"""Private-PGM by entropic mirror descent in NumPy.

Algorithm 1 of [McKenna, Sheldon, Miklau, ICML 2019] with the line search of mbi 2: descend on the
log-potentials of the maximal measured cliques, along the gradient of the loss with respect to the
marginals. The marginals come from one pass inside-out over a fixed tree of contractions and one
pass back, so tables as large as a junction-tree clique are not kept, and mostly not even formed.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aim_core.arrays import FloatArray
from aim_core.domain import Clique, Domain
from aim_core.estimation_types import (
    Measurement,
    Model,
    check_measurements,
    estimate_total,
)
from aim_core.inference import Axes, Contraction, TreeModel, calibrate, spread, sum_onto
from aim_core.junction_tree import CellCounts, build_tree, mask_of, maximal_masks, places_of

_BLOCK = 1 << 15  # cells that stay in the cache while a step is applied to them
_BALANCE_EVERY = 10  # steps; a few steps move no potential far enough to overflow
_GROWTH = 1.01  # of the rate, per successful step, as in mbi
_FLOOR = -20.0  # of log-potentials at a warm start, relative to a table's largest
_NOISE = 1e-13  # of the loss: changes below it are rounding errors
_WINDOW = 100  # steps
_TOLERANCE = 1e-4  # of the loss, per window


@dataclass(frozen=True)
class _Step:
    """Contract two tables of the network, and how to pass the derivative back to each."""

    left: int
    right: int
    inside: Contraction
    to_left: Contraction
    to_right: Contraction


class Network:
    """Non-negative tables whose product is the model, with an order to contract them in.

    Sum-product inside and outside: the sum over everything is formed by pairwise contractions, and
    its derivative by a table, times the table, is that table's marginal. Each pass back costs two
    contractions per contraction.
    """

    def __init__(self, sizes: Sequence[int], leaves: Sequence[Axes], order: Sequence[int]) -> None:
        self._leaves = [tuple(axes) for axes in leaves]
        self._sizes = tuple(sizes)
        uses = [sum(axis in axes for axes in self._leaves) for axis in range(len(sizes))]
        # An axis that one table alone has is summed away first.
        self._axes = [tuple(axis for axis in axes if uses[axis] > 1) for axes in self._leaves]
        self._steps: list[_Step] = []
        active = dict(enumerate(self._axes))
        for axis in order:
            while sum(axis in axes for axes in active.values()) > 1:
                self._contract_cheapest(active, axis)

    def _contract_cheapest(self, active: dict[int, Axes], axis: int) -> None:
        """Contract, of the tables with this axis, the two with the fewest cells together."""
        cells = CellCounts(self._sizes)
        masks = {node: mask_of(axes) for node, axes in active.items()}
        holders = [node for node in active if axis in active[node]]
        left, right = min(
            itertools.combinations(holders, 2),
            key=lambda pair: (cells[masks[pair[0]] | masks[pair[1]]], pair),
        )
        others = 0
        for node, mask in masks.items():
            others |= 0 if node in (left, right) else mask
        if cells[masks[left]] < cells[masks[right]]:
            left, right = right, left
        both = active[left] + tuple(a for a in active[right] if a not in active[left])
        wanted = tuple(a for a in both if others >> a & 1)
        inside = Contraction(active[left], active[right], wanted, self._sizes)
        to_left = Contraction(inside.axes, active[right], active[left], self._sizes)
        to_right = Contraction(inside.axes, active[left], active[right], self._sizes)
        self._steps.append(_Step(left, right, inside, to_left, to_right))
        self._axes.append(inside.axes)
        del active[left], active[right]
        active[len(self._axes) - 1] = inside.axes

    def beliefs(
        self, tables: Sequence[FloatArray], total: float, out: Sequence[FloatArray]
    ) -> bool:
        """Write each table's marginal (summing to `total`) to `out`; False if all mass underflows.

        Tables have their leaf's axes; only their ratios matter.
        """
        values = [
            table if own == kept else sum_onto(table, own, kept)
            for table, own, kept in zip(tables, self._leaves, self._axes, strict=False)
        ]
        for step in self._steps:
            value = step.inside(values[step.left], values[step.right])
            peak = value.max()
            if not 0.0 < peak < np.inf:
                return False
            value *= 1.0 / peak
            values.append(value)
        derivatives = self._derivatives(values)
        for i, own in enumerate(self._leaves):
            derivative, axes = derivatives[i]
            np.multiply(tables[i], spread(derivative, axes, own), out=out[i])
            mass = out[i].sum()
            if not 0.0 < mass < np.inf:
                return False
            np.multiply(out[i], total / mass, out=out[i])
        return True

    def _derivatives(self, values: Sequence[FloatArray]) -> list[tuple[FloatArray, Axes]]:
        """Return the derivative of the total mass by each table, up to a factor, and its axes."""
        one: tuple[FloatArray, Axes] = (np.array(1.0), ())
        derivatives = [one] * len(values)
        n_leaves = len(self._leaves)
        for number in reversed(range(len(self._steps))):
            step = self._steps[number]
            above, axes = derivatives[n_leaves + number]
            if axes != step.inside.axes:
                above = spread(above, axes, step.inside.axes)
            for node, rule, factor in (
                (step.left, step.to_left, values[step.right]),
                (step.right, step.to_right, values[step.left]),
            ):
                derivative = rule(above, factor)
                peak = derivative.max()
                if peak > 0.0:
                    derivative *= 1.0 / peak
                derivatives[node] = (derivative, rule.axes)
        return derivatives


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
            (i, tuple(place for place, axis in enumerate(axes) if not meet >> axis & 1))
            for i, axes in enumerate(leaves)
            if meet & ~masks[i] == 0
        ]
        shared.append((tuple(sizes[axis] for axis in places_of(meet)), members))
    return shared


class Objective:
    """The loss, sum of |M(model) - y|^2 / (2 variance), as a function of the leaves' marginals.

    Leaves are the maximal measured cliques and the attributes never measured; their marginals lie
    one after another in a flat vector. Measurements of one clique are first combined, weighted by
    inverse variance, which changes the loss by a constant only.
    """

    def __init__(self, domain: Domain, measurements: Sequence[Measurement]) -> None:
        sizes, cells = domain.sizes, CellCounts(domain.sizes)
        combined: dict[int, tuple[FloatArray, float]] = {}
        for measured in measurements:
            mask, weight = mask_of(domain.positions(measured.clique)), 1.0 / measured.variance
            sums, so_far = combined.get(mask, (np.zeros(cells[mask]), 0.0))
            combined[mask] = (sums + weight * measured.values, so_far + weight)
        masks = maximal_masks([*combined, *(1 << place for place in range(len(domain)))])
        self.leaves = [places_of(mask) for mask in masks]
        self.starts = np.cumsum([0] + [cells[mask] for mask in masks])
        self._shapes = [tuple(sizes[axis] for axis in axes) for axes in self.leaves]
        self.shared = _shared_axes(self.leaves, sizes)
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

    def _add_nested(
        self, leaf: int, mask: int, target: FloatArray, weight: float, sizes: Sequence[int]
    ) -> None:
        axes = places_of(mask)
        holders = [
            number
            for number, other in enumerate(self._nested)
            if other.leaf == leaf and set(axes) < set(other.axes)
        ]
        holder = min(holders, key=lambda i: (self._nested[i].target.size, i), default=None)
        shape = [sizes[axis] for axis in axes]
        self._nested.append(_Nested(leaf, holder, axes, target.reshape(shape), weight))

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


@dataclass
class _Point:
    """Log-potentials with what was computed from them, all flat over the leaves."""

    potentials: FloatArray
    marginals: FloatArray
    gradient: FloatArray
    loss: float

    @classmethod
    def zeros(cls, n_cells: int) -> "_Point":
        return cls(np.zeros(n_cells), np.empty(n_cells), np.empty(n_cells), np.inf)


class Descent:
    """Mirror descent with momentum on one objective; `step` tries one step.

    The potentials move by minus the rate times the gradient, plus momentum that grows with the
    number of successful steps in a row (heavy ball). A step that raises the loss is taken back and
    the momentum dropped (function restart, [O'Donoghue, Candes 2015]); a step without momentum has
    to pass mbi's Armijo test, or the rate is halved. So the loss never rises, the fixed points are
    those of plain mirror descent, and 300 steps come closer to the optimum than 3000 plain ones.
    """

    def __init__(
        self,
        domain: Domain,
        measurements: Sequence[Measurement],
        total: float,
        start: Mapping[Clique, FloatArray],
    ) -> None:
        self._domain, self._total = domain, total
        self._objective = Objective(domain, measurements)
        leaves = self._objective.leaves
        order = build_tree(domain.sizes, [mask_of(axes) for axes in leaves]).order
        self._network = Network(domain.sizes, leaves, order)
        n_cells = int(self._objective.starts[-1])
        self._factors = np.empty(n_cells)
        self._here, self._trial = _Point.zeros(n_cells), _Point.zeros(n_cells)
        self._before = np.zeros(n_cells)  # the potentials one accepted step ago
        self._expand(start)
        self._balance()
        # A cell without mass sinks on and on; leave it a way back, now that it is measured anew:
        # with less mass than this the loss would not show that a step raises it.
        np.maximum(self._here.potentials, _FLOOR, out=self._here.potentials)
        if not self._measure(self._here):
            self._here.potentials[:] = 0.0
            self._measure(self._here)
        self._drop_momentum()
        self._rate = 2.0 / (self._objective.lipschitz * total)
        self._growth = 2.0  # until the first step that fails: the bound 1 / L is far too careful
        self._n_steps = 0

    @property
    def loss(self) -> float:
        """The loss at the current potentials."""
        return self._here.loss

    def potentials(self) -> dict[Clique, FloatArray]:
        """Return the current log-potentials, flat, per leaf."""
        names = self._domain.attributes
        return {
            tuple(names[axis] for axis in axes): table.reshape(-1).copy()
            for axes, table in zip(
                self._objective.leaves, self._objective.tables(self._here.potentials), strict=True
            )
        }

    def step(self) -> None:
        """Try one step: keep it and lengthen the rate, or stay and drop momentum or rate."""
        self._n_steps += 1
        if self._n_steps % _BALANCE_EVERY == 0:
            self._balance()
        self._move(self._n_kept / (self._n_kept + 3.0))
        is_better = self._measure(self._trial) and self._is_enough()
        if is_better:
            np.copyto(self._before, self._here.potentials)
            self._here, self._trial = self._trial, self._here
            self._rate *= self._growth
            # Momentum starts once the rate has found its size.
            self._n_kept += self._growth == _GROWTH
        elif self._n_kept:
            self._drop_momentum()
        else:
            self._rate *= 0.5
            self._growth = _GROWTH

    def _move(self, momentum: float) -> None:
        """Write to the trial point where the step leads, block by block within the cache."""
        here, trial, before = self._here, self._trial, self._before
        for start in range(0, here.potentials.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            at, to = here.potentials[block], trial.potentials[block]
            np.subtract(at, before[block], out=to)
            to *= momentum
            to += at
            to -= self._rate * here.gradient[block]

    def _is_enough(self) -> bool:
        """Judge the trial: any gain with momentum, without it half of the gain promised."""
        here, trial = self._here, self._trial
        gain = here.loss - trial.loss + _NOISE * here.loss
        if self._n_kept:
            return gain >= 0.0
        slope = np.dot(here.gradient, here.marginals) - np.dot(here.gradient, trial.marginals)
        return gain >= 0.5 * self._rate * float(slope)

    def _drop_momentum(self) -> None:
        np.copyto(self._before, self._here.potentials)
        self._n_kept = 0

    def _balance(self) -> None:
        """Move log-potential between the tables so that none drifts; this changes no marginal.

        Where measurements contradict each other on what they share, the gradient does not vanish at
        the optimum but takes from one table what it gives to another, without end. Tables that
        share attributes are made to agree on their largest values there, and 0 is the largest of
        each: so exponentials stay in range, though messages are not formed in log space.
        """
        here = self._objective.tables(self._here.potentials)
        before = self._objective.tables(self._before)
        for shared, members in self._objective.shared:
            peaks = [here[i].max(axis=dropped, keepdims=True) for i, dropped in members]
            mean = sum(peak.reshape(shared) for peak in peaks) / len(peaks)
            for (i, _), peak in zip(members, peaks, strict=True):
                shift = mean.reshape(peak.shape) - peak
                here[i] += shift
                before[i] += shift
        for i, table in enumerate(here):
            peak = table.max()
            here[i] -= peak
            before[i] -= peak

    def _measure(self, point: _Point) -> bool:
        """Compute marginals, loss and gradient of a point; False if its mass is out of range."""
        tables = self._objective.tables
        with np.errstate(over="ignore", invalid="ignore"):
            np.exp(point.potentials, out=self._factors)
            is_sound = self._network.beliefs(
                tables(self._factors), self._total, tables(point.marginals)
            )
        if is_sound:
            point.loss = self._objective.evaluate(point.marginals, point.gradient)
        return is_sound

    def _expand(self, start: Mapping[Clique, FloatArray]) -> None:
        """Add earlier potentials to the smallest leaf that holds each; drop those with none."""
        tables = self._objective.tables(self._here.potentials)
        for clique, potential in start.items():
            axes = self._domain.positions(clique)
            holders = [i for i, leaf in enumerate(self._objective.leaves) if set(axes) <= set(leaf)]
            if holders:
                i = min(holders, key=lambda i: (tables[i].size, i))
                table = potential.reshape(self._domain.shape(clique))
                tables[i] += spread(table, axes, self._objective.leaves[i])


@dataclass(frozen=True)
class MirrorDescent:
    """The estimator of the mechanism: Private-PGM with an L2 loss, weighted by inverse variance.

    `n_iterations` is the most trial steps per fit. About 1000 are needed: with 300, AIM takes slow
    convergence for a useless measurement and anneals too early.
    """

    n_iterations: int = 1000

    def fit(
        self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
    ) -> TreeModel:
        """Fit a model; see `Estimator.fit`. A warm start that is no TreeModel is not used."""
        check_measurements(domain, measurements)
        return self.fit_total(domain, measurements, estimate_total(measurements), warm_start)

    def fit_total(
        self,
        domain: Domain,
        measurements: Sequence[Measurement],
        total: float,
        warm_start: Model | None = None,
    ) -> TreeModel:
        """Fit a model with a given total (in counts, above 0)."""
        check_measurements(domain, measurements)
        known = warm_start.potentials if isinstance(warm_start, TreeModel) else {}
        descent = Descent(domain, measurements, total, known)
        for begin in range(0, self.n_iterations, _WINDOW):
            loss = descent.loss
            for _ in range(min(_WINDOW, self.n_iterations - begin)):
                descent.step()
            if loss - descent.loss <= _TOLERANCE * descent.loss:
                break
        return calibrate(domain, descent.potentials(), total)
