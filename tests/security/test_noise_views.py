"""A coalition of t parties learns nothing about jointly sampled noise.

All keys of the coalition are held fixed from run to run (see `views`); the one that it lacks is
fresh. So whatever the sampled values do over the runs, they do given the coalition's keys. Claimed
and tested:

- given its keys, the values are distributed as the noise should be;
- given its keys, every bit that it receives is independent of the value that it belongs to.

Error rate: `ERROR_RATE` per test. Negative controls take the protection away and are detected.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from mpc.arrays import Array
from mpc.noise.sources import JointNoise
from mpc.session.channel import Channel
from mpc.session.keystream import Keystream
from mpc.shares.replicated import Algebra, Share, ring
from tests.support.secure.sessions import reveal
from tests.support.secure.views import (
    ERROR_RATE,
    Setting,
    View,
    coalitions,
    collect_views,
    replace_random_shares,
    sizes,
    without_masks,
)

Kind = Literal["gaussian", "gumbel"]
Values = npt.NDArray[np.int32]
Truths = npt.NDArray[np.bool_]

LANES = 64  # samples per run: one word, so that bit r of every message word belongs to sample r
SIGMA2 = Fraction(16)
RING = ring(32)
ALL, PAIRS, FOUR = coalitions(3, 1), coalitions(5, 2), coalitions(4, 1)


@dataclass
class Observation:
    """Views of some runs, and what was sampled in them: `values` (n_runs, LANES)."""

    views: list[View]
    values: Values


def observe(setting: Setting, kind: Kind, n_runs: int) -> Observation:
    shares: list[list[Share]] = [[] for _ in range(setting.access.n_parties)]

    async def step(channel: Channel) -> None:
        noise = JointNoise()
        if kind == "gaussian":
            share = await noise.gaussian(channel, RING, LANES, SIGMA2)
        else:
            share = await noise.gumbel(channel, RING, LANES, 24)
        shares[channel.pid].append(share)

    views = collect_views(setting, step, n_runs)
    values = np.stack([reveal(run) for run in zip(*shares, strict=True)])
    return Observation(views, values.astype(np.int32))


def distribution_p_value(values: Values, kind: Kind) -> float:
    """Chi-square of the values of all runs and lanes against the noise's distribution."""
    if kind == "gaussian":
        reach = np.arange(-60, 61)
        pmf = np.exp(-(reach**2) / (2 * float(SIGMA2)))
        expected = pmf / pmf.sum() * values.size
        observed = np.bincount(values.ravel() + 60, minlength=121)
        keep = expected >= 10
        observed = np.append(observed[keep], observed[~keep].sum())
        expected = np.append(expected[keep], expected[~keep].sum())
    else:
        uniform = stats.gumbel_r.cdf(values.ravel() / 2.0**24)
        observed = np.histogram(uniform, 32, (0, 1))[0]
        expected = np.full(32, values.size / 32)
    return float(stats.chisquare(observed, expected).pvalue)


def lane_p_value(values: Values, kind: Kind) -> float:
    """The same per lane, coarsely: no lane's values depend on the coalition's keys."""
    cut = 0 if kind == "gaussian" else round(-np.log(np.log(2)) * 2**24)
    above, equal = (values > cut).sum(axis=0), (values == cut).sum(axis=0)
    trials = [int(n) for n in len(values) - equal]
    p_values = [
        float(stats.binomtest(int(a), n, 0.5).pvalue)
        for a, n in zip(above, trials, strict=True)
        if n
    ]
    return min(p_values) * LANES


def view_bits(view: View) -> npt.NDArray[np.uint8]:
    """Every received bit beside the lane that it belongs to: `(LANES, n_bits)`.

    Messages are words of bit planes, or ring elements of all lanes; as sizes do not tell which,
    both readings are taken.
    """
    columns = []
    for payload in view:
        words = np.frombuffer(payload, np.uint8).reshape(-1, 8)
        columns.append(np.unpackbits(words, axis=1, bitorder="little").T)
        if len(payload) % (4 * LANES) == 0:
            elements = np.frombuffer(payload, np.uint8).reshape(-1, LANES, 4)
            bits = np.unpackbits(elements, axis=2, bitorder="little")
            columns.append(bits.swapaxes(0, 1).reshape(LANES, -1))
    return np.concatenate(columns, axis=1)


def traits(values: Values, kind: Kind) -> list[Truths]:
    """Features that shared bits decide: sign, size, parity; for Gumbels the place of E = e^-G."""
    if kind == "gaussian":
        return [values > 0, np.abs(values) > 2, values & 1 == 1]
    two = round(np.log(2) * 2**24)
    return [values < 0, values < -two, values > two]


