"""A party's session with its peers: keys, channels and what each step cost.

A protocol step runs on a ``Channel``. Channels have unique labels, the same at all parties, from
which message tags and key streams follow; so chunks of a step run concurrently on forked channels
and messages may arrive in any order. A channel counts its communication rounds.
"""

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

from mpc.access import AccessStructure
from mpc.errors import MpcError, PeerTimeout, ProtocolViolation
from mpc.keystream import Keystream, digest, extract_key
from mpc.network import Network
from mpc.transport import Credentials, Endpoint, connect
from mpc.wire import Kind

KEY_BYTES = 32
DIGEST_BYTES = 32
_SEPARATORS = frozenset("|/#")


@dataclass
class StepStatistics:
    """Cost of one kind of step at this party, summed over its runs."""

    runs: int = 0
    bytes_sent: int = 0
    rounds: int = 0
    seconds: float = 0.0


@dataclass
class _Run:
    """One run of a step: its deepest chain of rounds and its bytes so far."""

    depth: int = 0
    bytes_sent: int = 0


class Channel:
    """Messages and key streams of one sequential piece of a protocol step."""

    def __init__(self, session: "Session", run: _Run, label: str, depth: int = 0) -> None:
        self.session = session
        self.label = label
        self.depth = depth
        self._run = run
        self._n_messages = 0
        self._n_forks = 0
        self._streams: dict[tuple[str, int, int], Keystream] = {}

    @property
    def pid(self) -> int:
        """Id of this party."""
        return self.session.pid

    @property
    def access(self) -> AccessStructure:
        """The access structure of the session."""
        return self.session.access

    def stream(self, purpose: str, component: int, contributor: int) -> Keystream:
        """Return the stream, shared by a component's holders, that masks a contributor's messages.

        Holders must read a stream in step, so what only some of them read has its own ``purpose``.
        """
        name = (purpose, component, contributor)
        if name not in self._streams:
            label = f"{self.label}|{purpose}|{contributor}"
            self._streams[name] = self.session.keystream(component, label)
        return self._streams[name]

    async def exchange(
        self, outgoing: Mapping[int, bytes], senders: Iterable[int]
    ) -> dict[int, bytes]:
        """Do one communication round: send to some peers, receive from the ``senders``.

        All parties call it in the same order on the same channel, also those that neither send
        nor receive. Returns the payload per sender.

        Raises:
            PeerLost, PeerTimeout, ProtocolViolation: a peer failed; the error names it.
        """
        name = f"{self.label}#{self._n_messages}".encode()
        tag = int.from_bytes(blake2b(name, digest_size=8).digest(), "little", signed=True)
        self._n_messages += 1
        self.depth += 1
        self._run.depth = max(self._run.depth, self.depth)
        links = self.session.network.links
        for peer, payload in outgoing.items():
            self._run.bytes_sent += links[peer].send(Kind.ENGINE, tag, payload)
        return {peer: await links[peer].receive(Kind.ENGINE, tag) for peer in senders}

    def fork(self, n_channels: int) -> list["Channel"]:
        """Return channels for ``n_channels`` pieces that run concurrently."""
        self._n_forks += 1
        prefix = f"{self.label}/{self._n_forks}"
        return [
            Channel(self.session, self._run, f"{prefix}.{i}", self.depth) for i in range(n_channels)
        ]

    def join(self, channels: Sequence["Channel"]) -> None:
        """Note that the forked pieces are done: their rounds ran side by side."""
        self.depth = max([self.depth, *(channel.depth for channel in channels)])


