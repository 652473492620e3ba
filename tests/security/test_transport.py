"""Real TLS on loopback: who is refused, and whom a failed job names."""

import asyncio
import json
import multiprocessing
import os
import signal
import ssl
import struct

import pytest

from mpc.errors import MpcError, PeerLost, PeerTimeout, ProtocolViolation
from mpc.session.frames import HEADER, MAX_PAYLOAD, Kind, frame
from mpc.session.session import open_session
from mpc.session.tls import Endpoint, _Connection, pinned_context
from parties.identity.certificates import make_identity
from parties.local.ports import LOOPBACK, free_ports

FIELDS = {"run": "test", "version": "1"}
HELLO_FIELDS = FIELDS | {"parties": "3", "threshold": "1"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    return [make_identity(name, directory) for name in ("a", "b", "c", "stranger")]


OPEN = []  # transports and stream writers of the running test, both sides


@pytest.fixture(autouse=True)
def _remember_transports(monkeypatch):
    made = _Connection.connection_made

    def remember(self, transport):
        OPEN.append(transport)
        made(self, transport)

    monkeypatch.setattr(_Connection, "connection_made", remember)


class World:
    """Three endpoints with pinned certificates, and a stranger's certificate."""

    def __init__(self, certificates):
        self.identities = [c.credentials for c in certificates]
        self.stranger = self.identities.pop()
        self.endpoints = [
            Endpoint(p, LOOPBACK, port, certificates[p].certificate.encode())
            for p, port in enumerate(free_ports(3))
        ]

    async def party(self, pid, binding=FIELDS, connect_seconds=10.0, silence_seconds=30.0):
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

    def context(self, identity, server_pid):
        return pinned_context(identity, [self.endpoints[server_pid].pem], server=False)

    async def dial(self, pid, context):
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

    async def dial_as_party_0(self, *pids, hello_of=0, fields=HELLO_FIELDS):
        """Connect to parties with party 0's certificate and say hello; return the writers."""
        hello = json.dumps({"pid": hello_of, "binding": fields}).encode()
        writers = []
        for pid in pids:
            _, writer = await self.dial(pid, self.context(self.identities[0], pid))
            writer.write(frame(Kind.HELLO, 0, hello))
            writers.append(writer)
        return writers


@pytest.fixture
def world(certificates):
    return World(certificates)


def run(program, seconds=10):
    """Run a test's coroutine within a deadline, then cut all connections that it made."""

    async def main():
        try:
            return await asyncio.wait_for(program, seconds)
        finally:
            for made in OPEN:
                getattr(made, "transport", made).abort()
            OPEN.clear()
            await asyncio.sleep(0.05)

    return asyncio.run(main())


async def outcomes(*programs):
    return await asyncio.gather(*programs, return_exceptions=True)


async def refused(world, pid, context):
    """Whether a client ends without having received a byte."""
    try:
        reader, writer = await world.dial(pid, context)
        writer.write(frame(Kind.HELLO, 0, json.dumps({"pid": 0, "binding": HELLO_FIELDS}).encode()))
        received = await asyncio.wait_for(reader.read(100), 5)
    except OSError:
        return True
    writer.close()
    return received == b""


def name_and_type(results):
    return [(type(result), getattr(result, "party", "no error")) for result in results]


def intruder_context(world, how):
    if how == "stranger's certificate":
        return world.context(world.stranger, 1)
    if how == "no certificate":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    identity = world.identities[0]
    context.load_cert_chain(identity.certificate_path, identity.key_path)
    return context


@pytest.mark.parametrize("how", ["stranger's certificate", "no certificate", "TLS 1.2"])
def test_an_intruder_is_refused_and_the_job_goes_on(world, how):
    async def program():
        late = asyncio.create_task(world.party(1))
        assert await refused(world, 1, intruder_context(world, how))
        sessions = await asyncio.gather(world.party(0), late, world.party(2))
        await asyncio.gather(*(s.agree("all is well", b"") for s in sessions))
        await asyncio.gather(*(s.close() for s in sessions))

    run(program())


def test_the_pinned_certificate_itself_is_not_refused(world):
    """Negative control of the test above: the same client with party 0's certificate."""

    async def program():
        party = asyncio.create_task(world.party(1, connect_seconds=2))
        assert not await refused(world, 1, world.context(world.identities[0], 1))
        await outcomes(party)

    run(program())


def test_an_impostor_cannot_take_a_party_s_place(world):
    async def impostor():
        for pid in (1, 2):
            assert await refused(world, pid, world.context(world.stranger, pid))

    async def program():
        parties = [world.party(pid, connect_seconds=1.5) for pid in (1, 2)]
        *results, none = await outcomes(*parties, impostor())
        assert none is None
        assert name_and_type(results) == [(PeerTimeout, 0)] * 2
        assert any("party 0 did not connect" in str(result) for result in results)

    run(program())


def test_who_gives_up_first_tells_the_others_who_is_missing(world):
    async def program():
        impatient, patient = world.party(0, connect_seconds=1), world.party(1, connect_seconds=60)
        results = await asyncio.wait_for(outcomes(impatient, patient), 20)
        assert name_and_type(results) == [(PeerTimeout, 2)] * 2
        assert str(results[1]) == "party 0 waited too long for party 2"

    run(program())


def test_an_impostor_that_listens_gets_nothing(world):
    received = []

    async def take(reader, writer):
        received.append(await reader.read(100))

    async def program():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(world.stranger.certificate_path, world.stranger.key_path)
        server = await asyncio.start_server(take, LOOPBACK, world.endpoints[2].port, ssl=context)
        results = await outcomes(*(world.party(pid, connect_seconds=1) for pid in (0, 1)))
        assert name_and_type(results) == [(PeerTimeout, 2)] * 2
        server.close()

    run(program())
    assert received == []


def test_a_party_cannot_speak_as_another(world):
    async def program():
        cheat = asyncio.create_task(world.dial_as_party_0(2, hello_of=1))
        results = await outcomes(world.party(2))
        assert name_and_type(results) == [(ProtocolViolation, 0)]
        assert "the certificate of party 0 claims to be 1" in str(results[0])
        cheat.cancel()

    run(program())


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"version": "2"}, "version"), ({"run": "x"}, "run"), ({"threshold": "0"}, "threshold")],
)
def test_another_binding_is_refused_by_its_field(world, fields, name):
    async def program():
        other = asyncio.create_task(world.dial_as_party_0(2, fields=HELLO_FIELDS | fields))
        (result,) = await outcomes(world.party(2))
        assert name_and_type([result]) == [(ProtocolViolation, 0)]
        assert f"party 0 has another {name} than this party" in str(result)
        other.cancel()

    run(program())


