"""Links to the peers: frames by tag, failure of one peer fails every wait, bytes are counted.

`Network` and `PeerLink` know nothing of sockets; `mpc.session.tls` connects them over TLS, and
`mpc.session.in_memory` within one process.
"""

import asyncio
import json
import time
from collections.abc import Callable

from mpc.errors import MpcError, PeerLost, PeerTimeout, ProtocolViolation
from mpc.session.frames import HEADER, Kind, frame

MAX_UNCLAIMED = 1 << 29
HEARTBEAT_SECONDS = 2.0


class PeerLink:
    """The connection to one peer; frames are matched by kind and tag, in any order."""

    def __init__(self, peer: int, write: Callable[[bytes], None]) -> None:
        self.peer = peer
        self.bytes_sent = 0
        self.mpyc_bytes_sent = 0
        self.last_heard = time.monotonic()
        self._write = write
        self._arrived: dict[tuple[Kind, int], bytes] = {}
        self._unclaimed = 0
        self._awaited: dict[tuple[Kind, int], tuple[float, asyncio.Future[bytes]]] = {}
        self._error: MpcError | None = None

    def send(self, kind: Kind, tag: int, payload: bytes) -> int:
        """Queue one frame; return the bytes it takes on the wire (before TLS)."""
        if self._error is not None:
            raise self._error
        data = frame(kind, tag, payload)
        self._write(data)
        self.bytes_sent += len(data)
        if kind == Kind.MPYC:
            self.mpyc_bytes_sent += len(data)
        return len(data)

    def receive(self, kind: Kind, tag: int) -> asyncio.Future[bytes]:
        """Return a future of the payload that the peer sends under `kind` and `tag`."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        payload = self._arrived.pop((kind, tag), None)
        if payload is not None:
            self._unclaimed -= HEADER.size + len(payload)
            future.set_result(payload)
        elif self._error is not None:
            future.set_exception(self._error)
        else:
            self._awaited[kind, tag] = (time.monotonic(), future)
        return future

    def hear(self) -> None:
        """Note a sign of life: any bytes, since a large frame may take long on a slow line."""
        self.last_heard = time.monotonic()

    def deliver(self, kind: Kind, tag: int, payload: bytes) -> None:
        """Hand over an arrived frame.

        Raises:
            ProtocolViolation: a tag arrives twice, or more is sent ahead than the cap.
        """
        self.hear()
        if kind == Kind.HEARTBEAT:
            return
        waiting = self._awaited.pop((kind, tag), None)
        if waiting is not None:
            if not waiting[1].done():
                waiting[1].set_result(payload)
            return
        if (kind, tag) in self._arrived:
            raise ProtocolViolation(f"party {self.peer} sent a message twice", self.peer)
        self._unclaimed += HEADER.size + len(payload)
        if self._unclaimed > MAX_UNCLAIMED:
            raise ProtocolViolation(f"party {self.peer} sends too far ahead", self.peer)
        self._arrived[kind, tag] = payload

    def longest_wait(self) -> float:
        """Return for how many seconds the oldest receive has been waiting."""
        pending = (since for since, future in self._awaited.values() if not future.done())
        started = min(pending, default=None)
        return 0.0 if started is None else time.monotonic() - started

    @property
    def failed(self) -> bool:
        """Whether nothing more can be sent to the peer."""
        return self._error is not None

    def fail(self, error: MpcError, *, keep_arrived: bool = False) -> None:
        """Let all waiting and later calls raise `error`.

        With `keep_arrived` what the peer sent before can still be received.
        """
        self._error = error
        if not keep_arrived:
            self._arrived.clear()
        for (kind, _), (_, future) in self._awaited.items():
            # MPyC stops the event loop on an exception; who waits for its results looks here.
            if kind != Kind.MPYC and not future.done():
                future.set_exception(error)
                future.exception()  # a wait that was itself cancelled leaves nobody to fetch it
        self._awaited.clear()


class Network:
    """All links of one party. The first failure is final and names the party that caused it."""

    def __init__(
        self, pid: int, n_parties: int, silence_seconds: float, receive_seconds: float
    ) -> None:
        self.pid = pid
        self.n_parties = n_parties
        self.links: dict[int, PeerLink] = {}
        self.failure: asyncio.Future[MpcError] = asyncio.get_running_loop().create_future()
        self._silence_seconds = silence_seconds
        self._receive_seconds = receive_seconds
        self._closers: list[Callable[[], None]] = []
        self._watchdog: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def bytes_sent(self) -> int:
        """Bytes of all frames sent so far."""
        return sum(link.bytes_sent for link in self.links.values())

    @property
    def mpyc_bytes_sent(self) -> int:
        """Bytes of MPyC's own frames among them."""
        return sum(link.mpyc_bytes_sent for link in self.links.values())

    def attach(self, link: PeerLink, close: Callable[[], None]) -> None:
        """Add the link to a peer and the function that closes its connection."""
        self.links[link.peer] = link
        self._closers.append(close)

    def start_watchdog(self) -> None:
        """Begin to send heartbeats and to enforce the deadlines."""
        self._watchdog = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while not self.failure.done():
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for peer, link in self.links.items():
                if link.failed:
                    continue  # it closed while all are closing
                silent = time.monotonic() - link.last_heard
                if silent > self._silence_seconds:
                    self.abort(PeerTimeout(f"party {peer} is silent for {silent:.0f} s", peer))
                    return
                if link.longest_wait() > self._receive_seconds:
                    text = f"party {peer} did not send what is due in {self._receive_seconds:.0f} s"
                    self.abort(PeerTimeout(text, peer))
                    return
                link.send(Kind.HEARTBEAT, 0, b"")

    def handle(self, peer: int, kind: Kind, tag: int, payload: bytes) -> None:
        """Take a frame from a peer; a violation aborts the network."""
        try:
            if kind == Kind.ABORT:
                self.fail(_read_abort(peer, payload, self.n_parties))
            elif kind == Kind.HELLO:
                raise ProtocolViolation(f"party {peer} introduces itself twice", peer)
            else:
                self.links[peer].deliver(kind, tag, payload)
        except ProtocolViolation as error:
            self.abort(error)

    def lost(self, peer: int) -> None:
        """Note that the connection to a peer is gone: a failure, unless all are closing."""
        error = PeerLost(f"the connection to party {peer} is lost", peer)
        if self._closing:
            self.links[peer].fail(error, keep_arrived=True)
        else:
            self.abort(error)

    def expect_close(self) -> None:
        """Let peers close their connections from now on; what they sent before still arrives."""
        self._closing = True

    def abort(self, error: MpcError) -> None:
        """Tell all peers that this party stops and why, then fail."""
        if self.failure.done():
            return
        report = json.dumps({"culprit": error.party, "kind": type(error).__name__}).encode()
        for link in self.links.values():
            if link.peer != error.party and not link.failed:
                link.send(Kind.ABORT, 0, report)
        self.fail(error)

    def fail(self, error: MpcError) -> None:
        """End all waits with `error` and close the connections."""
        if not self.failure.done():
            self.failure.set_result(error)
            for link in self.links.values():
                link.fail(error)
            self.close()

    def close(self) -> None:
        """Close all connections."""
        self._closing = True
        if self._watchdog is not None:
            self._watchdog.cancel()
        for close in self._closers:
            close()
        self._closers.clear()


_ABORT_CAUSES: dict[str, tuple[type[MpcError], str]] = {
    "PeerLost": (PeerLost, "lost its connection to"),
    "PeerTimeout": (PeerTimeout, "waited too long for"),
    "ProtocolViolation": (ProtocolViolation, "found a protocol violation by"),
}


def _read_abort(peer: int, payload: bytes, n_parties: int) -> MpcError:
    """Decode a peer's reason strictly: a known kind and a party number, nothing else is used."""
    try:
        report = json.loads(payload)
        kind, text = _ABORT_CAUSES.get(report["kind"], (MpcError, "stopped because of"))
        culprit = report["culprit"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ProtocolViolation(f"party {peer} sent an unreadable abort", peer)
    if culprit not in range(n_parties) or isinstance(culprit, bool | float):
        return MpcError(f"party {peer} stopped the job", peer)
    return kind(f"party {peer} {text} party {culprit}", culprit)
