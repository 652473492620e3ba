"""No t parties learn anything from a secure step: views of two secrets have one distribution.

Error rate: `ERROR_RATE` per test. The negative controls take the protection away and must be
rejected at the same rate.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from mpc.arrays import Array, Integers
from mpc.noise.bank import NoiseBank
from mpc.noise.sources import DealerNoise
from mpc.session.channel import Channel
from mpc.session.keystream import Keystream
from mpc.shares.circuits import less_than_public, prefix_add, ripple_add
from mpc.shares.conversion import Adder, bits_to_ring, ring_to_bits, weighted_bit_sum
from mpc.shares.opening import open_share
from mpc.shares.planes import pad_values, to_planes
from mpc.shares.replicated import (
    Algebra,
    Share,
    multiply,
    packed_bits,
    reshare,
    ring,
    share_input,
)
from mpc.steps.distance import bit_products, l1_distances, prepare_cells
from mpc.steps.selection import select, tournament
from tests.support.secure.views import (
    ERROR_RATE,
    N_HEAVY,
    PartyStep,
    Setting,
    coalitions,
    collect_views,
    distinguish,
    sizes,
    without_masks,
)

N_LIGHT = 60

Cells = npt.NDArray[np.uint32]
MakeStep = Callable[[Setting, Cells], PartyStep]
"""Deals a secret to the parties and returns the step that they run on it."""

SMALL = ring(19)
SECRETS = (  # two inputs of 64 cells
    np.zeros(64, np.uint32),
    np.random.default_rng(5).multinomial(60_000, np.full(64, 1 / 64)).astype(np.uint32),
)
MODEL = np.random.default_rng(6).multinomial(60_000, np.full(64, 1 / 64)).astype(np.uint32)


def multiply_in_the_ring(setting: Setting, secret: Cells) -> PartyStep:
    x = setting.deal(SMALL, secret[:16], 1)
    y = setting.deal(SMALL, secret[16:32] + 1, 2)
    return lambda ch: multiply(ch, x[ch.pid], y[ch.pid])


def multiply_bits(setting: Setting, secret: Cells) -> PartyStep:
    algebra = packed_bits(np.uint32)
    x = setting.deal(algebra, secret[:16], 1)
    y = setting.deal(algebra, ~secret[16:32], 2)
    return lambda ch: multiply(ch, x[ch.pid], y[ch.pid])


def share_an_honest_input(setting: Setting, secret: Cells) -> PartyStep:
    owner = setting.honest[0]
    return lambda ch: share_input(
        ch, SMALL, (16,), owner, secret[:16].copy() if ch.pid == owner else None
    )


def reshare_everybodys(setting: Setting, secret: Cells) -> PartyStep:
    def summand(pid: int) -> Array:
        return np.arange(16, dtype=np.uint32) + (secret[:16] if pid in setting.honest else 0)

    everyone = range(setting.access.n_parties)
    return lambda ch: reshare(ch, SMALL, (16,), summand(ch.pid).astype(np.uint32), everyone)


def compare_with_public(setting: Setting, secret: Cells) -> PartyStep:
    planes = to_planes(secret.astype(np.uint16), 10)
    x = setting.deal(packed_bits(np.uint16), planes, 3)
    y = to_planes(MODEL.astype(np.uint16), 10)
    return lambda ch: less_than_public(ch, x[ch.pid], y)


def bits_of_ring_elements(adder: Adder) -> MakeStep:
    def make(setting: Setting, secret: Cells) -> PartyStep:
        x = setting.deal(SMALL, secret, 4)
        return lambda ch: ring_to_bits(ch, x[ch.pid], 12, adder, 1)

    return make


def ring_elements_of_bits(setting: Setting, secret: Cells) -> PartyStep:
    planes = to_planes(secret.astype(np.uint16), 1)
    bits = setting.deal(packed_bits(np.uint16), planes, 5)
    return lambda ch: bits_to_ring(ch, bits[ch.pid], SMALL)


def weighted_sum_of_bits(setting: Setting, secret: Cells) -> PartyStep:
    planes = to_planes(secret.astype(np.uint16), 3)
    bits = setting.deal(packed_bits(np.uint16), planes, 5)
    weights = np.array([1, 2, 4], np.uint32)
    return lambda ch: weighted_bit_sum(ch, bits[ch.pid], weights, SMALL, 2)


def products_with_bits(rotation: int) -> MakeStep:
    def make(setting: Setting, secret: Cells) -> PartyStep:
        d = setting.deal(SMALL, secret, 6)
        s = setting.deal(packed_bits(np.uint16), to_planes(secret.astype(np.uint16), 1), 7)
        return lambda ch: bit_products(ch, d[ch.pid], s[ch.pid][0], rotation)

    return make


def distances(setting: Setting, secret: Cells) -> PartyStep:
    cells = setting.deal(SMALL, secret, 8)

    async def step(channel: Channel) -> None:
        prepared = await prepare_cells(channel, cells[channel.pid], [40, 24], 16)
        await l1_distances(channel, prepared, [0, 1], [MODEL[:40], MODEL[40:]])

    return step


def play(setting: Setting, secret: Cells) -> PartyStep:
    values = pad_values(secret[:14].astype(np.uint16) + 1, 64)
    planes = setting.deal(packed_bits(np.uint16), to_planes(values, 12), 9)
    return lambda ch: tournament(ch, planes[ch.pid], 14)


class Dealer:
    """The noise of one party, as the test sets it."""

    def __init__(self, values: Integers) -> None:
        self._values = values

    def gaussian(self, n: int, sigma2: Fraction) -> Integers:
        return self._values

    def gumbel(self, n: int, fraction_bits: int) -> Integers:
        return self._values


def dealt(setting: Setting, pid: int, honest_values: Array) -> DealerNoise:
    """The coalition deals fixed noise, the first honest dealer the secret noise."""
    values = honest_values if pid == setting.honest[0] else np.arange(len(honest_values))
    return DealerNoise(setting.access, 24, Dealer(values.astype(np.int64)))


def deal_gaussians(setting: Setting, secret: Cells) -> PartyStep:
    noise = [dealt(setting, p, secret[:12]) for p in range(setting.access.n_parties)]
    return lambda ch: noise[ch.pid].gaussian(ch, SMALL, 12, Fraction(100))


def deal_gumbels(setting: Setting, secret: Cells) -> PartyStep:
    noise = [dealt(setting, p, secret[:12]) for p in range(setting.access.n_parties)]
    return lambda ch: noise[ch.pid].gumbel(ch, ring(60), 12, 24)


class DealtBank:
    """Hands out Gumbels that are dealt on the step's own channel."""

    def __init__(self, noise: DealerNoise, channel: Channel) -> None:
        self._noise, self._channel = noise, channel

    async def gumbels(self, algebra: Algebra, n: int) -> Share:
        return await self._noise.gumbel(self._channel, algebra, n, 24)


