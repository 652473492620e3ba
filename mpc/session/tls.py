"""TLS connections between compute parties.

TLS 1.3, mutual. A certificate is pinned: it must equal, byte for byte, the one that the job's
parties agreed on, and it decides who the peer is. The id that a peer claims in its first frame
must be the id of its certificate. Party i listens for the parties before it and connects to those
after it, in any start order, until a deadline.
"""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mpc.errors import MpcError, PeerLost, PeerTimeout, ProtocolViolation
from mpc.session.frames import FrameDecoder, Kind, frame
from mpc.session.links import Network, PeerLink
from mpc.session.retrying import Backoff

_DIAL = Backoff(0.1, 0.5)
HELLO_SECONDS = 10.0
REPORT_SECONDS = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """Where a compute party listens for its peers, and its pinned certificate (PEM)."""

    pid: int
    host: str
    port: int
    certificate: bytes

    @property
    def pem(self) -> str:
        """The certificate as text."""
        return self.certificate.decode("ascii")

    @property
    def der(self) -> bytes:
        """The certificate in DER form, as TLS reports it."""
        return ssl.PEM_cert_to_DER_cert(self.pem)


@dataclass(frozen=True)
class Credentials:
    """Files of this site's own certificate and private key (PEM)."""

    certificate_path: Path
    key_path: Path


def pinned_context(
    credentials: Credentials, trusted: Iterable[str], *, server: bool
) -> ssl.SSLContext:
    """Return a TLS 1.3 context that shows one certificate and trusts exactly the listed ones (PEM).

    Raises OSError (SSLError among them) or ValueError if a certificate or key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the pinned certificate is the identity, not the host name
    context.verify_mode = ssl.CERT_REQUIRED
    # the listed certificate itself is the anchor; none of them may vouch for another one
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if server:
        context.num_tickets = 0  # no resumption: every connection proves its key
    context.load_cert_chain(credentials.certificate_path, credentials.key_path)
    context.load_verify_locations(cadata="\n".join(trusted))
    return context


class _Connection(asyncio.Protocol):
    """One TLS connection: checks the peer's certificate and hello, then feeds the network."""

    def __init__(self, connector: "_Connector", expected: int | None) -> None:
        self._connector = connector
        self._peer = expected
        self._decoder = FrameDecoder()
        self._joined = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        tls = self._transport.get_extra_info("ssl_object")
        peer = self._connector.identify(tls.getpeercert(binary_form=True))
        if peer is None or self._peer not in (None, peer):
            _log.warning("refused a connection: its certificate is not the expected party's")
            self._transport.abort()
            return
        self._peer = peer
        self._transport.write(frame(Kind.HELLO, 0, self._connector.hello))
        asyncio.get_running_loop().call_later(HELLO_SECONDS, self._drop_if_silent)

    def _drop_if_silent(self) -> None:
        if not self._joined and self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        peer = self._peer
        if peer is None or self._transport is None:
            return
        if self._joined:
            self._connector.network.links[peer].hear()
        try:
            for kind, tag, payload in self._decoder.feed(data):
                if self._joined:
                    self._connector.network.handle(peer, kind, tag, payload)
                else:
                    self._connector.join(peer, kind, payload, self._transport)
                    self._joined = True
        except ProtocolViolation as error:
            error.party = peer
            self._connector.refuse(error, self._joined)
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._joined and self._peer is not None:
            self._connector.network.lost(self._peer)


class _Connector:
    """The set-up phase: collects one checked connection per peer."""

    def __init__(
        self,
        network: Network,
        endpoints: Sequence[Endpoint],
        binding: Mapping[str, str],
    ) -> None:
        self.network = network
        self.binding = dict(binding)
        self.hello = json.dumps({"pid": network.pid, "binding": self.binding}).encode()
        self.refusal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.complete = asyncio.Event()
        self._by_certificate = {e.der: e.pid for e in endpoints if e.pid != network.pid}

    @property
    def missing(self) -> list[int]:
        """Peers that have not joined yet."""
        return sorted(set(self._by_certificate.values()) - set(self.network.links))

    async def wait_complete(self) -> None:
        """Return when all peers have joined."""
        await self.complete.wait()

    def identify(self, certificate: bytes | None) -> int | None:
        """Return the party whose pinned certificate this is, None for a stranger's."""
        return self._by_certificate.get(certificate) if certificate else None

    def join(self, peer: int, kind: Kind, payload: bytes, transport: asyncio.Transport) -> None:
        """Check the hello of an authenticated peer and add its link.

        Raises:
            ProtocolViolation: another first frame, a claimed id that the certificate does not
                bear out, or a binding that differs (named by field). A second connection of a peer
                ends the set-up with PeerLost.
        """
        try:
            hello = json.loads(payload if kind == Kind.HELLO else b"{}")
            claimed, binding = hello["pid"], dict(hello["binding"])
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolViolation(f"party {peer} does not introduce itself") from error
        if claimed != peer:
            raise ProtocolViolation(f"the certificate of party {peer} claims to be {claimed!r}")
        for field in sorted(self.binding.keys() | binding.keys()):
            if self.binding.get(field) != binding.get(field):
                raise ProtocolViolation(f"party {peer} has another {field} than this party")
        if peer in self.network.links:
            # it was started anew, and the end of its old connection has not been seen here
            transport.close()
            self.network.abort(PeerLost(f"party {peer} was started anew while connecting", peer))
            return
        self.network.attach(PeerLink(peer, transport.write), transport.close)
        if not self.missing:
            self.complete.set()

    def refuse(self, error: ProtocolViolation, joined: bool) -> None:
        """Stop the set-up, or the running job: a pinned peer broke the rules."""
        if joined:
            self.network.abort(error)
        elif not self.refusal.done() and not self.complete.is_set():
            self.refusal.set_exception(error)


