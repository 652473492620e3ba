"""Real TLS on loopback: who is refused, and whom a failed job names."""

import asyncio
import json
import multiprocessing
import os
import signal
import ssl
import struct
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

import pytest

from mpc.errors import MpcError, PeerLost, PeerTimeout, ProtocolViolation
from mpc.session.frames import HEADER, MAX_PAYLOAD, Kind, frame
from mpc.session.links import PeerLink
from mpc.session.session import Session, open_session
from mpc.session.tls import Credentials, Endpoint, _Connection, pinned_context
from parties.identity.certificates import Identity, make_identity
from parties.local.ports import LOOPBACK, free_ports

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Result = TypeVar("Result")

FIELDS = {"run": "test", "version": "1"}
HELLO_FIELDS = FIELDS | {"parties": "3", "threshold": "1"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    directory = tmp_path_factory.mktemp("certificates")
    return [make_identity(name, directory) for name in ("a", "b", "c", "stranger")]


OPEN: list[asyncio.WriteTransport | asyncio.StreamWriter] = []
"""The running test's connections, of both sides; a writer that nobody holds would be closed."""


@pytest.fixture(autouse=True)
def _remember_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _Connection.connection_made

    def remember(self: _Connection, transport: asyncio.BaseTransport) -> None:
        OPEN.append(cast("asyncio.WriteTransport", transport))
        made(self, transport)

    monkeypatch.setattr(_Connection, "connection_made", remember)


class TlsWorld:
    """Three endpoints with pinned certificates, and a stranger's certificate."""

    def __init__(self, certificates: list[Identity]) -> None:
        self.identities = [c.credentials for c in certificates]
        self.stranger = self.identities.pop()
        self.endpoints = [
            Endpoint(p, LOOPBACK, port, certificates[p].certificate.encode())
            for p, port in enumerate(free_ports(3))
        ]

    async def party(
        self,
        pid: int,
        binding: Mapping[str, str] = FIELDS,
        connect_seconds: float = 10.0,
        silence_seconds: float = 30.0,
    ) -> Session:
        """Open a session as an honest party does."""
        return await open_session(
            pid,
            1,
            self.endpoints,
            self.identities[pid],
            (LOOPBACK, self.endpoints[pid].port),
            binding,
            connect_seconds=connect_seconds,
            silence_seconds=silence_seconds,
        )

    def context(self, credentials: Credentials, server_pid: int) -> ssl.SSLContext:
        return pinned_context(credentials, [self.endpoints[server_pid].pem], server=False)

    async def dial(self, pid: int, context: ssl.SSLContext) -> Streams:
        """Connect to a party, as soon as it listens, with a context of the test's choice."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    LOOPBACK, self.endpoints[pid].port, ssl=context, server_hostname=""
                )
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                OPEN.append(writer)
                return reader, writer

    async def dial_as_party_0(
        self, *pids: int, hello_of: int = 0, fields: Mapping[str, str] = HELLO_FIELDS
    ) -> list[asyncio.StreamWriter]:
        """Connect to parties with party 0's certificate and say hello; return the writers."""
        hello = json.dumps({"pid": hello_of, "binding": fields}).encode()
        writers = []
        for pid in pids:
            _, writer = await self.dial(pid, self.context(self.identities[0], pid))
            writer.write(frame(Kind.HELLO, 0, hello))
            writers.append(writer)
        return writers


@pytest.fixture
def tls_world(certificates: list[Identity]) -> TlsWorld:
    return TlsWorld(certificates)


def run(program: Coroutine[Any, Any, Result], seconds: float = 10) -> Result:
    """Run a test's coroutine within a deadline, then cut all connections that it made."""

    async def main() -> Result:
        try:
            return await asyncio.wait_for(program, seconds)
        finally:
            for made in OPEN:
                (made.transport if isinstance(made, asyncio.StreamWriter) else made).abort()
            OPEN.clear()
            await asyncio.sleep(0.05)

    return asyncio.run(main())


async def outcomes(*programs: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*programs, return_exceptions=True))


async def refused(tls_world: TlsWorld, pid: int, context: ssl.SSLContext) -> bool:
    """Whether a client ends without having received a byte."""
    try:
        reader, writer = await tls_world.dial(pid, context)
        writer.write(frame(Kind.HELLO, 0, json.dumps({"pid": 0, "binding": HELLO_FIELDS}).encode()))
        received = await asyncio.wait_for(reader.read(100), 5)
    except OSError:
        return True
    writer.close()
    return received == b""


def name_and_type(results: Sequence[object]) -> list[tuple[type, object]]:
    return [(type(result), getattr(result, "party", "no error")) for result in results]


def intruder_context(tls_world: TlsWorld, how: str) -> ssl.SSLContext:
    if how == "stranger's certificate":
        return tls_world.context(tls_world.stranger, 1)
    if how == "no certificate":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    identity = tls_world.identities[0]
    context.load_cert_chain(identity.certificate_path, identity.key_path)
    return context


