"""The sizes that rule out wraps, and what a job refuses."""

import asyncio
from collections.abc import Awaitable, Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.arrays import Integers
from mpc.errors import EncodingOverflow, MpcError
from mpc.noise.kinds import NoiseKind
from mpc.session.access import AccessStructure
from mpc.session.in_memory import Result, run_parties
from mpc.session.session import Session
from mpc.shares.replicated import ring
from mpc.steps.job import RingParameters, SecureJob, check_measurable, make_noise
from mpc.steps.selection import MAX_SCORE_BITS, score_bits
from tests.support.secure.sessions import deal

ACCESS = AccessStructure(3, 1)


@given(*(st.integers(1, 2**29) for _ in range(3)))
def test_the_ring_is_the_smallest_that_cannot_wrap(
    n_max: int, y_max: int, noise_bound: int
) -> None:
    parameters = RingParameters.choose(n_max, y_max, noise_bound)
    half = 1 << (parameters.ring_bits - 1)
    largest = n_max + max(y_max, noise_bound)
    assert half > largest >= half // 2
    assert max(n_max, y_max) < 1 << parameters.count_bits <= half


@pytest.mark.parametrize("bits", [19, 20])
def test_adult_needs_19_or_20_bits(bits: int) -> None:
    noise_bound = {19: 100_000, 20: 300_000}[bits]
    assert RingParameters.choose(65_535, 65_535, noise_bound).ring_bits == bits


def test_a_ring_above_32_bits_is_refused() -> None:
    assert RingParameters.choose(2**30, 2**30 - 1, 0).ring_bits == 32
    with pytest.raises(EncodingOverflow, match="33 bits"):
        RingParameters.choose(2**30, 2**30, 0)


def test_noise_that_could_wrap_is_refused() -> None:
    noise = make_noise(NoiseKind.DEALERS, ACCESS)
    parameters = RingParameters.choose(1000, 1000, noise.gaussian_bound(Fraction(10_000)))
    check_measurable(parameters, noise, Fraction(10_000))
    with pytest.raises(EncodingOverflow, match="may wrap"):
        check_measurable(parameters, noise, Fraction(10**7))


@given(
    scores=st.lists(
        st.tuples(st.integers(0, 2**20), st.integers(-(2**15), 2**15)), min_size=1, max_size=5
    ),
    noise_bound=st.integers(0, 2**40),
)
def test_noisy_scores_fit_into_their_bits(scores: list[tuple[int, int]], noise_bound: int) -> None:
    multipliers, biases = zip(*scores, strict=True)
    bits = score_bits(multipliers, biases, 1 << 18, noise_bound)
    offset = 1 << (bits - 1)
    for c, bias in scores:
        for distance in (0, (1 << 18) - 1):
            assert offset + c * (distance - bias) - noise_bound >= 1
            assert offset + c * (distance - bias) + noise_bound < 2 * offset


def test_scores_above_62_bits_are_refused() -> None:
    with pytest.raises(EncodingOverflow, match=str(MAX_SCORE_BITS)):
        score_bits([2**45], [0], 1 << 18, 0)


class Zeros:
    """Noise of a known value."""

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        return np.full(n, -2)

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        return np.zeros(n, np.int64)


def run_job(request: Callable[[SecureJob], Awaitable[Result]]) -> list[Result]:
    parameters = RingParameters.choose(10, 10, 400)
    shares = deal(ACCESS, ring(parameters.ring_bits), np.array([1, 2, 5]))

    async def program(session: Session) -> Result:
        job = SecureJob(session, parameters, make_noise(NoiseKind.DEALERS, ACCESS, sampler=Zeros()))
        await job.load(shares[session.pid], [2, 1])
        return await request(job)

    return run_parties(3, 1, program)


def test_noisy_counts_may_be_negative() -> None:
    answers = run_job(lambda job: job.measure("m", [1, 0], Fraction(100)))
    assert [[v.tolist() for v in a] for a in answers] == [[[-1], [-5, -4]]] * 3


def test_one_candidate_is_chosen_and_costs_a_round_of_scores_only() -> None:
    assert run_job(lambda job: job.select("s", [1], [np.array([4])], [3], [0])) == [0, 0, 0]


@pytest.mark.parametrize("model", [[0, 16], [-1, 3], [2**40, 0]])
def test_model_counts_outside_their_bits_are_refused(model: list[int]) -> None:
    request = [np.array(model), np.array([1])]
    with pytest.raises(EncodingOverflow, match=r"model (count|marginal)"):
        run_job(lambda job: job.select("s", [0, 1], request, [1, 1], [0, 0]))


@pytest.mark.parametrize("kind", NoiseKind)
def test_cells_are_replaced_and_noise_made_ahead_is_kept(kind: NoiseKind) -> None:
    parameters = RingParameters.choose(1000, 1000, 5000)
    tables = [np.array([0, 0]), np.array([900, 0])]
    shares = [deal(ACCESS, ring(parameters.ring_bits), table) for table in tables]

    async def program(session: Session) -> list[list[Integers]]:
        job = SecureJob(session, parameters, make_noise(kind, ACCESS))
        found = []
        for number, dealt in enumerate(shares):
            await job.load(dealt[session.pid], [2])
            found.append(await job.measure(f"m-{number}", [0], Fraction(9)))
            _, bank = job._input()
        await job.load(shares[0][session.pid], [2])
        assert job._input()[1] is bank
        return found

    answers = run_parties(3, 1, program)
    (empty,), (full,) = answers[0]
    assert np.abs(empty).max() < 100
    assert np.abs(full - tables[1]).max() < 100
    assert all(np.array_equal(full, other[1][0]) for other in answers)


def test_a_job_without_cells_refuses() -> None:
    async def program(session: Session) -> None:
        job = SecureJob(
            session, RingParameters.choose(10, 10, 400), make_noise(NoiseKind.DEALERS, ACCESS)
        )
        with pytest.raises(MpcError, match="no cells yet"):
            await job.measure("m", [0], Fraction(9))
        with pytest.raises(MpcError, match="no cells yet"):
            await job.select("s", [0], [np.array([1])], [1], [0])

    run_parties(3, 1, program)


def test_a_request_label_is_answered_once() -> None:
    async def twice(job: SecureJob) -> None:
        await job.measure("m", [0], Fraction(100))
        with pytest.raises(MpcError, match="was run before"):
            await asyncio.wait_for(job.measure("m", [0], Fraction(100)), 5)

    run_job(twice)
