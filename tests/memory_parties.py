"""All compute parties of a session in one event loop, connected in memory instead of over TLS."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from mpc.access import AccessStructure
from mpc.network import Network, PeerLink
from mpc.session import Session
from mpc.sharing import Algebra, Share, reduce_ring
from mpc.wire import FrameDecoder, Kind

Observer = Callable[[int, int, Kind, bytes], None]


def connect_in_memory(n_parties: int, observe: Observer | None = None) -> list[Network]:
    """Return connected networks; ``observe(sender, receiver, kind, payload)`` sees every frame."""
    loop = asyncio.get_running_loop()
    networks = [
        Network(pid, n_parties, silence_seconds=60, receive_seconds=60) for pid in range(n_parties)
    ]

    def wire(sender: int, receiver: int) -> Callable[[bytes], None]:
        decoder = FrameDecoder()

        def write(data: bytes) -> None:
            for kind, tag, payload in decoder.feed(data):
                if observe is not None:
                    observe(sender, receiver, kind, payload)
                loop.call_soon(networks[receiver].handle, sender, kind, tag, payload)

        return write

    for sender in range(n_parties):
        for receiver in range(n_parties):
            if sender != receiver:
                link = PeerLink(receiver, wire(sender, receiver))
                networks[sender].attach(link, lambda: None)
    return networks


async def start_sessions(
    n_parties: int, threshold: int, observe: Observer | None = None
) -> list[Session]:
    """Return one session per party, with keys agreed over the in-memory links."""
    access = AccessStructure(n_parties, threshold)
    networks = connect_in_memory(n_parties, observe)
    return list(await asyncio.gather(*(Session.start(n, access, b"test") for n in networks)))


def run_parties(
    n_parties: int,
    threshold: int,
    program: Callable[[Session], Awaitable[Any]],
    observe: Observer | None = None,
) -> list[Any]:
    """Run the same program at every party; return the results by party."""

    async def main() -> list[Any]:
        sessions = await start_sessions(n_parties, threshold, observe)
        return list(await asyncio.gather(*(program(session) for session in sessions)))

    return asyncio.run(main())


def deal(
    access: AccessStructure, algebra: Algebra, values: np.ndarray, seed: int = 0
) -> list[Share]:
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


def reveal(shares: Sequence[Share]) -> np.ndarray:
    """Reconstruct a shared value from all parties' shares, checking that holders agree."""
    algebra = shares[0].algebra
    total = np.zeros(shares[0].shape, algebra.dtype)
    for i in sorted(shares[0].support):
        copies = [share.components[i] for share in shares if i in share.components]
        reduced = [reduce_ring(c, algebra.bits) if algebra.bits else c for c in copies]
        assert all(np.array_equal(reduced[0], other) for other in reduced[1:])
        total = algebra.add(total, reduced[0])
    return reduce_ring(total, algebra.bits) if algebra.bits else total