def select_the_same_index(setting: Setting, secret: Cells) -> PartyStep:
    """Different distances and different honest noise; candidate 2 wins with either."""
    secret_distances = np.array([5, 7, 90_000, 1, 20]) + (secret[:5] % 7)
    noise = [dealt(setting, p, secret[:5]) for p in range(setting.access.n_parties)]
    shares = setting.deal(SMALL, secret_distances, 10)

    async def step(channel: Channel) -> None:
        bank = cast("NoiseBank", DealtBank(noise[channel.pid], channel))
        bound = noise[channel.pid].gumbel_bound(24)
        index = await select(
            channel, shares[channel.pid], 18, [2**20] * 5, [3, 1, 0, 4, 2], bank, bound
        )
        assert index == 2

    return step


def measure_the_same_values(setting: Setting, secret: Cells) -> PartyStep:
    """Cells and honest noise differ, their sum, which is opened, does not."""
    opened = np.arange(12) * 100
    noise = [dealt(setting, p, opened - secret[:12]) for p in range(setting.access.n_parties)]
    cells = setting.deal(SMALL, secret[:12], 11)

    async def step(channel: Channel) -> None:
        z = await noise[channel.pid].gaussian(channel, SMALL, 12, Fraction(100))
        await open_share(channel, cells[channel.pid] + z)

    return step


