"""The kinds of arrays that aim_core hands around, each under one name."""

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
"""Numbers of a model or a statistic, of any shape."""

Counts = npt.NDArray[np.int64]
"""(n_cells,) whole counts of a flat marginal, exact or noisy."""

Codes = npt.NDArray[np.integer[Any]]
"""(n_rows,) codes of one column, of any width that holds them."""

Indices = npt.NDArray[np.int64]
"""(n,) positions in another array, 0 the first."""

CodeTable = npt.NDArray[np.integer[Any]]
"""(n_rows, n_columns) codes in schema order, of any width that holds them."""

CountVector = npt.NDArray[np.uint32]
"""(n_cells,) a holder's counts of all maximal marginals, one after the other."""

BoolArray = npt.NDArray[np.bool_]
"""True or false per cell or row, of any shape."""