@pytest.mark.parametrize(
    "hello",
    [b"", b"{}", b"[]", b'{"pid": 0}', b'{"pid": 0, "binding": 5}', b"\xff\xfe", b"null"],
)
def test_a_hello_that_is_none_is_refused(world, hello):
    async def cheat():
        _, writer = await world.dial(2, world.context(world.identities[0], 2))
        writer.write(frame(Kind.HELLO, 0, hello))
        return writer

    async def program():
        task = asyncio.create_task(cheat())
        (result,) = await outcomes(world.party(2))
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
def test_bad_bytes_from_a_party_end_the_job_and_name_it(world, name):
    async def cheat():
        for writer in await world.dial_as_party_0(1, 2):
            writer.write(BAD_BYTES[name])

    async def program():
        *results, _ = await outcomes(world.party(1), world.party(2), cheat())
        assert name_and_type(results) == [(ProtocolViolation, 0)] * 2

    run(program())


def test_keys_of_a_wrong_length_name_the_sender(world):
    async def cheat():
        for writer in await world.dial_as_party_0(1, 2):
            writer.write(frame(Kind.ENGINE, 0, b"short"))

    async def program():
        *results, _ = await outcomes(world.party(1), world.party(2), cheat())
        assert (ProtocolViolation, 0) in name_and_type(results)
        assert all(isinstance(result, MpcError) for result in results)

    run(program())


def test_an_abort_tells_who_caused_it(world):
    async def reporter():
        writers = await world.dial_as_party_0(1, 2)
        writers[0].write(frame(Kind.ABORT, 0, b'{"culprit": 2, "kind": "PeerTimeout"}'))
        return writers

    async def program():
        first, _, _ = await outcomes(world.party(1), world.party(2), reporter())
        assert name_and_type([first]) == [(PeerTimeout, 2)]
        assert str(first) == "party 0 waited too long for party 2"

    run(program())


def _child(world, pid, then):
    """Join as a party in a process of its own, then come to a bad end."""

    async def main():
        session = await world.party(pid)
        await session.agree("joined", b"")
        os.kill(os.getpid(), then)
        await asyncio.sleep(60)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("then", "error"), [(signal.SIGKILL, PeerLost), (signal.SIGSTOP, PeerTimeout)]
)
def test_a_dead_or_stalled_peer_ends_the_job_of_all(world, then, error, monkeypatch):
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.2)
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_child, args=(world, 2, then), daemon=True)
    child.start()

    async def wait_for_it(pid):
        session = await world.party(pid, silence_seconds=4.0)
        await session.agree("joined", b"")
        joined = asyncio.get_running_loop().time()
        with pytest.raises(error) as caught:
            await session.agree("never", b"")
        assert asyncio.get_running_loop().time() - joined < 6
        return caught.value.party

    async def program():
        return await asyncio.gather(wait_for_it(0), wait_for_it(1))

    try:
        assert run(program(), 20) == [2, 2]
    finally:
        child.kill()
        child.join()


def trickle(link, chunk, seconds):
    """Send what a link writes in small pieces, one every so many seconds."""
    write, pending = link._write, bytearray()

    async def send():
        while True:
            await asyncio.sleep(seconds)
            if pending:
                write(bytes(pending[:chunk]))
                del pending[:chunk]

    link._write = pending.extend
    return asyncio.create_task(send())


def test_a_large_frame_on_a_slow_line_is_no_silence(world, monkeypatch):
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.1)

    async def talk(pid):
        session = await world.party(pid, silence_seconds=1.0)
        if pid == 0:
            slow.append(trickle(session.network.links[1], 100, 0.05))
        started = asyncio.get_running_loop().time()
        # 6,000 bytes at 2,000 bytes a second: three times the deadline of silence
        said = await session.publish("large", bytes(6000) if pid == 0 else b"")
        return len(said[0]), asyncio.get_running_loop().time() - started

    async def program():
        found = await asyncio.gather(*(talk(pid) for pid in range(3)))
        slow[0].cancel()
        return found

    slow = []
    sizes, seconds = zip(*run(program(), 20), strict=True)
    assert sizes == (6000,) * 3
    assert seconds[1] > 2


def test_a_party_that_never_comes_is_named(world):
    async def program():
        results = await outcomes(*(world.party(pid, connect_seconds=1) for pid in (0, 2)))
        assert name_and_type(results) == [(PeerTimeout, 1)] * 2

    run(program())
