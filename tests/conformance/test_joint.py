"""Whole jobs with joint noise: select what has to be selected, measure with the noise asked for."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from mpc.arrays import Integers
from mpc.errors import MpcError
from mpc.noise.gaussian import magnitude_bound, plan
from mpc.noise.kinds import NoiseKind
from mpc.session.access import AccessStructure
from mpc.session.in_memory import run_parties
from mpc.session.session import Session
from mpc.shares.replicated import ring
from mpc.steps.job import FRACTION_BITS, RingParameters, SecureJob, make_noise
from parties.local.party_processes import run_local_parties
from tests.support.programs.joint_noise import (
    SIGMA2,
    WINNER,
    Opened,
    Request,
    cells,
    joint_program,
)
from tests.support.secure.sessions import STRUCTURES, deal

ONE = 1 << FRACTION_BITS


def check_answers(answers: list[Opened], measured: Sequence[int]) -> Integers:
    """Return the noise of both measurements, which differs."""
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].chosen == [WINNER, 0]
    exact = [cells()[c] for c in measured]
    first, second = (
        np.concatenate([np.array(v) - x for v, x in zip(answer, exact, strict=True)])
        for answer in answers[0].measured
    )
    assert not np.array_equal(first, second), "noise is fresh for every request"
    return np.concatenate([first, second])


@pytest.mark.parametrize("mt", STRUCTURES)
def test_a_job_end_to_end(mt: tuple[int, int]) -> None:
    request = Request("replicated", [2, 0])
    answers = run_parties(*mt, lambda session: joint_program(session, request))
    errors = check_answers(answers, [2, 0])
    assert np.abs(errors).max() <= magnitude_bound(plan(SIGMA2))
    n = len(errors)
    assert abs(errors.mean()) < 7 * 2 / math.sqrt(n)
    assert abs(errors.var() / 4 - 1) < 7 * math.sqrt(2 / n)


@pytest.mark.slow
def test_shamir_job_as_processes() -> None:
    answers = run_local_parties(3, 1, joint_program, Request("shamir", [1]), seconds=100)
    errors = check_answers(answers, [1])
    assert np.abs(errors).max() <= magnitude_bound(plan(SIGMA2))
    assert errors.any()


def select(
    mt: tuple[int, int],
    distances: Sequence[int],
    factors: Sequence[int],
    biases: Sequence[int] | None = None,
    n_repeats: int = 1,
) -> list[int]:
    """Select over candidates of one cell each, whose distance to the model 0 is given."""
    access = AccessStructure(*mt)
    noise = make_noise(NoiseKind.JOINT, access)
    parameters = RingParameters.choose(70_000, 70_000, noise.gaussian_bound(SIGMA2))
    shares = deal(access, ring(parameters.ring_bits), np.array(distances))
    n = len(distances)
    zeros = [np.zeros(1, np.int64)] * n

    async def program(session: Session) -> list[int]:
        job = SecureJob(session, parameters, make_noise(NoiseKind.JOINT, access))
        await job.load(shares[session.pid], [1] * n)
        chosen = [
            await job.select(f"s{i}", range(n), zeros, factors, biases or [0] * n)
            for i in range(n_repeats)
        ]
        job.wipe()
        return chosen

    answers = run_parties(*mt, program)
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


@pytest.mark.parametrize("mt", STRUCTURES)
@pytest.mark.parametrize("winner", [0, 7, 12])
def test_a_wide_gap_decides(mt: tuple[int, int], winner: int) -> None:
    distances = [500] * 13
    distances[winner] = 700  # 200 Gumbel widths; a gap is closed with probability 2e^-170 at most
    assert select(mt, distances, [ONE] * 13) == [winner]


def test_biases_and_multipliers_decide() -> None:
    biases = [0, 0, 900, 0]
    factors = [ONE, ONE, ONE, 3 * ONE]
    assert select((3, 1), [500, 1000, 1200, 600], factors, biases) == [3]


@pytest.mark.parametrize("mt", STRUCTURES)
def test_one_candidate_is_chosen(mt: tuple[int, int]) -> None:
    assert select(mt, [5], [ONE]) == [0]


@pytest.mark.parametrize("mt", STRUCTURES)
@pytest.mark.parametrize("factor", [0, ONE])
def test_equal_scores_leave_it_to_the_noise(mt: tuple[int, int], factor: int) -> None:
    """Uniform over 4: the chance that all 14 selections agree is 1.5e-8."""
    chosen = select(mt, [9] * 4, [factor] * 4, n_repeats=14)
    assert len(set(chosen)) >= 2
    assert set(chosen) <= {0, 1, 2, 3}


def test_two_equal_leaders_share_the_wins() -> None:
    chosen = select((3, 1), [9, 5000, 5000, 8], [ONE] * 4, n_repeats=25)
    assert set(chosen) == {1, 2}  # all 25 agree with probability 6e-8


def test_two_thousand_candidates() -> None:
    distances = [i % 700 for i in range(2000)]
    distances[1234] = 60_000
    assert select((3, 1), distances, [ONE] * 2000) == [1234]


def test_an_unpaid_variance_is_refused_by_all() -> None:
    access = AccessStructure(3, 1)
    shares = deal(access, ring(14), np.arange(4))

    async def program(session: Session) -> None:
        job = SecureJob(session, RingParameters(100, 14, 7), make_noise(NoiseKind.JOINT, access))
        await job.load(shares[session.pid], [4])
        with pytest.raises(MpcError, match=r"outside \[1"):
            await job.measure("m", [0], Fraction(1, 2))
        job.wipe()

    run_parties(3, 1, program)