async def _dial(connector: _Connector, credentials: Credentials, endpoint: Endpoint) -> None:
    """Connect to a later party, again and again until it has joined or the caller gives up."""
    context = pinned_context(credentials, [endpoint.pem], server=False)
    loop = asyncio.get_running_loop()
    for pause in _DIAL:
        if endpoint.pid not in connector.missing:
            return
        try:
            await loop.create_connection(
                lambda: _Connection(connector, endpoint.pid),
                endpoint.host,
                endpoint.port,
                ssl=context,
                server_hostname="",
            )
            await asyncio.sleep(HELLO_SECONDS)
        except OSError as error:
            _log.debug("party %d is not reachable yet: %s", endpoint.pid, error)
            await asyncio.sleep(pause)


async def _report(connector: _Connector, endpoints: Sequence[Endpoint]) -> None:
    """Say every few seconds who is missing."""
    while True:
        missing = [e for e in endpoints if e.pid in connector.missing]
        names = ", ".join(f"party {e.pid} at {e.host}:{e.port}" for e in missing)
        _log.info("waiting for %s", names)
        await asyncio.sleep(REPORT_SECONDS)


@contextlib.asynccontextmanager
async def _open_doors(
    connector: _Connector,
    endpoints: Sequence[Endpoint],
    credentials: Credentials,
    bind: tuple[str, int],
) -> AsyncIterator[None]:
    """Listen for the parties before this one and dial those after it, as long as it is open."""
    pid = connector.network.pid
    peers = [endpoint for endpoint in endpoints if endpoint.pid != pid]
    context = pinned_context(credentials, [e.pem for e in peers], server=True)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(connector, None), *bind, ssl=context
    )
    tasks = [asyncio.create_task(_dial(connector, credentials, e)) for e in peers if e.pid > pid]
    tasks.append(asyncio.create_task(_report(connector, endpoints)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        server.close()
        if not connector.refusal.done():
            connector.refusal.cancel()


async def _meet(connector: _Connector, connect_seconds: float) -> None:
    """Return when all peers have joined; raise why the set-up ends before."""
    failure = connector.network.failure
    complete = asyncio.create_task(connector.wait_complete())
    outcomes: set[asyncio.Future[Any]] = {complete, connector.refusal, failure}
    try:
        await asyncio.wait(outcomes, timeout=connect_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        complete.cancel()
    if connector.refusal.done():
        connector.refusal.result()
    if failure.done():
        raise failure.result()
    if connector.missing:
        names = ", ".join(map(str, connector.missing))
        text = f"party {names} did not connect within {connect_seconds:.0f} s"
        raise PeerTimeout(text, connector.missing[0])


async def connect(
    pid: int,
    endpoints: Sequence[Endpoint],
    credentials: Credentials,
    bind: tuple[str, int],
    binding: Mapping[str, str],
    *,
    connect_seconds: float,
    silence_seconds: float,
    receive_seconds: float,
) -> Network:
    """Connect party `pid` with all its peers and return the network.

    `binding` holds public facts that all parties must share (manifest hash, version); a
    difference is refused by the name of the field.

    Raises:
        PeerTimeout: a peer did not join within `connect_seconds`; the message names it.
        ProtocolViolation: a peer's claimed id or binding is not what it has to be.
    """
    network = Network(pid, len(endpoints), silence_seconds, receive_seconds)
    connector = _Connector(network, endpoints, binding)
    async with _open_doors(connector, endpoints, credentials, bind):
        try:
            await _meet(connector, connect_seconds)
        except MpcError as error:
            network.abort(error)  # so that the others name who is missing, and not this party
            raise
        except BaseException:
            network.close()
            raise
    network.start_watchdog()
    return network
