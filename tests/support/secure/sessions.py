"""Shares dealt to all parties at once, one step run by all of them, and what comes of it."""

from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from mpc.arrays import Array
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel, Step
from mpc.session.in_memory import Result, run_parties
from mpc.session.session import Session
from mpc.shares.replicated import Algebra, Share, reduce_ring

STRUCTURES = [(3, 1), (4, 1), (5, 2)]
"""Numbers of parties and thresholds (m, t) that tests of the protocol go through."""


def run_step(mt: tuple[int, int], step: Callable[[Channel], Awaitable[Result]]) -> list[Result]:
    """Run one step at all parties of a fresh session; return what it returns, by party."""

    async def program(session: Session) -> Result:
        with session.step(Step.CHECK, "step") as channel:
            return await step(channel)

    return run_parties(*mt, program)


def deal(access: AccessStructure, algebra: Algebra, values: Array, seed: int = 0) -> list[Share]:
    """Share values as a trusted dealer would; return the share of every party."""
    generator = np.random.default_rng(seed)
    values = np.asarray(values).astype(algebra.dtype)
    n_sets = len(access.sets)
    high = int(np.iinfo(algebra.dtype).max)
    components = [
        generator.integers(0, high, size=values.shape, dtype=algebra.dtype, endpoint=True)
        for _ in range(n_sets - 1)
    ]
    rest = values
    for component in components:
        rest = algebra.subtract(rest, component)
    components.append(rest)
    support = frozenset(range(n_sets))
    return [
        Share(algebra, values.shape, support, {i: components[i].copy() for i in access.held[p]})
        for p in range(access.n_parties)
    ]


def reveal(shares: Sequence[Share]) -> Array:
    """Reconstruct a shared value from all parties' shares, checking that holders agree."""
    algebra = shares[0].algebra
    total: Array = np.zeros(shares[0].shape, algebra.dtype)
    for i in sorted(shares[0].support):
        copies = [share.components[i] for share in shares if i in share.components]
        reduced = [reduce_ring(c, algebra.bits) if algebra.bits else c for c in copies]
        assert all(np.array_equal(reduced[0], other) for other in reduced[1:])
        total = algebra.add(total, reduced[0])
    return reduce_ring(total, algebra.bits) if algebra.bits else total
