"""Whole runs of AIM: the compute parties select and measure exactly what central AIM does.

Both oracles get the same scripted noise; the policy, the estimator and the data are the same.
"""

from collections.abc import Generator
from fractions import Fraction

import numpy as np
import pytest

from aim_core.arrays import CodeTable
from aim_core.counts.marginals import count_marginals
from aim_core.counts.scores import multipliers
from aim_core.counts.workload import closure, parse_workload
from aim_core.domain import Domain
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import AimResult, AimSettings
from aim_core.mechanisms.plaintext import PlaintextOracle
from aim_core.mechanisms.requests import Answer, Lost, Measure, Request, Select
from aim_core.models.fitters import make_fitter
from mpc.arrays import Integers
from mpc.noise.kinds import NoiseKind
from mpc.session.access import AccessStructure
from mpc.session.in_memory import run_parties
from mpc.session.session import Session
from mpc.shares.replicated import ring
from mpc.steps.job import FRACTION_BITS, RingParameters, SecureJob, make_noise
from parties.agreement.budget import noise_terms
from tests.support.secure.sessions import STRUCTURES, deal

DOMAIN = Domain(("a", "b", "c", "d"), (2, 5, 3, 7))
N_MAX = 1023


class ScriptedDealer:
    """A dealer whose noise is a fixed sequence: sampling n values takes the next n."""

    def __init__(self, pid: int) -> None:
        self._gaussians = np.random.default_rng([pid, 1])
        self._gumbels = np.random.default_rng([pid, 2])

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        width = int(sigma2**0.5) + 1
        return np.array([self._gaussians.integers(-width, width) for _ in range(n)], np.int64)

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        return np.array([self._gumbels.integers(-(2**24), 2**27) for _ in range(n)], np.int64)


class AllDealers:
    """The plaintext oracle's noise: what all dealers deal, added up."""

    def __init__(self, access: AccessStructure) -> None:
        self._dealers = [ScriptedDealer(pid) for pid in range(access.n_parties)]
        self._honest = access.n_parties - access.threshold
        self._n_gumbels = access.threshold + 1

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        dealt = [dealer.gaussian(n, sigma2 / self._honest) for dealer in self._dealers]
        total: Integers = np.sum(dealt, axis=0)
        return total

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        dealt = [dealer.gumbel(n, fraction_bits) for dealer in self._dealers[: self._n_gumbels]]
        total: Integers = np.sum(dealt, axis=0)
        return total


def table() -> CodeTable:
    generator = np.random.default_rng(9)
    a = generator.integers(0, 2, 700)
    b = (2 * a + generator.integers(0, 3, 700)) % 5
    c = (b + generator.integers(0, 2, 700)) % 3
    return np.stack([a, b, c, generator.integers(0, 7, 700)], axis=1)


WORKLOAD = parse_workload("2way", DOMAIN)
CANDIDATES = closure(WORKLOAD)
POSITIONS = {clique: i for i, clique in enumerate(CANDIDATES)}
MARGINALS = count_marginals([table()], DOMAIN, CANDIDATES)

Run = Generator[Request, Answer, AimResult]


def start_run(access: AccessStructure, rounds: int | None) -> Run:
    noise = noise_terms(make_noise(NoiseKind.DEALERS, access).costs)
    settings = AimSettings(Fraction(1, 20), N_MAX, N_MAX, rounds=rounds, seed=5)
    return aim(settings, WORKLOAD, noise, make_fitter("numpy"))


async def answer_securely(job: SecureJob, number: int, request: Request) -> Answer:
    if isinstance(request, Select):
        return await job.select(
            f"select-{number}",
            [POSITIONS[clique] for clique in request.candidates],
            request.model_counts,
            multipliers(request.weights, request.selection_epsilon, FRACTION_BITS),
            request.biases,
        )
    chosen = [POSITIONS[clique] for clique in request.cliques]
    return await job.measure(f"measure-{number}", chosen, request.sigma2)


async def drive_securely(run: Run, job: SecureJob) -> tuple[list[Answer], AimResult]:
    """Do at a party what `drive` does with an oracle; return the answers and the result."""
    answers: list[Answer] = []
    request = next(run)
    try:
        while True:
            answers.append(await answer_securely(job, len(answers), request))
            request = run.send(answers[-1])
    except StopIteration as stop:
        return answers, stop.value


def flat(answer: Answer) -> list[int]:
    assert not isinstance(answer, Lost)
    values = [answer] if isinstance(answer, int) else np.concatenate(answer).tolist()
    return list(values)


FIRST, *OTHERS = STRUCTURES
WHOLE_RUNS = [FIRST, *(pytest.param(mt, marks=pytest.mark.slow) for mt in OTHERS)]


@pytest.mark.parametrize("mt", WHOLE_RUNS, ids=str)
@pytest.mark.parametrize("rounds", [None, 3])
def test_a_whole_run_is_the_same(mt: tuple[int, int], rounds: int | None) -> None:
    access = AccessStructure(*mt)
    steps: list[tuple[Request, Answer]] = []
    oracle = PlaintextOracle(DOMAIN, MARGINALS, AllDealers(access), FRACTION_BITS)
    central = drive(start_run(access, rounds), oracle, lambda *step: steps.append(step))

    largest = max(request.sigma2 for request, _ in steps if isinstance(request, Measure))
    bound = make_noise(NoiseKind.DEALERS, access).gaussian_bound(largest)
    parameters = RingParameters.choose(N_MAX, N_MAX, bound)
    cells = np.concatenate([MARGINALS[clique] for clique in CANDIDATES])
    shares = deal(access, ring(parameters.ring_bits), cells)

    async def program(session: Session) -> tuple[list[Answer], AimResult]:
        source = make_noise(NoiseKind.DEALERS, access, sampler=ScriptedDealer(session.pid))
        job = SecureJob(session, parameters, source)
        await job.load(shares[session.pid], [DOMAIN.n_cells(clique) for clique in CANDIDATES])
        return await drive_securely(start_run(access, rounds), job)

    for answers, result in run_parties(*mt, program):
        assert len(answers) == len(steps)
        for own, (_, expected) in zip(answers, steps, strict=True):
            assert flat(own) == flat(expected)
        assert result.rounds == central.rounds
        assert result.rho_spent == central.rho_spent
