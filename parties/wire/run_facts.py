"""What a job and a run leave as JSON: `results.json`, `run.json`, `error.json`.

Everything in a job's results is a public function of what the compute parties opened. A run
compares with the real table besides, and says which of its facts are not private.
"""

from typing import Literal

from aim_core.domain import Clique
from parties.wire.events import Event
from parties.wire.messages import ErrorBody, FinishAnswer, Wire

NOT_PRIVATE = ("workload_error_l1", "workload_error_tv")
"""The facts of a run that are computed from the real table: for its owner's eyes only."""


class RoundFacts(Wire):
    """One finished round; `sigma` was asked for, `true_sigma` is what the noise really has."""

    round: int
    clique: Clique
    sigma: float
    true_sigma: float
    selection_epsilon: float
    rho_spent: float
    annealed: bool
    n_candidates: int


class MechanismFacts(Wire):
    """What the mechanism ended with, whoever answered it; `seconds` are by step.

    `warnings` say where public facts show that the result is of little use.
    """

    rho_initial: float
    rho_spent: float
    rho_spent_exact: str
    model_total: float
    rounds: list[RoundFacts]
    seconds: dict[str, float]
    warnings: list[str]


class JobFacts(MechanismFacts):
    """`results.json`: a job's holders, and what it cost each compute party."""

    holders: list[str]
    parties: list[FinishAnswer]


class ExactFacts(Wire):
    """The privacy budget as exact fractions, or as the user wrote it."""

    epsilon: str
    delta: str
    rho_budget: str
    rho_spent: str
    delta_reserved: str


class RunSeconds(Wire):
    """Seconds by step, the slowest party's where parties work, and those of the whole run."""

    collect: float
    score: float
    select: float
    measure: float
    fit: float
    sample: float
    total: float


class PublicRunFacts(Wire):
    """What can be told of a run: what was asked for, what came of it, and what it cost.

    Costs are listed by compute party, and are empty for a run without them. `sigmas` were asked
    for, `true_sigmas` are those of the noise, both by round; `selected` are the rounds' cliques.
    A dry run, whose noise comes from the public seed `dry_run_noise`, is not private at all.
    """

    is_private: bool
    dry_run_noise: int | None
    warnings: list[str]

    epsilon: float
    delta: float
    rho_budget: float
    rho_spent: float
    delta_reserved: float
    exact: ExactFacts
    rounds: int
    selected: list[Clique]
    sigmas: list[float]
    true_sigmas: list[float]
    workload: str
    oracle: str
    estimator: str
    engine: str
    noise_variance_factor: float
    parties: int
    threshold: int
    holders: int
    participation: str
    rows: int
    n_max: int
    seed: int
    cells: int
    candidates: int
    seconds: RunSeconds
    bytes_sent: list[int]
    comm_rounds: dict[str, int]
    upload_bytes: dict[str, int]
    peak_rss_mb: list[float]
    versions: dict[str, str]


class RunFacts(PublicRunFacts):
    """`run.json`: the facts of a run, and its errors against the real table."""

    workload_error_l1: float
    workload_error_tv: float
    not_private: tuple[str, ...] = NOT_PRIVATE


class FailureFacts(ErrorBody):
    """`error.json`: why a run failed, and all that it has released until then."""

    complete: Literal[False] = False
    events: list[Event]
