"""What a party's operator is shown of its job: plain public facts of one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from parties.wire.messages import JobState, StepCost

ALIVE_SECONDS = 10.0
"""A peer that was heard within this time counts as connected; heartbeats come every 2 seconds."""


@dataclass(frozen=True)
class RoundView:
    """One round; `sigma` is None before its measurement, `n_lost` counts lost requests."""

    number: int
    cliques: tuple[str, ...]
    sigma: float | None
    rho: Fraction
    n_bytes: int
    seconds: float
    n_lost: int
    measured: bool


@dataclass(frozen=True)
class PeerView:
    """A peer; `silent` is for how many seconds nothing was heard, None while not connected."""

    pid: int
    name: str
    address: str
    silent: float | None

    @property
    def is_connected(self) -> bool:
        """Say whether the peer was heard lately."""
        return self.silent is not None and self.silent < ALIVE_SECONDS


@dataclass(frozen=True)
class Agreed:
    """What the manifest says of the job; `rounds` is None for the adaptive schedule."""

    run: str
    digest: str
    n_parties: int
    n_holders: int
    min_holders: int
    rounds: int | None
    epsilon: str
    delta: str


@dataclass(frozen=True)
class JobView:
    """A job at one party at one moment.

    `error` is why the job failed; `n_frozen` is 0 before the freeze; `eta_seconds` is None where
    there is no pace to go by.
    """

    pid: int
    name: str
    agreed: Agreed
    state: JobState
    error: str | None
    round: int
    n_uploads: int
    n_frozen: int
    n_charges: int
    spent: Fraction
    budget: Fraction
    costs: Mapping[str, StepCost]
    peers: Sequence[PeerView]
    rounds: Sequence[RoundView]
    eta_seconds: float | None
    ledger_head: str
    transcript_head: str

    @property
    def used(self) -> float:
        """Return which part of the budget is spent."""
        return float(self.spent / self.budget)

    @property
    def n_bytes(self) -> int:
        """Return the bytes sent to peers."""
        return sum(cost.bytes_sent for cost in self.costs.values())

    @property
    def n_lost(self) -> int:
        """Count the requests that were charged and lost."""
        return sum(view.n_lost for view in self.rounds)
