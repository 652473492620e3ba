"""SynthFS: a generated table whose holders differ in every feature (Maddock et al. 2024)."""

from dataclasses import dataclass

import numpy as np

from aim_core.arrays import CodeTable
from aim_core.errors import TableError
from aim_core.studies.splits import Owners
from aim_core.tables.columns.listed import CodedColumn
from aim_core.tables.schema import Schema

N_ROWS_PER_HOLDER = 500
N_FEATURES = 10
N_LEVELS = 41
SKEW = 2.0
"""The exponent used unless another is asked for; the paper's figure 1 goes from 1 to 5."""

_LARGEST_MEAN = 40


@dataclass(frozen=True, eq=False)
class HeldTable:
    """A table whose rows have holders by how it was made.

    `codes` is (n_rows, d); `owners` is each row's holder, (n_rows,) int32.
    """

    codes: CodeTable
    schema: Schema
    owners: Owners


def synthfs(n_holders: int, seed: int, skew: float = SKEW) -> HeldTable:
    """Generate 500 rows of 10 features for each holder, the same for the same arguments.

    Per holder and feature a mean is drawn from the Zipf distribution over 1..40, which gives m a
    probability proportional to m ** -skew. Values are N(mean, 1), cut at 40 points spaced evenly
    from 0 to 40, so that level 0 is what lies below 0 and level 40 what lies at or above 40: as the
    paper's code does it. A small skew spreads the means: the holders then differ most.

    Raises TableError for fewer holders than one or a skew that is negative or not finite.
    """
    if n_holders < 1:
        raise TableError(f"{n_holders} holders cannot hold the rows; name at least one")
    if not 0 <= skew < np.inf:
        raise TableError(f"the skew is {skew}; it has to be a number from 0, such as {SKEW}")
    generator = np.random.default_rng(seed)
    levels = np.arange(1, _LARGEST_MEAN + 1)
    weights = levels ** -float(skew)
    means = generator.choice(levels, (n_holders, 1, N_FEATURES), p=weights / weights.sum())
    values = generator.normal(means, 1.0, (n_holders, N_ROWS_PER_HOLDER, N_FEATURES))
    cuts = np.linspace(0.0, _LARGEST_MEAN, N_LEVELS - 1)
    codes = np.digitize(values, cuts).reshape(-1, N_FEATURES).astype(np.int32)
    schema = Schema(
        tuple(CodedColumn(f"f{number}", False, N_LEVELS) for number in range(N_FEATURES))
    )
    owners = np.repeat(np.arange(n_holders, dtype=np.int32), N_ROWS_PER_HOLDER)
    return HeldTable(codes, schema, owners)