@pytest.mark.parametrize("how", ["stranger's certificate", "no certificate", "TLS 1.2"])
def test_an_intruder_is_refused_and_the_job_goes_on(tls_world: TlsWorld, how: str) -> None:
    async def program() -> None:
        late = asyncio.create_task(tls_world.party(1))
        assert await refused(tls_world, 1, intruder_context(tls_world, how))
        sessions = await asyncio.gather(tls_world.party(0), late, tls_world.party(2))
        await asyncio.gather(*(s.agree("all is well", b"") for s in sessions))
        await asyncio.gather(*(s.close() for s in sessions))

    run(program())


def test_the_pinned_certificate_itself_is_not_refused(tls_world: TlsWorld) -> None:
    """Negative control of the test above: the same client with party 0's certificate."""

    async def program() -> None:
        party = asyncio.create_task(tls_world.party(1, connect_seconds=2))
        assert not await refused(tls_world, 1, tls_world.context(tls_world.identities[0], 1))
        await outcomes(party)

    run(program())


def test_an_impostor_cannot_take_a_party_s_place(tls_world: TlsWorld) -> None:
    async def impostor() -> None:
        for pid in (1, 2):
            assert await refused(tls_world, pid, tls_world.context(tls_world.stranger, pid))

    async def program() -> None:
        parties = [tls_world.party(pid, connect_seconds=1.5) for pid in (1, 2)]
        *results, none = await outcomes(*parties, impostor())
        assert none is None
        assert name_and_type(results) == [(PeerTimeout, 0)] * 2
        assert any("party 0 did not connect" in str(result) for result in results)

    run(program())


def test_who_gives_up_first_tells_the_others_who_is_missing(tls_world: TlsWorld) -> None:
    async def program() -> None:
        impatient, patient = (
            tls_world.party(0, connect_seconds=1),
            tls_world.party(1, connect_seconds=60),
        )
        results = await asyncio.wait_for(outcomes(impatient, patient), 20)
        assert name_and_type(results) == [(PeerTimeout, 2)] * 2
        assert str(results[1]) == "party 0 waited too long for party 2"

    run(program())


def test_an_impostor_that_listens_gets_nothing(tls_world: TlsWorld) -> None:
    received: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(100))

    async def program() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls_world.stranger.certificate_path, tls_world.stranger.key_path)
        server = await asyncio.start_server(
            take, LOOPBACK, tls_world.endpoints[2].port, ssl=context
        )
        results = await outcomes(*(tls_world.party(pid, connect_seconds=1) for pid in (0, 1)))
        assert name_and_type(results) == [(PeerTimeout, 2)] * 2
        server.close()

    run(program())
    assert received == []


def test_a_party_cannot_speak_as_another(tls_world: TlsWorld) -> None:
    async def program() -> None:
        cheat = asyncio.create_task(tls_world.dial_as_party_0(2, hello_of=1))
        results = await outcomes(tls_world.party(2))
        assert name_and_type(results) == [(ProtocolViolation, 0)]
        assert "the certificate of party 0 claims to be 1" in str(results[0])
        cheat.cancel()

    run(program())


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"version": "2"}, "version"), ({"run": "x"}, "run"), ({"threshold": "0"}, "threshold")],
)
def test_another_binding_is_refused_by_its_field(
    tls_world: TlsWorld, fields: dict[str, str], name: str
) -> None:
    async def program() -> None:
        other = asyncio.create_task(tls_world.dial_as_party_0(2, fields=HELLO_FIELDS | fields))
        (result,) = await outcomes(tls_world.party(2))
        assert name_and_type([result]) == [(ProtocolViolation, 0)]
        assert f"party 0 has another {name} than this party" in str(result)
        other.cancel()

    run(program())


@pytest.mark.parametrize(
    "hello",
    [b"", b"{}", b"[]", b'{"pid": 0}', b'{"pid": 0, "binding": 5}', b"\xff\xfe", b"null"],
)
def test_a_hello_that_is_none_is_refused(tls_world: TlsWorld, hello: bytes) -> None:
    async def cheat() -> asyncio.StreamWriter:
        _, writer = await tls_world.dial(2, tls_world.context(tls_world.identities[0], 2))
        writer.write(frame(Kind.HELLO, 0, hello))
        return writer

    async def program() -> None:
        task = asyncio.create_task(cheat())
        (result,) = await outcomes(tls_world.party(2))
        assert name_and_type([result]) == [(ProtocolViolation, 0)]
        assert "does not introduce itself" in str(result)
        task.cancel()

    run(program())


