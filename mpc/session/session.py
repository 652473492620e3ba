"""A party's session with its peers: the keys, the steps' labels and what each step cost."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import rfc8785

from mpc.errors import MpcError, PeerTimeout, ProtocolViolation
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel, Step, StepRun, StepStatistics
from mpc.session.frames import Kind
from mpc.session.keystream import Keystream, RandomBytes, digest, extract_key
from mpc.session.links import Network
from mpc.session.tls import Credentials, Endpoint, connect

KEY_BYTES = 32
DIGEST_BYTES = 32
BINDING_TAG = b"distaim/session-binding/v1"
"""First part of what a session's keys are salted with, see docs/protocol.md, section 23."""

_SEPARATORS = frozenset("|/#")


@dataclass
class Session:
    """One party's side of a job: the network to its peers and the keys of this session."""

    network: Network
    access: AccessStructure
    keys: Mapping[int, bytes] = field(repr=False)
    statistics: dict[Step, StepStatistics] = field(default_factory=dict)
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
    def step(self, step: Step, label: str) -> Iterator[Channel]:
        """Run a protocol step under a label that no other step of the session uses.

        Raises MpcError: the label was used before or has a separator of ours (`| / #`): a key
        stream could repeat.
        """
        name = f"{step}|{label}"
        if name in self._labels or not _SEPARATORS.isdisjoint(label):
            raise MpcError(f"step {name!r} was run before, or its label has one of | / #")
        self._labels.add(name)
        run = StepRun()
        mpyc_before = self.network.mpyc_bytes_sent
        started = time.perf_counter()
        try:
            yield Channel(self, run, name)
        finally:
            total = self.statistics.setdefault(step, StepStatistics())
            total.runs += 1
            mpyc_bytes = self.network.mpyc_bytes_sent - mpyc_before
            total.bytes_sent += run.bytes_sent + mpyc_bytes
            total.rounds += run.depth
            total.seconds += time.perf_counter() - started

    async def agree(self, label: str, value: bytes) -> None:
        """Check that all parties hold the same public value, see `agree_all`."""
        await self.agree_all(label, {label: value})

    async def agree_all(self, label: str, values: Mapping[str, bytes]) -> None:
        """Check that all parties hold the same named public values, by their SHA-256.

        The names are part of what is hashed, and so of the protocol (docs/protocol.md, section 23).
        Raises ProtocolViolation: a party holds another value; the error says of what, and names the
        party that stands against the others, which may be this one.
        """
        own = b"".join(digest(label.encode(), n.encode(), v) for n, v in values.items())
        with self.step(Step.AGREE, label) as channel:
            received = await channel.exchange(dict.fromkeys(self.peers, own), self.peers)
        for index, name in enumerate(values):
            part = slice(DIGEST_BYTES * index, DIGEST_BYTES * (index + 1))
            seen = {self.pid: own[part], **{p: theirs[part] for p, theirs in received.items()}}
            odd = _odd_one(self.pid, seen)
            if odd is not None:
                what = name if name == label else f"the {name} at {label}"
                channel.abort(ProtocolViolation(f"party {odd} disagrees about {what}", odd))

    async def publish(self, label: str, value: bytes) -> dict[int, bytes]:
        """Tell all peers a public value; return every party's, this one's included.

        Cost: one round, `len(value)` bytes to each peer.
        """
        with self.step(Step.PUBLISH, label) as channel:
            received = await channel.exchange(dict.fromkeys(self.peers, value), self.peers)
        return {self.pid: value, **received}

    async def close(self) -> None:
        """Close the connections once all parties have come here."""
        self.network.expect_close()
        with self.step(Step.CLOSE, "session") as channel:
            await channel.exchange(dict.fromkeys(self.peers, b""), self.peers)
        self.network.close()

    @classmethod
    async def start(
        cls,
        network: Network,
        access: AccessStructure,
        binding: bytes,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> Self:
        """Agree on fresh component keys over a connected network and return the session.

        The lowest holder of a component draws its secret and sends it to the other holders; the
        key is extracted with `binding` (parties, manifest, version) as salt. `random_bytes` is
        the operating system's CSPRNG unless a test injects another source.
        """
        drawn = {
            i: random_bytes(KEY_BYTES)
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
    """Return who holds another value than most, or than `pid` where no value has a majority."""
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

    `pid`: this party, 0 <= pid < m. `threshold`: how many parties may collude. `endpoints`: all m
    parties, this one included. `credentials`: files of this party's certificate and key. `bind`:
    address and port to listen on. `binding`: public facts that all parties must share; differences
    are named by field. `connect_seconds`: deadline for all peers to join. `silence_seconds`: a peer
    that sends nothing (not even a heartbeat) for so long has failed. `receive_seconds`: deadline of
    every single receive.

    Raises PeerTimeout, PeerLost, ProtocolViolation: see `tls.connect`.
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
        BINDING_TAG,
        rfc8785.dumps(dict(binding)),
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