LIGHT: dict[str, MakeStep] = {
    "multiply in the ring": multiply_in_the_ring,
    "multiply bits": multiply_bits,
    "share_input": share_an_honest_input,
    "reshare": reshare_everybodys,
    "bits_to_ring": ring_elements_of_bits,
    "weighted_bit_sum": weighted_sum_of_bits,
    **{f"bit_products, rotation {r}": products_with_bits(r) for r in range(3)},
    "gaussian": deal_gaussians,
    "gumbel": deal_gumbels,
    "measure": measure_the_same_values,
}
HEAVY: dict[str, MakeStep] = {
    "less_than_public": compare_with_public,
    "ring_to_bits, ripple": bits_of_ring_elements(ripple_add),
    "ring_to_bits, prefix": bits_of_ring_elements(prefix_add),
    "l1_distances": distances,
    "tournament": play,
    "select": select_the_same_index,
}
STEPS = LIGHT | HEAVY


def check_views(setting: Setting, name: str, n_runs: int) -> None:
    views = [collect_views(setting, STEPS[name](setting, s), n_runs) for s in SECRETS]
    assert len(sizes(views[0] + views[1])) == 1, "message sizes depend on the secret"
    assert distinguish(*views) > ERROR_RATE


@pytest.mark.parametrize("setting", coalitions(3, 1), ids=str)
@pytest.mark.parametrize("name", STEPS)
def test_a_party_learns_nothing(setting: Setting, name: str) -> None:
    check_views(setting, name, N_LIGHT if name in LIGHT else N_HEAVY)


@pytest.mark.parametrize("name", ["multiply bits", "bit_products, rotation 1", "measure"])
def test_a_fourth_party_learns_nothing(name: str) -> None:
    for setting in coalitions(4, 1):
        check_views(setting, name, N_HEAVY)


@pytest.mark.parametrize("setting", coalitions(5, 2), ids=str)
@pytest.mark.parametrize("name", ["multiply in the ring", "share_input", "measure"])
def test_a_pair_learns_nothing(setting: Setting, name: str) -> None:
    check_views(setting, name, N_HEAVY)


@pytest.mark.statistical
@pytest.mark.parametrize("setting", coalitions(5, 2), ids=str)
@pytest.mark.parametrize("name", STEPS)
def test_a_pair_learns_nothing_from_any_step(setting: Setting, name: str) -> None:
    check_views(setting, name, N_HEAVY)


def with_one_stream_for_all(
    self: Channel, purpose: str, component: int, contributor: int
) -> Keystream:
    return self._session.keystream(component, f"constant|{purpose}|{contributor}")


def detected(name: str, mt: tuple[int, int] = (3, 1), n_runs: int = N_HEAVY) -> bool:
    """Whether some coalition's views of the two secrets are told apart."""
    for setting in coalitions(*mt):
        views = [collect_views(setting, STEPS[name](setting, s), n_runs) for s in SECRETS]
        if distinguish(*views) < ERROR_RATE:
            return True
    return False


@pytest.mark.parametrize(
    "name",
    [
        "multiply in the ring",
        "multiply bits",
        "share_input",
        "gaussian",
        "less_than_public",
        "ring_to_bits, ripple",
        "l1_distances",
        "select",
        "measure",
    ],
)
def test_unmasked_summands_are_detected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "stream", without_masks("reshare"))
    assert detected(name)


@pytest.mark.parametrize("name", ["bit_products, rotation 0", "weighted_bit_sum"])
def test_an_unmasked_split_is_detected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "stream", without_masks("split"))
    assert detected(name)


@pytest.mark.parametrize("name", ["less_than_public", "ring_to_bits, ripple"])
def test_a_stream_used_twice_is_detected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "stream", with_one_stream_for_all)
    assert detected(name)


def test_masks_that_the_receiver_knows_are_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(self: Channel, purpose: str, component: int, contributor: int) -> Keystream:
        label = f"{self.label}|{purpose}|{contributor}|{self.depth}"
        return Keystream(b"public" * 6, label.replace(self.label, "run").encode())

    monkeypatch.setattr(Channel, "stream", known)
    assert detected("multiply in the ring", (5, 2))


def test_sizes_that_depend_on_the_secret_are_seen() -> None:
    setting = coalitions(3, 1)[1]

    def send(n_bytes: int) -> PartyStep:
        async def step(channel: Channel) -> None:
            outgoing = {1: bytes(n_bytes)} if channel.pid == 0 else {}
            await channel.exchange(outgoing, [0] if channel.pid == 1 else [])

        return step

    views = [collect_views(setting, send(n_bytes), 2) for n_bytes in (3, 4)]
    assert len(sizes(views[0] + views[1])) == 2
