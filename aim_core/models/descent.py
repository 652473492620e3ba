"""Private-PGM by entropic mirror descent in NumPy.

Algorithm 1 of [McKenna, Sheldon, Miklau, ICML 2019] with the line search of mbi 2: descend on the
log-potentials of the maximal measured cliques, along the gradient of the loss with respect to the
marginals. Cells that are structural zeros of the domain have a potential that nothing moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aim_core.arrays import FloatArray
from aim_core.domain import Clique, Domain
from aim_core.models.contraction import spread
from aim_core.models.factor_network import FactorNetwork
from aim_core.models.junction_tree import build_tree, mask_of
from aim_core.models.measurement import Measurement, Model, check_measurements, estimate_total
from aim_core.models.objective import Objective
from aim_core.models.tree_model import TreeModel, calibrate

_BLOCK = 1 << 15  # cells that stay in the cache while a step is applied to them
_BALANCE_EVERY = 10  # steps; a few steps move no potential far enough to overflow
_GROWTH = 1.01  # of the rate, per successful step, as in mbi
_FLOOR = -20.0  # of log-potentials at a warm start, relative to a table's largest
_NEVER = -1e30  # of a forbidden cell: exp gives exactly 0, and no step or shift is felt beside it
_NOISE = 1e-13  # of the loss: changes below it are rounding errors
_WINDOW = 100  # steps
_TOLERANCE = 1e-4  # of the loss, per window


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
        self._network = FactorNetwork(domain.sizes, leaves, order)
        n_cells = int(self._objective.starts[-1])
        self._factors = np.empty(n_cells)
        self._here, self._trial = _Point.zeros(n_cells), _Point.zeros(n_cells)
        self._before = np.zeros(n_cells)  # the potentials one accepted step ago
        self._expand(start)
        self._forbid()
        self._balance()
        # A cell without mass sinks on and on; leave it a way back, now that it is measured anew:
        # with less mass than this the loss would not show that a step raises it.
        np.maximum(self._here.potentials, _FLOOR, out=self._here.potentials)
        self._forbid()
        if not self._measure(self._here):
            self._here.potentials[:] = 0.0
            self._forbid()
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
        """Return the current log-potentials, flat, per leaf; 0 in cells that are forbidden."""
        names = self._domain.attributes
        potentials = self._here.potentials.copy()
        potentials[self._objective.forbidden] = 0.0
        return {
            tuple(names[axis] for axis in axes): table.reshape(-1)
            for axes, table in zip(
                self._objective.leaves, self._objective.tables(potentials), strict=True
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

    def _forbid(self) -> None:
        self._here.potentials[self._objective.forbidden] = _NEVER

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
    """The mechanism's own fitter: Private-PGM with an L2 loss, weighted by inverse variance.

    `n_iterations` is the most trial steps per fit. About 1000 are needed: with 300, AIM takes slow
    convergence for a useless measurement and anneals too early.
    """

    n_iterations: int = 1000

    def fit(
        self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
    ) -> TreeModel:
        """Fit a model; see `Fitter.fit`. A warm start that is no TreeModel is not used."""
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
