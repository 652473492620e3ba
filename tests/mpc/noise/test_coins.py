"""Coins and threshold comparisons: exact for uniform values that the test scripts."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest

from mpc.arrays import Array
from mpc.noise.coins import (
    GROUP_BITS,
    N_DIGITS,
    TABLE_BITS,
    WORD,
    below_thresholds,
    biased_coins,
    digit_indicators,
    random_share,
)
from mpc.noise.gaussian import thresholds
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel, Step, StepStatistics
from mpc.session.in_memory import run_parties
from mpc.session.keystream import Keystream
from mpc.session.session import Session
from mpc.shares.replicated import Algebra, Share, ring
from tests.support.secure.sessions import STRUCTURES, deal, reveal, run_step
from tests.support.secure.words import planes_of, values_of

TOP = (1 << TABLE_BITS) - 1


def script(monkeypatch: pytest.MonkeyPatch, mt: tuple[int, int], planes: Array) -> None:
    """Deal these planes, in the shape asked for, where a uniform share is drawn."""

    def dealt(channel: Channel, algebra: Algebra, shape: tuple[int, ...]) -> Share:
        assert algebra == WORD
        return deal(AccessStructure(*mt), algebra, planes.reshape(shape), 7)[channel.pid]

    monkeypatch.setattr("mpc.noise.coins.random_share", dealt)


@pytest.mark.parametrize("mt", STRUCTURES)
def test_digit_indicators_of_all_digits(mt: tuple[int, int]) -> None:
    planes = planes_of([i % 16 for i in range(128)], 4)
    shares = deal(AccessStructure(*mt), WORD, planes, 3)
    opened = reveal(run_step(mt, lambda ch: digit_indicators(ch, shares[ch.pid])))
    expected = np.arange(128) % 16 == np.arange(16)[:, np.newaxis]
    assert np.array_equal(values_of(opened, 128), expected)


def interesting_values(table: Iterable[int]) -> list[int]:
    """Values at and around all thresholds, at the ends, and with few and many zero digits."""
    values = {0, 1, 15, 16, TOP, TOP - 1}
    for threshold in table:
        values |= {threshold, threshold - 1, threshold + 1, threshold ^ 1 << 40}
    for digit in range(N_DIGITS):
        for kept in (1, 7, 15):
            values |= {kept << GROUP_BITS * digit, (1 << GROUP_BITS * (digit + 1)) - kept}
    stream = Keystream(b"c" * 32, b"values")
    random = [int.from_bytes(stream.read(9), "little") >> 4 * (i % N_DIGITS) for i in range(90)]
    return [v for v in sorted(values) if 0 <= v <= TOP] + random


TABLES = {
    "one": (1,),
    "ends": (TOP, 1),
    "top only": (TOP, TOP - 1, 1 << 71),
    "zero": (0,),
    "a threshold per digit": tuple(11 << GROUP_BITS * d for d in range(N_DIGITS - 1, -1, -1)),
    "powers of 16": tuple(1 << GROUP_BITS * d for d in range(N_DIGITS - 1, -1, -1)),
    "all ones": tuple((1 << b) - 1 for b in range(TABLE_BITS, 0, -5)),
    "tails only": (1 << 23, 12345, 77, 1),
    "variance 1": thresholds(Fraction(1)),
    "variance 11": thresholds(Fraction(11)),
}


@pytest.mark.parametrize("name", TABLES)
def test_below_thresholds_is_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_below_thresholds((3, 1), TABLES[name], monkeypatch)


@pytest.mark.parametrize("mt", STRUCTURES[1:])
def test_below_thresholds_is_exact_for_more_parties(
    mt: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_below_thresholds(mt, TABLES["a threshold per digit"], monkeypatch)


def check_below_thresholds(
    mt: tuple[int, int], table: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = interesting_values(table)
    planes = planes_of(values, TABLE_BITS)
    digits = planes.reshape(N_DIGITS, GROUP_BITS, -1).swapaxes(0, 1)
    script(monkeypatch, mt, digits)
    n_words = planes.shape[1]
    opened = reveal(run_step(mt, lambda ch: below_thresholds(ch, table, n_words)))
    expected = [[value < threshold for value in values] for threshold in table]
    assert np.array_equal(values_of(opened, len(values)), expected)


@pytest.mark.parametrize("n_bits", [64, 128])
@pytest.mark.parametrize("mt", STRUCTURES)
def test_a_biased_coin_compares_with_its_threshold(
    mt: tuple[int, int], n_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = (1 << n_bits) - 1
    coins = [0, 1, top, 1 << (n_bits - 1), 0x1234567 << (n_bits // 2)]
    values = []
    for threshold in coins:
        near = [threshold + step for step in (-2, -1, 0, 1, 2)]
        near += [0, 1, top, top - 1, threshold ^ 1 << 33, top ^ threshold]
        values += [min(max(v, 0), top) for v in (near * 6)[:64]]
    script(monkeypatch, mt, planes_of(values, n_bits))
    opened = reveal(run_step(mt, lambda ch: biased_coins(ch, coins, n_bits, 1)))
    expected = np.array(values, object).reshape(-1, 64) < np.array(coins, object)[:, np.newaxis]
    assert np.array_equal(values_of(opened, 64), expected)


@pytest.mark.parametrize("mt", STRUCTURES)
def test_random_shares_are_fresh_and_nobody_holds_all_components(mt: tuple[int, int]) -> None:
    async def step(channel: Channel) -> tuple[Share, ...]:
        first, second = random_share(channel, WORD, (3, 5)), random_share(channel, WORD, (3, 5))
        (fork,) = channel.fork(1)
        return (
            first,
            second,
            random_share(fork, WORD, (3, 5)),
            random_share(channel, ring(20), (9,)),
        )

    access = AccessStructure(*mt)
    answers = run_step(mt, step)
    for pid, shares in enumerate(answers):
        for share in shares:
            assert share.support == frozenset(range(len(access.sets)))
            assert set(share.components) == set(access.held[pid])
    opened = [reveal([answer[k] for answer in answers]) for k in range(4)]
    words = np.concatenate([x.ravel() for x in opened[:3]])
    assert len(set(words.tolist())) == 45
    assert 0.4 < np.unpackbits(words.view(np.uint8)).mean() < 0.6  # 10 standard errors
    components = [c for shares in answers for s in shares[:3] for c in s.components.values()]
    distinct = {component.tobytes() for component in components}
    assert len(distinct) == 3 * len(access.sets)


def test_cost_of_a_threshold_table() -> None:
    """Rounds and bytes as documented: 209 ANDs per value and 11 to 34 per threshold."""
    table, n_words = thresholds(Fraction(11)), 640

    async def program(session: Session) -> StepStatistics:
        with session.step(Step.CHECK, "cost") as channel:
            await below_thresholds(channel, table, n_words)
        return session.statistics[Step.CHECK]

    for cost in run_parties(3, 1, program):
        assert cost.rounds <= 9
        ands = 8 * cost.bytes_sent / (64 * n_words)
        assert 209 + 11 * len(table) <= ands * 1.001
        assert ands <= (209 + 34 * len(table)) * 1.01
