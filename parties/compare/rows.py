"""What `distaim compare` finds out: one row per run, and the facts that all runs share."""

from typing import Any, Literal

from aim_core.mechanisms.flaim_terms import Variant
from parties.agreement.values import Frozen

CENTRAL, DISTAIM = "central", "distaim"

METHODS = (CENTRAL, DISTAIM, *(variant.value for variant in Variant))
"""The methods that can be compared, in the order that tables and plots show them."""

NOT_PRIVATE = "not private"
"""How a method that is not differentially private is marked wherever it is printed."""

Source = Literal["none", "measured", "one real run"]
"""Where a row's bytes come from: nothing was sent, this run's messages, or the one run over MPC
whose communication stands for all."""


class Row(Frozen):
    """One run of one method.

    Errors are mean L1 distances of normalised marginals, from 0 to 2: `error_l1` over the
    workload, `error_other_l1` over 3-way marginals that are not in it. `nll` is the mean negative
    log-likelihood of held-out rows in nats, `auc` that of a classifier trained on synthetic and
    tested on held-out rows. Bytes up and down are per holder, averaged over all holders
    (`max_bytes_up` is the busiest one's), `bytes_servers` what the compute parties sent each
    other, all together. `sigma` is the noise of the first measurement, in counts. Seconds are wall
    time on one core, or over all processes where MPC is run.
    """

    method: str
    epsilon: str
    seed: int
    is_private: bool
    error_l1: float
    error_other_l1: float | None
    nll: float
    auc: float | None
    bytes_up: float
    max_bytes_up: int
    bytes_down: float
    bytes_servers: int
    communication: Source
    is_real_mpc: bool
    rounds: int
    sigma: float
    rho: float
    rho_spent: float
    model_total: float
    heterogeneity_tv: float
    seconds: float


class Facts(Frozen):
    """What all rows share. `reference_auc` is the classifier's when trained on the real rows.

    `records_per_holder` and `heterogeneity_tv` have a minimum and so on: the first over the holders
    of seed 0, the second over the seeds.
    """

    settings: dict[str, Any]
    n_rows: int
    n_held_out: int
    n_attributes: int
    n_cliques: int
    n_candidates: int
    n_cells: int
    target: str | None
    reference_auc: float | None
    records_per_holder: dict[str, float]
    heterogeneity_tv: dict[str, float]
    versions: dict[str, str]
    remarks: list[str]
