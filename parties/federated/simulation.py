"""The federated mode in one process, for comparison: server and holders only exchange bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from aim_core.counts.workload import Workload
from aim_core.mechanisms.flaim_server import FlaimResult
from aim_core.mechanisms.flaim_terms import FlaimSettings
from aim_core.models.measurement import Fitter
from aim_core.privacy.noise_facts import Noise
from parties.federated.holder import FederatedHolder
from parties.federated.messages import Stage
from parties.federated.server import FederatedServer

Deliver = Callable[[Stage, int, int], bool]
"""Says whether a holder answers: (stage, round, holder)."""


@dataclass
class Traffic:
    """Bytes of serialised messages, by holder: up to the server, down to the holder."""

    n_holders: int
    up: list[int] = field(init=False)
    down: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.up = [0] * self.n_holders
        self.down = [0] * self.n_holders


@dataclass(frozen=True)
class FederatedOutcome:
    """A finished run and what it sent."""

    result: FlaimResult
    traffic: Traffic


def simulate(
    settings: FlaimSettings,
    workload: Workload,
    holders: Sequence[FederatedHolder],
    n_max: int,
    noise: Noise,
    fitter: Fitter,
    tolerance: Fraction = Fraction(0),
    deliver: Deliver = lambda stage, round_number, holder: True,  # noqa: ARG005 - a signature
) -> FederatedOutcome:
    """Run server and holders in one process, over bytes; `holders[k]` has the number k.

    Raises what `aim_core.mechanisms.flaim_server.flaim` raises, and the holders' RequestRefused and
    BudgetExceeded.
    """
    traffic = Traffic(len(holders))

    def exchange(stage: Stage, round_number: int, number: int, body: bytes) -> bytes | None:
        traffic.down[number] += len(body)
        if not deliver(stage, round_number, number):
            return None
        answer = holders[number].answer(stage, body)
        traffic.up[number] += len(answer)
        return answer

    server = FederatedServer(settings, workload, n_max, exchange, tolerance)
    return FederatedOutcome(server.run(noise, fitter), traffic)
