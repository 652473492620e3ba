"""Channels: the messages and key streams of a protocol step, and what the step cost.

Channels have unique labels, the same at all parties, from which message tags and key streams
follow; so chunks of a step run concurrently on forked channels and messages may arrive in any
order. A channel counts its communication rounds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import NoReturn, Protocol, TypeVar

from mpc.errors import MpcError
from mpc.session.access import AccessStructure
from mpc.session.frames import Kind
from mpc.session.keystream import Keystream
from mpc.session.links import Network

CONCURRENT_CHUNKS = 3
Result = TypeVar("Result")


class Step(StrEnum):
    """The protocol's steps; a step's name begins its label and heads its statistics."""

    CHECK = "check"
    PREPARE = "prepare"
    SCORE = "score"
    SELECT = "select"
    MEASURE = "measure"
    NOISE = "noise"
    AGREE = "agree"
    PUBLISH = "publish"
    CLOSE = "close"


@dataclass
class StepStatistics:
    """Cost of one step at this party, summed over its runs."""

    runs: int = 0
    bytes_sent: int = 0
    rounds: int = 0
    seconds: float = 0.0


@dataclass
class StepRun:
    """One run of a step: its deepest chain of rounds and its bytes so far."""

    depth: int = 0
    bytes_sent: int = 0


class ChannelSession(Protocol):
    """What a channel needs of its session."""

    network: Network
    access: AccessStructure

    @property
    def pid(self) -> int:
        """Id of this party."""
        ...

    def keystream(self, component: int, label: str) -> Keystream:
        """Derive a stream from the key of a component that this party holds."""
        ...


class Channel:
    """Messages and key streams of one sequential piece of a protocol step."""

    def __init__(self, session: ChannelSession, run: StepRun, label: str, depth: int = 0) -> None:
        self.label = label
        self.depth = depth
        self._session = session
        self._run = run
        self._n_messages = 0
        self._n_forks = 0
        self._streams: dict[tuple[str, int, int], Keystream] = {}

    @property
    def pid(self) -> int:
        """Id of this party."""
        return self._session.pid

    @property
    def access(self) -> AccessStructure:
        """The access structure of the session."""
        return self._session.access

    def stream(self, purpose: str, component: int, contributor: int) -> Keystream:
        """Return the stream, shared by a component's holders, that masks a contributor's messages.

        Holders must read a stream in step, so what only some of them read has its own `purpose`.
        """
        name = (purpose, component, contributor)
        if name not in self._streams:
            label = f"{self.label}|{purpose}|{contributor}"
            self._streams[name] = self._session.keystream(component, label)
        return self._streams[name]

    async def exchange(
        self, outgoing: Mapping[int, bytes], senders: Iterable[int]
    ) -> dict[int, bytes]:
        """Do one communication round: send to some peers, receive from the `senders`.

        All parties call it in the same order on the same channel, also those that neither send
        nor receive. Returns the payload per sender. Raises PeerLost, PeerTimeout or
        ProtocolViolation if a peer failed; the error names it.
        """
        name = f"{self.label}#{self._n_messages}".encode()
        tag = int.from_bytes(blake2b(name, digest_size=8).digest(), "little", signed=True)
        self._n_messages += 1
        self.depth += 1
        self._run.depth = max(self._run.depth, self.depth)
        links = self._session.network.links
        for peer, payload in outgoing.items():
            self._run.bytes_sent += links[peer].send(Kind.ENGINE, tag, payload)
        return {peer: await links[peer].receive(Kind.ENGINE, tag) for peer in senders}

    def abort(self, error: MpcError) -> NoReturn:
        """Tell all peers that this party stops and why, then raise the error."""
        self._session.network.abort(error)
        raise error

    def fork(self, n_channels: int) -> list["Channel"]:
        """Return channels for `n_channels` pieces that run concurrently."""
        self._n_forks += 1
        prefix = f"{self.label}/{self._n_forks}"
        return [
            Channel(self._session, self._run, f"{prefix}.{i}", self.depth)
            for i in range(n_channels)
        ]

    def join(self, channels: Sequence["Channel"]) -> None:
        """Note that the forked pieces are done: their rounds ran side by side."""
        self.depth = max([self.depth, *(channel.depth for channel in channels)])

    async def in_chunks(
        self,
        n: int,
        size: int,
        work: Callable[["Channel", slice, int], Awaitable[Result]],
        *,
        at_once: int = CONCURRENT_CHUNKS,
    ) -> list[Result]:
        """Return what `work(piece, chunk, number)` returns for n values, `size` at a time.

        Every chunk has a forked channel of its own; at most `at_once` of them are worked on
        together, which bounds the memory.
        """
        gate = asyncio.Semaphore(at_once)

        async def in_turn(piece: Channel, number: int) -> Result:
            async with gate:
                chunk = slice(number * size, min((number + 1) * size, n))
                return await work(piece, chunk, number)

        pieces = self.fork(-(-n // size))
        results = await asyncio.gather(*map(in_turn, pieces, range(len(pieces))))
        self.join(pieces)
        return results
