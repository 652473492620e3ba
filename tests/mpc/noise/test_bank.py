"""The bank: one use per sample, the same batches at all parties, bounded, wiped, made ahead."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fractions import Fraction
from itertools import chain

import numpy as np
import pytest

from mpc.errors import MpcError
from mpc.noise import bank as bank_module
from mpc.noise.bank import NoiseBank
from mpc.noise.kinds import NoiseKind
from mpc.noise.sources import JointNoise, NoiseSource
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel, Step
from mpc.session.in_memory import Result, run_parties, start_sessions
from mpc.session.session import Session
from mpc.shares.replicated import Algebra, Share, reshare, ring
from mpc.steps.job import RingParameters, SecureJob, make_noise
from tests.support.secure.sessions import STRUCTURES, deal, reveal

CELLS = ring(20)
WIDE = ring(64)
SIGMA2, OTHER = Fraction(9), Fraction(4)


Pause = Callable[[], Awaitable[None]]
Taken = dict[str, list[Share]]


class CountingSource(JointNoise):
    """Shares the numbers 1, 2, 3, ..., so that a sample handed out twice is seen.

    Party 0 deals them, in a round that all parties take part in; everything handed over is kept,
    to be looked at for wiping.
    """

    def __init__(
        self, *, made_ahead: bool = True, pause: Pause | None = None, fails_at: int | None = None
    ) -> None:
        super().__init__(made_ahead=made_ahead)
        self.n_made = 0
        self.batches: list[Share] = []
        self.requests: list[tuple[Fraction | int, int]] = []
        self._pause, self._fails_at = pause, fails_at

    async def _deal(
        self, channel: Channel, algebra: Algebra, n: int, kind: Fraction | int
    ) -> Share:
        self.requests.append((kind, n))
        if len(self.requests) == self._fails_at:
            raise MpcError("no more noise")
        first, self.n_made = self.n_made + 1, self.n_made + n
        if self._pause is not None:
            await self._pause()
        own = np.arange(first, first + n).astype(algebra.dtype) if channel.pid == 0 else None
        share = await reshare(channel, algebra, (n,), own, [0])
        self.batches.append(share)
        return share

    async def gaussian(self, channel: Channel, algebra: Algebra, n: int, sigma2: Fraction) -> Share:
        return await self._deal(channel, algebra, n, sigma2)

    async def gumbel(self, channel: Channel, algebra: Algebra, n: int, fraction_bits: int) -> Share:
        return await self._deal(channel, algebra, n, fraction_bits)


def make_bank(
    session: Session, source: NoiseSource, n_candidates: int = 8, n_cells: int = 12
) -> NoiseBank:
    return NoiseBank(session, source, CELLS, 24, n_candidates, n_cells)


def run(
    program: Callable[[NoiseBank, CountingSource], Awaitable[Result]],
    mt: tuple[int, int] = (3, 1),
    *,
    made_ahead: bool = True,
    fails_at: int | None = None,
) -> list[Result]:
    """Give every party a bank over a source of its own; return the answers by party."""

    async def main(session: Session) -> Result:
        source = CountingSource(made_ahead=made_ahead, fails_at=fails_at)
        return await program(make_bank(session, source), source)

    return run_parties(*mt, main)


async def settle() -> None:
    """Let everything under way come to its end."""
    for _ in range(300):
        await asyncio.sleep(0)


async def requests(bank: NoiseBank, pause: Pause) -> Taken:
    """A run of a mechanism: many requests of many sizes, three variances; the shares by kind."""
    taken: Taken = {"gumbel": [], "gaussian": []}
    bank.fill_gumbels()
    for n in (8, 7, 8, 3, 20, 1):
        await pause()
        taken["gumbel"].append(await bank.gumbels(WIDE, n))
        sigma2 = SIGMA2 if n != 3 else OTHER
        await pause()
        taken["gaussian"].append(await bank.gaussians(5 * n, sigma2))
    return taken


def no_pause() -> Awaitable[None]:
    return asyncio.sleep(0)


def numbers(answers: Sequence[Mapping[str, list[Share]]], kind: str) -> list[list[int]]:
    return [reveal(list(shares)).tolist() for shares in zip(*(a[kind] for a in answers))]  # noqa: B905 - reveal checks


@pytest.mark.parametrize("mt", STRUCTURES)
def test_no_sample_is_handed_out_twice(mt: tuple[int, int]) -> None:
    async def program(bank: NoiseBank, _source: CountingSource) -> Taken:
        return await requests(bank, no_pause)

    answers = run(program, mt)
    gumbels, gaussians = numbers(answers, "gumbel"), numbers(answers, "gaussian")
    assert [len(part) for part in gumbels] == [8, 7, 8, 3, 20, 1]
    assert [len(part) for part in gaussians] == [40, 35, 40, 15, 100, 5]
    everything = list(chain(*gumbels, *gaussians))
    assert len(set(everything)) == len(everything)
    assert list(chain(*gumbels)) == sorted(chain(*gumbels)), "the oldest go first"


@pytest.mark.parametrize("seed", range(6))
def test_timing_changes_nothing(seed: int) -> None:
    """Random pauses at every party, before requests and within batches: same samples for all."""

    async def program(session: Session) -> tuple[Taken, list[tuple[Fraction | int, int]]]:
        generator = np.random.default_rng([seed, session.pid])

        async def pause() -> None:
            await asyncio.sleep(float(generator.choice([0, 0, 0.001, 0.01])))

        source = CountingSource(pause=pause)
        bank = make_bank(session, source)
        taken = await requests(bank, pause)
        await settle()
        return taken, sorted(source.requests)

    answers = run_parties(3, 1, program)
    assert [r for _, r in answers] == [answers[0][1]] * 3
    for kind in ("gumbel", "gaussian"):  # reveal asserts that the parties' shares fit together
        values = list(chain(*numbers([taken for taken, _ in answers], kind)))
        assert len(set(values)) == len(values)


def test_joint_samples_fit_together_whatever_the_timing() -> None:
    async def program(session: Session) -> Taken:
        generator = np.random.default_rng(session.pid)

        async def pause() -> None:
            await asyncio.sleep(float(generator.choice([0, 0.002, 0.01])))

        bank = make_bank(session, JointNoise(), 70, 200)
        return await requests(bank, pause)

    answers = run_parties(3, 1, program)
    gumbels = list(chain(*numbers(answers, "gumbel")))
    assert len(set(gumbels)) == len(gumbels)
    for values in numbers(answers, "gaussian"):
        assert all(min(v, 2**20 - v) <= 40 for v in values)


def all_zero(shares: Sequence[Share]) -> bool:
    return all((values == 0).all() for share in shares for values in share.components.values())


def test_what_is_taken_is_wiped_and_what_was_taken_is_not() -> None:
    async def program(bank: NoiseBank, source: CountingSource) -> Taken:
        first = await bank.gaussians(5, SIGMA2)
        await settle()
        assert all_zero(source.batches[:1])
        second = await bank.gaussians(4, SIGMA2)
        rest = source.batches[1]
        assert all_zero([rest[:4]])
        assert not all_zero([rest[4:]])
        return {"first": [first], "second": [second]}

    answers = run(program)
    assert numbers(answers, "first") == [[1, 2, 3, 4, 5]]
    assert numbers(answers, "second") == [[6, 7, 8, 9]]


def test_the_end_wipes_everything() -> None:
    async def program(bank: NoiseBank, source: CountingSource) -> Taken:
        bank.fill_gumbels()
        taken = await bank.gaussians(5, SIGMA2)
        await settle()
        assert len(source.batches) == 3
        assert not all_zero(source.batches[1:])
        bank.wipe()
        assert all_zero(source.batches)
        return {"taken": [taken]}

    assert numbers(run(program), "taken") == [[9, 10, 11, 12, 13]]


@pytest.mark.parametrize("n_steps", [0, 1, 3, 8, 15, 30, 60])
def test_the_end_stops_what_is_being_made(n_steps: int) -> None:
    """Wherever the circuits stand, nothing of them is left, and the session still works."""

    async def program(session: Session) -> None:
        bank = make_bank(session, JointNoise())
        await bank.gaussians(3, SIGMA2)
        bank.fill_gumbels()
        for _ in range(n_steps):
            await asyncio.sleep(0)
        bank.wipe()
        for _ in range(5):
            await asyncio.sleep(0)
        with session.step(Step.CHECK, "still-alive") as channel:
            await channel.exchange(dict.fromkeys(session.peers, b"x"), session.peers)

    async def main() -> None:
        sessions = await start_sessions(3, 1)
        tasks = asyncio.all_tasks()
        await asyncio.gather(*(program(session) for session in sessions))
        assert asyncio.all_tasks() == tasks

    asyncio.run(main())


def test_a_new_variance_gets_samples_of_its_own_and_the_old_ones_are_wiped() -> None:
    async def program(bank: NoiseBank, source: CountingSource) -> Taken:
        await bank.gaussians(5, SIGMA2)
        await bank.gaussians(3, OTHER)
        assert all_zero(source.batches[:2])
        assert source.requests[:3] == [(SIGMA2, 5), (SIGMA2, 12), (OTHER, 3)]
        again = await bank.gaussians(2, SIGMA2)
        assert source.requests[3:5] == [(OTHER, 12), (SIGMA2, 2)]
        return {"again": [again]}

    assert numbers(run(program), "again") == [[33, 34]]


def test_stock_is_topped_up_while_nobody_asks() -> None:
    async def program(bank: NoiseBank, source: CountingSource) -> None:
        bank.fill_gumbels()
        await settle()
        assert source.requests == [(24, 8)]
        await bank.gumbels(WIDE, 5)
        await bank.gaussians(2, SIGMA2)
        await settle()
        assert sorted(source.requests) == [(SIGMA2, 2), (SIGMA2, 12), (24, 5), (24, 8)]
        await bank.gumbels(WIDE, 8)
        assert source.n_made == 27, "served from stock"

    run(program)


def test_stock_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_module, "MAX_GUMBELS", 6)
    monkeypatch.setattr(bank_module, "MAX_GAUSSIANS", 10)

    async def program(session: Session) -> None:
        source, n_taken = CountingSource(), 0
        bank = make_bank(session, source, 1000, 100_000)
        bank.fill_gumbels()
        for n in (30, 2, 6, 7, 1, 3):
            await bank.gumbels(WIDE, n)
            await bank.gaussians(n, SIGMA2)
            n_taken += 2 * n
            await settle()
            assert source.n_made - n_taken == 16

    run_parties(3, 1, program)


def test_dealt_noise_is_dealt_when_it_is_asked_for() -> None:
    async def program(bank: NoiseBank, source: CountingSource) -> None:
        bank.fill_gumbels()
        await bank.gumbels(WIDE, 5)
        await bank.gaussians(7, SIGMA2)
        await bank.gaussians(6, SIGMA2)
        await settle()
        assert source.requests == [(24, 5), (SIGMA2, 7), (SIGMA2, 6)]

    run(program, made_ahead=False)


def test_gumbels_come_in_the_ring_that_is_asked_for() -> None:
    async def program(bank: NoiseBank, _source: CountingSource) -> Taken:
        return {"small": [await bank.gumbels(ring(20), 3)], "large": [await bank.gumbels(WIDE, 2)]}

    answers = run(program)
    assert numbers(answers, "small") == [[1, 2, 3]]
    assert numbers(answers, "large") == [[4, 5]]


def test_a_failure_in_the_background_is_raised_by_the_next_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def program(bank: NoiseBank, _source: CountingSource) -> None:
        await bank.gumbels(WIDE, 5)
        await settle()
        with pytest.raises(MpcError, match="no more noise"):
            await bank.gumbels(WIDE, 1)

    with caplog.at_level(logging.ERROR):
        run(program, fails_at=2)
    assert not caplog.records


def test_an_unseen_failure_in_the_background_is_not_reported_by_asyncio(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def program(bank: NoiseBank, _source: CountingSource) -> None:
        await bank.gumbels(WIDE, 5)
        await settle()

    with caplog.at_level(logging.ERROR):
        run(program, fails_at=2)
    assert not caplog.records


def test_a_job_wipes_its_bank() -> None:
    access, parameters = AccessStructure(3, 1), RingParameters.choose(50, 50, 400)
    shares = deal(access, ring(parameters.ring_bits), np.arange(6))

    async def program(session: Session) -> None:
        job = SecureJob(session, parameters, make_noise(NoiseKind.JOINT, access))
        await job.load(shares[session.pid], [4, 2])
        await job.measure("m", [0], Fraction(9))
        _, bank = job._input()
        stocks = [bank._gumbels, *bank._gaussians.values()]
        batches = [task for stock in stocks for task in stock._batches]
        await asyncio.wait(batches)
        assert [task.result().shape[0] for task in batches] == [2, 4]
        job.wipe()
        assert all_zero([task.result() for task in batches])
        with pytest.raises(MpcError, match="no cells"):
            await job.measure("n", [0], Fraction(9))

    run_parties(3, 1, program)