@dataclass
class Session:
    """One party's side of a job: the network to its peers and the keys of this session."""

    network: Network
    access: AccessStructure
    keys: Mapping[int, bytes] = field(repr=False)
    statistics: dict[str, StepStatistics] = field(default_factory=dict)
    _labels: set[str] = field(default_factory=set, repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a session is never serialised")

    @property
    def pid(self) -> int:
        """Id of this party."""
        return self.network.pid

    @property
    def peers(self) -> list[int]:
        """The other parties."""
        return [p for p in range(self.access.n_parties) if p != self.pid]

    def keystream(self, component: int, label: str) -> Keystream:
        """Derive a stream from the key of a component that this party holds."""
        return Keystream(self.keys[component], label.encode())

    @contextmanager
    def step(self, kind: str, label: str) -> Iterator[Channel]:
        """Run one protocol step under a label that no other step of the session uses.

        Raises:
            MpcError: the label was used before or has a separator of ours (``| / #``): a key
                stream could repeat.
        """
        name = f"{kind}|{label}"
        if name in self._labels or not _SEPARATORS.isdisjoint(label):
            raise MpcError(f"step {name!r} was run before, or its label has one of | / #")
        self._labels.add(name)
        run = _Run()
        mpyc_before = self.network.mpyc_bytes_sent
        started = time.perf_counter()
        try:
            yield Channel(self, run, name)
        finally:
            total = self.statistics.setdefault(kind, StepStatistics())
            total.runs += 1
            mpyc_bytes = self.network.mpyc_bytes_sent - mpyc_before
            total.bytes_sent += run.bytes_sent + mpyc_bytes
            total.rounds += run.depth
            total.seconds += time.perf_counter() - started

    async def agree(self, label: str, value: bytes) -> None:
        """Check that all parties hold the same public value, see ``agree_all``."""
        await self.agree_all(label, {label: value})

    async def agree_all(self, label: str, values: Mapping[str, bytes]) -> None:
        """Check that all parties hold the same named public values, by their SHA-256.

        Raises:
            ProtocolViolation: a party holds another value; the error says of what, and names the
                party that stands against the others, which may be this one.
        """
        own = b"".join(digest(label.encode(), n.encode(), v) for n, v in values.items())
        with self.step("agree", label) as channel:
            received = await channel.exchange(dict.fromkeys(self.peers, own), self.peers)
        for place, name in enumerate(values):
            part = slice(DIGEST_BYTES * place, DIGEST_BYTES * (place + 1))
            seen = {self.pid: own[part], **{p: theirs[part] for p, theirs in received.items()}}
            odd = _odd_one(self.pid, seen)
            if odd is not None:
                error = ProtocolViolation(f"party {odd} disagrees about {name}", odd)
                self.network.abort(error)
                raise error

    async def publish(self, label: str, value: bytes) -> dict[int, bytes]:
        """Tell all peers a public value; return every party's, this one's included.

        Cost: one round, ``len(value)`` bytes to each peer.
        """
        with self.step("publish", label) as channel:
            received = await channel.exchange(dict.fromkeys(self.peers, value), self.peers)
        return {self.pid: value, **received}

    async def close(self) -> None:
        """Close the connections once all parties have come here."""
        self.network.expect_close()
        with self.step("close", "session") as channel:
            await channel.exchange(dict.fromkeys(self.peers, b""), self.peers)
        self.network.close()

    @classmethod
    async def start(cls, network: Network, access: AccessStructure, binding: bytes) -> Self:
        """Agree on fresh component keys over a connected network and return the session.

        The lowest holder of a component draws its secret and sends it to the other holders; the
        key is extracted with ``binding`` (parties, manifest, version) as salt.
        """
        drawn = {
            i: secrets.token_bytes(KEY_BYTES)
            for i in access.held[network.pid]
            if access.holders[i][0] == network.pid
        }
        received: dict[int, bytes] = dict(drawn)
        for peer, link in network.links.items():
            mine = [i for i in drawn if peer in access.holders[i]]
            link.send(Kind.ENGINE, 0, b"".join(drawn[i] for i in mine))
        for peer, link in network.links.items():
            due = [i for i in access.held[network.pid] if access.holders[i][0] == peer]
            payload = await link.receive(Kind.ENGINE, 0)
            if len(payload) != KEY_BYTES * len(due):
                raise ProtocolViolation(f"party {peer} sent keys of a wrong length", peer)
            for position, i in enumerate(due):
                received[i] = payload[KEY_BYTES * position : KEY_BYTES * (position + 1)]
        keys = {
            i: extract_key(secret, digest(binding, b"component", str(i).encode()))
            for i, secret in received.items()
        }
        return cls(network, access, keys)


def _odd_one(pid: int, seen: Mapping[int, bytes]) -> int | None:
    """Return who holds another value than most, or than ``pid`` where no value has a majority."""
    common, n_common = Counter(seen.values()).most_common(1)[0]
    reference = common if 2 * n_common > len(seen) else seen[pid]
    return next((party for party in sorted(seen) if seen[party] != reference), None)


async def open_session(
    pid: int,
    threshold: int,
    endpoints: Sequence[Endpoint],
    credentials: Credentials,
    bind: tuple[str, int],
    binding: Mapping[str, str],
    *,
    connect_seconds: float = 60.0,
    silence_seconds: float = 20.0,
    receive_seconds: float = 120.0,
) -> Session:
    """Connect with the peers over TLS and return a session with fresh keys.

    Args:
        pid: this party, 0 <= pid < m.
        threshold: how many parties may collude.
        endpoints: all m parties, this one included.
        credentials: files of this party's certificate and key.
        bind: address and port to listen on.
        binding: public facts that all parties must share; differences are named by field.
        connect_seconds: deadline for all peers to join.
        silence_seconds: a peer that sends nothing (not even a heartbeat) for so long has failed.
        receive_seconds: deadline of every single receive.

    Raises:
        PeerTimeout, PeerLost, ProtocolViolation: see ``transport.connect``.
    """
    access = AccessStructure(len(endpoints), threshold)
    network = await connect(
        pid,
        endpoints,
        credentials,
        bind,
        {**binding, "parties": str(len(endpoints)), "threshold": str(threshold)},
        connect_seconds=connect_seconds,
        silence_seconds=silence_seconds,
        receive_seconds=receive_seconds,
    )
    salt = digest(
        json.dumps(dict(binding), sort_keys=True).encode(),
        *(endpoint.der for endpoint in sorted(endpoints, key=lambda e: e.pid)),
    )
    try:
        return await asyncio.wait_for(Session.start(network, access, salt), connect_seconds)
    except TimeoutError:
        network.abort(PeerTimeout("a party did not send its keys in time"))
        raise network.failure.result() from None
    except BaseException:
        network.close()
        raise
