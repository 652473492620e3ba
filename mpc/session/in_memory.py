"""A network without sockets: all compute parties of a session in one event loop.

It is the one door for tests, rehearsals and benchmarks that need every party in this process. The
frames, the deadlines and the blame are those of a real network. What is on its way between two
parties can be observed, changed or dropped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mpc.errors import ProtocolViolation
from mpc.session.access import AccessStructure
from mpc.session.frames import FrameDecoder
from mpc.session.links import Network, PeerLink
from mpc.session.session import Session

Intercept = Callable[[int, int, bytes], bytes | None]
"""Sees a frame on its way (sender, receiver, bytes); returns what arrives, None for nothing."""
Result = TypeVar("Result")

DEADLINE_SECONDS = 60.0


def _wire(sender: int, receiver: Network, intercept: Intercept | None) -> Callable[[bytes], None]:
    """Return what writes a sender's frames to a receiver's network, one turn of the loop later."""
    decoder = FrameDecoder()

    def write(data: bytes) -> None:
        arriving = data if intercept is None else intercept(sender, receiver.pid, data)
        if arriving is not None:
            loop.call_soon(arrive, arriving)

    def arrive(data: bytes) -> None:
        try:
            for kind, tag, payload in decoder.feed(data):
                receiver.handle(sender, kind, tag, payload)
        except ProtocolViolation as error:
            error.party = sender
            receiver.abort(error)

    loop = asyncio.get_running_loop()
    return write


def connect_in_memory(
    n_parties: int,
    intercept: Intercept | None = None,
    *,
    silence_seconds: float = DEADLINE_SECONDS,
    receive_seconds: float = DEADLINE_SECONDS,
) -> list[Network]:
    """Return the parties' connected networks, their watchdogs running.

    `intercept` stands between every two parties. `silence_seconds` and `receive_seconds` are
    those of `Network`.
    """
    networks = [
        Network(pid, n_parties, silence_seconds, receive_seconds) for pid in range(n_parties)
    ]
    for network in networks:
        for receiver in networks:
            if receiver is not network:
                link = PeerLink(receiver.pid, _wire(network.pid, receiver, intercept))
                network.attach(link, lambda: None)
        network.start_watchdog()
    return networks


async def start_sessions(
    n_parties: int,
    threshold: int,
    intercept: Intercept | None = None,
    *,
    binding: bytes = b"in memory",
    silence_seconds: float = DEADLINE_SECONDS,
    receive_seconds: float = DEADLINE_SECONDS,
) -> list[Session]:
    """Return one session per party, with keys agreed over the in-memory links."""
    access = AccessStructure(n_parties, threshold)
    networks = connect_in_memory(
        n_parties, intercept, silence_seconds=silence_seconds, receive_seconds=receive_seconds
    )
    started = [Session.start(network, access, binding) for network in networks]
    return list(await asyncio.gather(*started))


def run_parties(
    n_parties: int,
    threshold: int,
    program: Callable[[Session], Awaitable[Result]],
    intercept: Intercept | None = None,
) -> list[Result]:
    """Run the same program at every party in an event loop of its own; return results by party."""

    async def main() -> list[Result]:
        sessions = await start_sessions(n_parties, threshold, intercept)
        return list(await asyncio.gather(*(program(session) for session in sessions)))

    return asyncio.run(main())
