"""The program that every party of a conformance run executes, with either engine."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mpc.arrays import Integers
from mpc.mpyc_engine.job import ShamirJob
from mpc.noise.kinds import NoiseKind
from mpc.session.session import Session
from mpc.shares.replicated import ring
from mpc.steps.job import RingParameters, SecureJob, make_noise
from tests.support.secure.sessions import deal

SIZES = [4, 9, 6, 3]
SIGMA2 = Fraction(100)


@dataclass(frozen=True)
class Opened:
    """What a party saw opened: the selections, and the two measured marginals."""

    chosen: list[int]
    measured: list[list[int]]


class ScriptedSampler:
    """Noise that the test knows: the same numbers for the same party and request."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        return np.random.default_rng([self._pid, n]).integers(-60, 60, n)

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        return np.random.default_rng([self._pid, n]).integers(-(2**26), 2**27, n)


def tables(seed: int, n: int) -> list[Integers]:
    generator = np.random.default_rng(seed)
    return [generator.multinomial(n, generator.dirichlet(np.full(s, 0.4))) for s in SIZES]


async def job_program(session: Session, engine: str) -> Opened:
    """Load, select three times, measure; return what was opened."""
    parameters = RingParameters.choose(1000, 1000, 4000)
    noise = make_noise(NoiseKind.DEALERS, session.access, sampler=ScriptedSampler(session.pid))
    make_job = ShamirJob if engine == "shamir" else SecureJob
    job = make_job(session, parameters, noise)
    cells = np.concatenate(tables(1, 900))
    shares = deal(session.access, ring(parameters.ring_bits), cells)
    await job.load(shares[session.pid], SIZES)
    models = tables(2, 950)
    chosen = [
        await job.select("one", [0, 1, 2, 3], models, [2**20, 2**21, 3, 2**19], [5, 0, -7, 100]),
        await job.select("two", [2], [models[2]], [7], [0]),
        await job.select("three", [0, 3], [models[0], models[3]], [0, 0], [0, 0]),
    ]
    measured = await job.measure("four", [1, 3], SIGMA2)
    return Opened(chosen, [m.tolist() for m in measured])
