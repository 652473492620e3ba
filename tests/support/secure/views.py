"""What a coalition sees of a secure step, and a test that it does not depend on the secret.

The view of a coalition of t parties is every payload that it receives from outside, and its own
keys. All its keys are held fixed from run to run, and so are its shares of the input and the noise
that it deals; the one key that it lacks is fresh in every run. So the payloads are compared given
everything that the coalition knows: a value that is masked by a stream of the coalition's own, or
not at all, is a constant that differs between two secrets.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from mpc.arrays import Array, Integers
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel, Step
from mpc.session.frames import HEADER, Kind
from mpc.session.in_memory import start_sessions
from mpc.session.keystream import Keystream
from mpc.session.session import Session
from mpc.shares.replicated import Algebra, Share

ERROR_RATE = 1e-6
"""Of every test of views, and of every negative control."""
N_HEAVY = 28
"""Runs of a step that takes long; they suffice to tell constants apart at `ERROR_RATE`."""

View = list[bytes]
PartyStep = Callable[[Channel], Awaitable[object]]
"""What a party does in the step that is looked at."""


@dataclass(frozen=True)
class Setting:
    """Who looks, and who the honest parties are."""

    access: AccessStructure
    coalition: frozenset[int]

    @property
    def lacking(self) -> int:
        """The component that the coalition does not hold."""
        return self.access.component_excluding(self.coalition)

    @property
    def honest(self) -> list[int]:
        return [p for p in range(self.access.n_parties) if p not in self.coalition]

    def __str__(self) -> str:
        seen = "".join(map(str, sorted(self.coalition)))
        return f"m{self.access.n_parties}t{self.access.threshold}-sees{seen}"

    def deal(self, algebra: Algebra, values: Array, seed: int) -> list[Share]:
        """Share values such that the coalition's components depend on the seed only."""
        values = values.astype(algebra.dtype)
        high = int(np.iinfo(algebra.dtype).max)
        generator = np.random.default_rng(seed)
        components = {
            i: generator.integers(0, high, values.shape, algebra.dtype, endpoint=True)
            for i in range(len(self.access.sets))
            if i != self.lacking
        }
        rest = values
        for component in components.values():
            rest = algebra.subtract(rest, component)
        components[self.lacking] = rest
        everyone = frozenset(components)
        return [
            Share(algebra, values.shape, everyone, {i: components[i].copy() for i in held})
            for held in self.access.held
        ]


def coalitions(n_parties: int, threshold: int) -> list[Setting]:
    """Return every coalition of `threshold` parties."""
    access = AccessStructure(n_parties, threshold)
    return [
        Setting(access, frozenset(coalition))
        for coalition in combinations(range(n_parties), threshold)
    ]


class _PinnedSession(Session):
    """A session for one run, whose keys the test chooses and whose labels do not name the run."""

    def __init__(self, session: Session, run: str, keys: Mapping[int, bytes]) -> None:
        super().__init__(session.network, session.access, keys)
        self._run = run

    def keystream(self, component: int, label: str) -> Keystream:
        return super().keystream(component, label.replace(self._run, "run"))


def collect_views(setting: Setting, step: PartyStep, n_runs: int) -> list[View]:
    """Run a step again and again; return what the coalition received in each run."""
    frames: list[tuple[int, int, bytes]] = []
    access = setting.access

    def observe(sender: int, receiver: int, frame: bytes) -> bytes:
        if frame[0] == Kind.ENGINE and receiver in setting.coalition:
            frames.append((sender, receiver, frame[HEADER.size :]))
        return frame

    async def one_run(session: Session, run: str, keys: Sequence[bytes]) -> None:
        held = {i: keys[i] for i in access.held[session.pid]}
        with _PinnedSession(session, run, held).step(Step.CHECK, run) as channel:
            await step(channel)

    async def main() -> list[View]:
        sessions = await start_sessions(access.n_parties, access.threshold, observe)
        keys = [bytes([component]) * 32 for component in range(len(access.sets))]
        views = []
        for number in range(n_runs):
            frames.clear()
            keys[setting.lacking] = secrets.token_bytes(32)
            await asyncio.gather(*(one_run(s, f"run-{number}", keys) for s in sessions))
            outside = [f for f in frames if f[0] not in setting.coalition]
            views.append([payload for *_, payload in sorted(outside, key=lambda f: f[:2])])
        return views

    return asyncio.run(main())