def dependence_p_value(observation: Observation, kind: Kind) -> float:
    """Fisher's exact test for the most correlated pair of a view bit and a trait, corrected."""
    bits = np.stack([view_bits(view) for view in observation.views])
    n_runs, _, n_bits = bits.shape
    worst, tables = 0.0, [[n_runs, 0], [0, 0]]
    for lane in range(LANES):
        x = bits[:, lane].astype(np.float32)
        ones = x.sum(axis=0)
        for trait in traits(observation.values[:, lane], kind):
            n_true = int(trait.sum())
            joint = trait.astype(np.float32) @ x
            spread = ones * (n_runs - ones) * (n_true * (n_runs - n_true))
            z = np.abs(joint * n_runs - ones * n_true) / np.sqrt(np.maximum(spread, 1))
            best = int(z.argmax())
            if z[best] > worst:
                worst, both, column = float(z[best]), int(joint[best]), int(ones[best])
                without = [column - both, n_runs - n_true - column + both]
                tables = [[both, n_true - both], without]
    n_tests: int = 3 * LANES * n_bits
    return min(1.0, float(stats.fisher_exact(tables).pvalue) * n_tests)


N_RUNS: dict[Kind, int] = {"gaussian": 150, "gumbel": 200}
"""Enough for the negative controls to be detected."""


def check(setting: Setting, kind: Kind) -> None:
    observation = observe(setting, kind, N_RUNS[kind])
    assert len(sizes(observation.views)) == 1, "message sizes depend on the noise"
    assert distribution_p_value(observation.values, kind) > ERROR_RATE
    assert lane_p_value(observation.values, kind) > ERROR_RATE
    assert dependence_p_value(observation, kind) > ERROR_RATE


@pytest.mark.parametrize("setting", ALL, ids=str)
def test_a_party_learns_nothing_of_gaussians(setting: Setting) -> None:
    check(setting, "gaussian")


@pytest.mark.statistical
@pytest.mark.parametrize("setting", ALL + FOUR + PAIRS, ids=str)
@pytest.mark.parametrize("kind", ["gaussian", "gumbel"])
def test_a_coalition_learns_nothing(setting: Setting, kind: Kind) -> None:
    check(setting, kind)


@pytest.mark.parametrize(
    "kind", ["gaussian", pytest.param("gumbel", marks=pytest.mark.statistical)]
)
def test_unmasked_products_are_detected(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "stream", without_masks("reshare"))
    assert dependence_p_value(observe(ALL[1], kind, N_RUNS[kind]), kind) < ERROR_RATE


def test_an_unmasked_split_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of the conversion to the ring, without its mask, shows the sign to party 2."""
    monkeypatch.setattr(Channel, "stream", without_masks("split"))
    assert (
        dependence_p_value(observe(ALL[2], "gaussian", N_RUNS["gaussian"]), "gaussian") < ERROR_RATE
    )


@pytest.mark.parametrize("kind", ["gaussian", "gumbel"])
def test_randomness_that_everybody_knows_is_detected(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With uniform bits from public streams the values never change: no noise is left."""

    def public(channel: Channel, algebra: Algebra, shape: tuple[int, ...]) -> Share:
        components: dict[int, Array] = {
            i: Keystream(b"p" * 32, f"{i}|{shape}".encode()).words(shape, algebra.dtype)
            for i in channel.access.held[channel.pid]
        }
        return Share(algebra, shape, frozenset(range(len(channel.access.sets))), components)

    replace_random_shares(monkeypatch, public)
    observation = observe(ALL[0], kind, 40)
    assert lane_p_value(observation.values, kind) < ERROR_RATE


class Repeating(Keystream):
    """A stream whose words are all alike."""

    def __init__(self, stream: Keystream) -> None:
        super().__init__(bytes(32), b"never read")
        self._stream = stream

    def words(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """Return the stream's next word everywhere."""
        return np.broadcast_to(self._stream.words((1,), dtype), shape)


def test_a_uniform_stream_used_twice_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that share their uniform bits are not independent: lanes repeat."""
    stream = Channel.stream

    def constant(self: Channel, purpose: str, component: int, contributor: int) -> Keystream:
        found = stream(self, purpose, component, contributor)
        return Repeating(found) if purpose == "uniform" else found

    monkeypatch.setattr(Channel, "stream", constant)
    values = observe(ALL[0], "gaussian", 40).values
    assert distribution_p_value(values, "gaussian") < ERROR_RATE
