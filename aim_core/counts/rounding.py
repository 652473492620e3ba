"""Systematic rounding of a model's marginals to whole counts."""

import numpy as np

from aim_core.arrays import Counts, FloatArray
from aim_core.errors import MechanismError

_BLOCK = 1 << 15


def systematic_round(values: FloatArray, u: float) -> Counts:
    """Round cells to integers by `Y_i = floor(C_i + u) - floor(C_{i-1} + u)`, C the running sum.

    `values` is `(n_cells,) float64`, all >= 0; `u` is in [0, 1), from the public seed. The result
    is `(n_cells,) int64`, all >= 0; its sum differs from the sum of `values` by less than 1 and
    each Y_i is the floor or the ceiling of its cell (up to rounding of C). If u is uniform,
    E Y_i = values_i, so for integer x also E|x - Y_i| = |x - values_i|.

    Raises MechanismError for u outside [0, 1) and for cells that are negative or not finite.
    """
    if not 0.0 <= u < 1.0:
        raise MechanismError(f"the rounding offset is {u}; it has to be in [0, 1)")
    rounded = np.empty(values.shape, dtype=np.int64)
    block = np.empty(min(_BLOCK, values.size))
    running, previous = 0.0, 0.0
    for start in range(0, values.size, _BLOCK):
        part = values[start : start + _BLOCK]
        # A running sum of cells >= 0 never falls, not even in floating point, so no Y is negative.
        sums = block[: part.size]
        if not part.min() >= 0.0:
            raise MechanismError("a model marginal has negative cells or cells that are no numbers")
        np.copyto(sums, part)
        sums[0] += running
        np.cumsum(sums, out=sums)
        running = float(sums[-1])
        if not np.isfinite(running):
            raise MechanismError("a model marginal has cells that are not finite")
        sums += u
        np.floor(sums, out=sums)
        rounded[start] = int(sums[0] - previous)
        rounded[start + 1 : start + part.size] = sums[1:] - sums[:-1]
        previous = float(sums[-1])
    return rounded