def _features(view: View) -> npt.NDArray[np.uint8]:
    """Return bits: of every payload, of neighbours' XOR within one, of successive ones' XOR."""
    parts = list(view)
    for payload in view:
        for shift in (1, 4, 8):
            head, tail = payload[:-shift], payload[shift:]
            parts.append(bytes(a ^ b for a, b in zip(head, tail, strict=True)))
    for first, second in pairwise(view):
        parts.append(bytes(a ^ b for a, b in zip(first, second, strict=False)))
    return np.unpackbits(np.frombuffer(b"".join(parts), np.uint8))


def _bits_p_value(a: list[View], b: list[View]) -> float:
    """Fisher's exact test for every bit feature, corrected for their number."""
    n = len(a)
    ones_a, ones_b = (
        np.stack([_features(view) for view in views]).sum(axis=0, dtype=np.int64)
        for views in (a, b)
    )
    pairs = {tuple(sorted(pair)) for pair in zip(ones_a.tolist(), ones_b.tolist(), strict=True)}
    p_values = [float(stats.fisher_exact([[x, n - x], [y, n - y]]).pvalue) for x, y in pairs]
    return min(1.0, min(p_values) * len(ones_a))


def _byte_counts(views: list[View]) -> Integers:
    """Count the byte values; what two members of the coalition both get counts once."""
    distinct = b"".join(payload for view in views for payload in dict.fromkeys(view))
    return np.bincount(np.frombuffer(distinct, np.uint8), minlength=256)


def _bytes_p_value(a: list[View], b: list[View]) -> float:
    """Chi-square test of the pooled byte histograms."""
    counts = np.array([_byte_counts(views) for views in (a, b)])
    return float(stats.chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue)


def _sums_p_value(a: list[View], b: list[View]) -> float:
    """Kolmogorov-Smirnov test of a fixed linear statistic of the whole view."""
    size = sum(map(len, a[0]))
    weights = np.random.default_rng(0).integers(1, 2**31, size)
    sums = [
        [int(np.frombuffer(b"".join(view), np.uint8) @ weights) % 2**31 for view in views]
        for views in (a, b)
    ]
    return float(stats.ks_2samp(*sums).pvalue)


def sizes(views: list[View]) -> set[tuple[int, ...]]:
    """Return the different sequences of payload lengths that were seen."""
    return {tuple(map(len, view)) for view in views}


def distinguish(a: list[View], b: list[View]) -> float:
    """Return a p-value for "both samples of views have the same distribution"."""
    if not any(sizes(a + b) - {()}):
        return 1.0
    tests = (_bits_p_value, _bytes_p_value, _sums_p_value)
    return min(1.0, len(tests) * min(test(a, b) for test in tests))


# Protections taken away, for negative controls

Stream = Callable[[Channel, str, int, int], Keystream]
"""How a channel finds the stream of a purpose, a component and a contributor."""


class Zeros(Keystream):
    """A stream that masks nothing."""

    def __init__(self) -> None:
        super().__init__(bytes(32), b"never read")

    def read(self, n_bytes: int) -> bytes:
        """Return zeros."""
        return bytes(n_bytes)


def without_masks(without: str) -> Stream:
    """Return streams as they are, but for those of one purpose."""
    stream = Channel.stream

    def unmasked(self: Channel, purpose: str, component: int, contributor: int) -> Keystream:
        return Zeros() if purpose == without else stream(self, purpose, component, contributor)

    return unmasked


def replace_random_shares(
    monkeypatch: pytest.MonkeyPatch, draw: Callable[[Channel, Algebra, tuple[int, ...]], Share]
) -> None:
    """Let the samplers of joint noise draw their uniform shares by another function."""
    for module in ("coins", "gaussian", "gumbel"):
        monkeypatch.setattr(f"mpc.noise.{module}.random_share", draw)
