"""The program that every party of a joint-noise run executes, with either engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mpc.arrays import Integers
from mpc.mpyc_engine.job import ShamirJob
from mpc.noise.kinds import NoiseKind
from mpc.session.session import Session
from mpc.shares.replicated import ring
from mpc.steps.job import FRACTION_BITS, RingParameters, SecureJob, make_noise
from tests.support.secure.sessions import deal

SIGMA2 = Fraction(4)
SIZES = [4, 9, 300, 3]
WINNER = 2
# Distances differ by hundreds of Gumbel widths, so the winner is the noiseless one.
STEEP = [1 << FRACTION_BITS] * 4


@dataclass(frozen=True)
class Request:
    """Which engine runs the job, and the candidates that it measures."""

    engine: str
    measured: Sequence[int]


@dataclass(frozen=True)
class Opened:
    """What a party saw opened: two selections, and two measurements of the same marginals."""

    chosen: list[int]
    measured: list[list[list[int]]]


def cells() -> list[Integers]:
    generator = np.random.default_rng(8)
    return [generator.multinomial(900, np.full(size, 1 / size)) for size in SIZES]


def models() -> list[Integers]:
    """All models are near the truth but the winner's, which has all its mass in one cell."""
    near = [marginal.copy() for marginal in cells()]
    near[WINNER] = np.zeros(SIZES[WINNER], np.int64)
    near[WINNER][0] = 900
    return near


async def joint_program(session: Session, request: Request) -> Opened:
    """Load, select, measure twice (from the bank the second time); return what was opened."""
    noise = make_noise(NoiseKind.JOINT, session.access)
    parameters = RingParameters.choose(1000, 1000, noise.gaussian_bound(SIGMA2))
    make_job = ShamirJob if request.engine == "shamir" else SecureJob
    job = make_job(session, parameters, noise)
    shares = deal(session.access, ring(parameters.ring_bits), np.concatenate(cells()))
    await job.load(shares[session.pid], SIZES)
    chosen = await job.select("one", [0, 1, 2, 3], models(), STEEP, [0, 0, 0, 0])
    alone = await job.select("two", [1], models()[1:2], [5], [0])
    measured = [await job.measure(label, request.measured, SIGMA2) for label in ("three", "four")]
    job.wipe()
    return Opened(
        [chosen, alone], [[marginal.tolist() for marginal in answer] for answer in measured]
    )
