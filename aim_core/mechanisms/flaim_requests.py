"""What FLAIM's server asks of the data holders together, and what it is answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from aim_core.domain import Clique
from aim_core.mechanisms.flaim_terms import Proportions
from aim_core.models.measurement import Model
from aim_core.privacy.population import Group, GroupMeasurement


@dataclass(frozen=True, eq=False)
class Choose:
    """Ask the sampled holders which cliques they want measured, `n_steps` different ones each.

    `weights` and `biases` (the L1 distance that noise leaves, whole counts) are per candidate. The
    holders compare their marginals with `model`; `oneways` is the public estimate of the one-way
    marginals that AugFLAIM (Private) measures heterogeneity by, empty for the others.
    """

    round: int
    holders: Group
    candidates: tuple[Clique, ...]
    weights: tuple[int, ...]
    selection_epsilon: Fraction
    biases: tuple[int, ...]
    n_steps: int
    model: Model = field(repr=False)
    oneways: Mapping[Clique, Proportions] = field(repr=False)


@dataclass(frozen=True)
class MarginalSlot:
    """One marginal to be summed over the holders who contribute to it."""

    clique: Clique
    holders: Group


@dataclass(frozen=True)
class Collect:
    """Ask for sums of marginals, each cell with Gaussian noise of variance at least `sigma2`."""

    round: int
    holders: Group
    slots: tuple[MarginalSlot, ...]
    sigma2: Fraction
    rho_used: Fraction


Choices = Mapping[int, Sequence[int]]
"""Per holder the indices of its candidates; a holder that is missing has dropped out."""

Sums = Sequence[GroupMeasurement | None]
"""Per slot its noisy sum with its true variance and contributors; None if it stayed closed."""

FlaimRequest = Choose | Collect
FlaimAnswer = Choices | Sums
