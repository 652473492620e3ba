"""What a user may choose of a job's terms, as it is written; to name it loads no arithmetic."""

from dataclasses import dataclass

from mpc.noise.kinds import NoiseKind
from parties.agreement.values import EngineKind


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The terms that a user writes down, for `distaim run` and `distaim init` alike.

    Budgets and `max_model_mb` are exact texts. `max_cells` bounds the cells of a marginal in the
    workload, None not at all; `rounds` None is adaptive.
    """

    workload: str
    epsilon: str
    delta: str
    threshold: int
    rounds: int | None
    max_cells: int | None
    max_model_mb: str
    noise: NoiseKind
    engine: EngineKind