BAD_BYTES = {
    "garbage": b"\xfe" * 40,
    "oversized length": HEADER.pack(Kind.ENGINE, 1, MAX_PAYLOAD + 1),
    "second hello": frame(Kind.HELLO, 0, b"{}"),
    "a message twice": 2 * frame(Kind.ENGINE, 7, b"again"),
    "negative length": struct.pack("<BqI", Kind.ENGINE, 1, 2**32 - 1),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_bad_bytes_from_a_party_end_the_job_and_name_it(tls_world: TlsWorld, name: str) -> None:
    async def cheat() -> None:
        for writer in await tls_world.dial_as_party_0(1, 2):
            writer.write(BAD_BYTES[name])

    async def program() -> None:
        *results, _ = await outcomes(tls_world.party(1), tls_world.party(2), cheat())
        assert name_and_type(results) == [(ProtocolViolation, 0)] * 2

    run(program())


def test_keys_of_a_wrong_length_name_the_sender(tls_world: TlsWorld) -> None:
    async def cheat() -> None:
        for writer in await tls_world.dial_as_party_0(1, 2):
            writer.write(frame(Kind.ENGINE, 0, b"short"))

    async def program() -> None:
        *results, _ = await outcomes(tls_world.party(1), tls_world.party(2), cheat())
        assert (ProtocolViolation, 0) in name_and_type(results)
        assert all(isinstance(result, MpcError) for result in results)

    run(program())


def test_an_abort_tells_who_caused_it(tls_world: TlsWorld) -> None:
    async def reporter() -> list[asyncio.StreamWriter]:
        writers = await tls_world.dial_as_party_0(1, 2)
        writers[0].write(frame(Kind.ABORT, 0, b'{"culprit": 2, "kind": "PeerTimeout"}'))
        return writers

    async def program() -> None:
        first, _, _ = await outcomes(tls_world.party(1), tls_world.party(2), reporter())
        assert name_and_type([first]) == [(PeerTimeout, 2)]
        assert str(first) == "party 0 waited too long for party 2"

    run(program())


def _child(tls_world: TlsWorld, pid: int, then: signal.Signals) -> None:
    """Join as a party in a process of its own, then come to a bad end."""

    async def main() -> None:
        session = await tls_world.party(pid)
        await session.agree("joined", b"")
        os.kill(os.getpid(), then)
        await asyncio.sleep(60)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("then", "error"), [(signal.SIGKILL, PeerLost), (signal.SIGSTOP, PeerTimeout)]
)
def test_a_dead_or_stalled_peer_ends_the_job_of_all(
    tls_world: TlsWorld,
    then: signal.Signals,
    error: type[MpcError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.2)
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_child, args=(tls_world, 2, then), daemon=True)
    child.start()

    async def wait_for_it(pid: int) -> int | None:
        session = await tls_world.party(pid, silence_seconds=4.0)
        await session.agree("joined", b"")
        joined = asyncio.get_running_loop().time()
        with pytest.raises(error) as caught:
            await session.agree("never", b"")
        assert asyncio.get_running_loop().time() - joined < 6
        return caught.value.party

    async def program() -> list[int | None]:
        return list(await asyncio.gather(wait_for_it(0), wait_for_it(1)))

    try:
        assert run(program(), 20) == [2, 2]
    finally:
        child.kill()
        child.join()


def trickle(link: PeerLink, chunk: int, seconds: float) -> asyncio.Task[None]:
    """Send what a link writes in small pieces, one every so many seconds."""
    write, pending = link._write, bytearray()

    async def send() -> None:
        while True:
            await asyncio.sleep(seconds)
            if pending:
                write(bytes(pending[:chunk]))
                del pending[:chunk]

    link._write = pending.extend
    return asyncio.create_task(send())


def test_a_large_frame_on_a_slow_line_is_no_silence(
    tls_world: TlsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.1)

    async def talk(pid: int) -> tuple[int, float]:
        session = await tls_world.party(pid, silence_seconds=1.0)
        if pid == 0:
            slow.append(trickle(session.network.links[1], 100, 0.05))
        started = asyncio.get_running_loop().time()
        # 6,000 bytes at 2,000 bytes a second: three times the deadline of silence
        said = await session.publish("large", bytes(6000) if pid == 0 else b"")
        return len(said[0]), asyncio.get_running_loop().time() - started

    async def program() -> list[tuple[int, float]]:
        found = await asyncio.gather(*(talk(pid) for pid in range(3)))
        slow[0].cancel()
        return list(found)

    slow: list[asyncio.Task[None]] = []
    sizes, seconds = zip(*run(program(), 20), strict=True)
    assert sizes == (6000,) * 3
    assert seconds[1] > 2


def test_a_party_that_never_comes_is_named(tls_world: TlsWorld) -> None:
    async def program() -> None:
        results = await outcomes(*(tls_world.party(pid, connect_seconds=1) for pid in (0, 2)))
        assert name_and_type(results) == [(PeerTimeout, 1)] * 2

    run(program())
