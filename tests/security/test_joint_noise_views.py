"""Jointly sampled noise stays unknown: views do not depend on the shared random bits.

The bits that nobody knows are dealt by the test, once all zero and once random, and the views of
every single party are compared as in `test_views`.
"""

from fractions import Fraction

import numpy as np
import pytest

from mpc.noise.gaussian import sample_gaussian_shares
from mpc.noise.gumbel import sample_gumbel_shares
from mpc.session.channel import Channel
from mpc.shares.replicated import Algebra, Share, ring
from tests.support.secure.views import (
    ERROR_RATE,
    N_HEAVY,
    PartyStep,
    Setting,
    View,
    coalitions,
    collect_views,
    distinguish,
    replace_random_shares,
    sizes,
    without_masks,
)

SAMPLERS: dict[str, PartyStep] = {
    "gaussian": lambda ch: sample_gaussian_shares(ch, ring(20), 64, Fraction(100)),
    "gumbel": lambda ch: sample_gumbel_shares(ch, ring(64), 64, 24),
}


def views_of_two_noises(
    setting: Setting, name: str, monkeypatch: pytest.MonkeyPatch
) -> list[list[View]]:
    views = []
    for number in range(2):

        def dealt_bits(
            channel: Channel, algebra: Algebra, shape: tuple[int, ...], number: int = number
        ) -> Share:
            high = int(np.iinfo(algebra.dtype).max)
            generator = np.random.default_rng(list(shape))
            bits = generator.integers(0, high, shape, algebra.dtype, endpoint=True)
            seed = 1000 + shape[0]
            return setting.deal(algebra, number * bits, seed)[channel.pid]

        replace_random_shares(monkeypatch, dealt_bits)
        views.append(collect_views(setting, SAMPLERS[name], N_HEAVY))
    return views


FIRST, *REST = coalitions(3, 1)
LOOKS = [FIRST, *(pytest.param(setting, marks=pytest.mark.statistical) for setting in REST)]


@pytest.mark.parametrize("setting", LOOKS, ids=str)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_party_learns_nothing_of_the_noise(
    setting: Setting, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = views_of_two_noises(setting, name, monkeypatch)
    assert len(sizes(views[0] + views[1])) == 1
    assert distinguish(*views) > ERROR_RATE


@pytest.mark.parametrize("name", SAMPLERS)
def test_unmasked_noise_is_detected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "stream", without_masks("reshare"))
    views = views_of_two_noises(FIRST, name, monkeypatch)
    assert distinguish(*views) < ERROR_RATE
