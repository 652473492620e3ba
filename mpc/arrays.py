"""The array types of the engine, by their one name each."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Ring elements, packed bits, positions: whatever the algebra or the docstring says."""
Integers = npt.NDArray[np.int64]
"""Signed integers: counts, noise."""
Words = npt.NDArray[np.uint64]
"""Elements of Z_2^k, k at most 64, in words of 64 bits."""
