"""The API over real TLS on loopback, with a scripted engine behind it."""

import asyncio
import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from party_world import BODY_SIZE, ScriptedEngine, World

from mpc.errors import PeerLost
from parties.api import make_app
from parties.client import BodyFile, PartyClient
from parties.errors import (
    IdentityError,
    ManifestDiffers,
    PartyUnreachable,
    RequestConflict,
    RequestRefused,
    UploadRefused,
)
from parties.manifest import Manifest, program_version
from parties.messages import UploadReceipt, parse
from parties.server import ApiServer
from parties.tls import client_context, server_context

UPLOAD = "a" * 64
MEASURE = b'{"round":1,"candidates":[0],"sigma2":"4"}'


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), rho="1", ports=(free_port(), 5002, 5003))


@pytest.fixture
def engine(world: World) -> Iterator[ScriptedEngine]:
    """Serve party 0 from a thread with its own loop."""
    engine = ScriptedEngine()
    ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        job = world.job()
        await job.connected(engine)
        context = server_context(world.identities["party-0"], job.manifest.clients())
        server = ApiServer(make_app(job), "127.0.0.1", world.ports[0], context)
        await server.start()
        ready.set()
        await stop.wait()
        await server.stop()
        job.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    yield engine
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()
    for path in world.folder.glob("party-0*"):
        if path.is_file():
            path.unlink()
    for path in world.folder.glob("party-0/*"):
        if path.is_file():
            path.unlink()
    for path in world.folder.glob("party-0/uploads/*"):
        path.unlink()


def client(world: World, name: str, manifest: Manifest | None = None) -> PartyClient:
    return PartyClient(manifest or world.manifest(), 0, world.identities[name], 10.0)


def body_file(tmp_path: Path, data: bytes) -> BodyFile:
    path = tmp_path / "body"
    path.write_bytes(data)
    return BodyFile(str(path), len(data))


def test_a_holder_uploads_once_for_itself(world, engine, tmp_path: Path) -> None:
    data = bytes(range(BODY_SIZE))
    with client(world, "ann") as ann:
        receipt = parse(
            UploadReceipt, ann.put("/v1/uploads/ann", UPLOAD, body_file(tmp_path, data))
        )
        assert receipt.sha256 == hashlib.sha256(data).hexdigest()
        again = ann.put("/v1/uploads/ann", UPLOAD, body_file(tmp_path, data))
        assert parse(UploadReceipt, again) == receipt
        with pytest.raises(UploadRefused, match="something else"):
            ann.put("/v1/uploads/ann", UPLOAD, body_file(tmp_path, data[::-1]))
        with pytest.raises(UploadRefused, match="longer"):
            ann.put("/v1/uploads/ann", UPLOAD, body_file(tmp_path, data + b"x"))
        with pytest.raises(IdentityError, match="cannot upload for bob"):
            ann.put("/v1/uploads/bob", UPLOAD, body_file(tmp_path, data))
        assert ann.status().uploads == {"ann": UPLOAD}


def test_only_the_estimator_asks(world, engine, tmp_path: Path) -> None:
    for name in ("ann", "party-1"):
        with client(world, name) as other, pytest.raises(IdentityError, match="may not ask"):
            other.post("/v1/measure/measure-1", MEASURE)
    with client(world, "estimator") as estimator:
        with pytest.raises(IdentityError, match="may not ask"):
            estimator.put("/v1/uploads/ann", UPLOAD, body_file(tmp_path, bytes(BODY_SIZE)))
        with pytest.raises(RequestRefused, match="collecting"):
            estimator.post("/v1/measure/measure-1", MEASURE)


def test_answers_and_errors_cross_the_wire(world, engine, tmp_path: Path) -> None:
    with client(world, "ann") as ann:
        ann.put("/v1/uploads/ann", UPLOAD, body_file(tmp_path, bytes(BODY_SIZE)))
    with client(world, "estimator") as estimator:
        estimator.post("/v1/freeze", b'{"uploads":{"ann":"%s"}}' % UPLOAD.encode())
        answer = estimator.post("/v1/measure/measure-1", MEASURE)
        assert estimator.post("/v1/measure/measure-1", MEASURE) == answer
        with pytest.raises(RequestConflict):
            estimator.post("/v1/measure/measure-1", MEASURE.replace(b'"4"', b'"5"'))
        with pytest.raises(RequestRefused, match="request id"):
            estimator.post("/v1/measure/Measure_1", MEASURE)
        engine.error = PeerLost("the connection to party 2 is lost", 2)
        header = b'{"biases":[0],"candidates":[0],"epsilon":"1/2","round":2,"widths":[1]}'
        zeros = b"x\x9cc`\x00\x00\x00\x02\x00\x01"
        with pytest.raises(PeerLost) as caught:
            estimator.post("/v1/select/select-2", len(header).to_bytes(4, "big") + header + zeros)
        assert caught.value.party == 2
        assert estimator.status().state == "failed"


def test_another_manifest_is_refused(world, engine) -> None:
    other = Manifest.parse({**world.raw(), "n_max": 63})
    estimator = client(world, "estimator", other)
    with estimator:
        with pytest.raises(ManifestDiffers, match="they differ in n_max;"):
            estimator.post("/v1/finish", b"{}")
        with pytest.raises(ManifestDiffers, match="they differ in n_max;"):
            estimator.status()


def test_every_role_may_see_the_manifest_and_the_version(world, engine) -> None:
    context = client_context(world.identities["ann"], world.manifest().parties[0].certificate)
    with httpx.Client(base_url=f"https://127.0.0.1:{world.ports[0]}", verify=context) as ann:
        assert ann.get("/v1/manifest").content == world.manifest().canonical_bytes()
        assert ann.get("/v1/status").json()["version"] == program_version()
        assert ann.get("/healthz").json() == {"healthy": True, "version": program_version()}


def test_strangers_do_not_get_in(world, engine) -> None:
    with client(world, "stranger") as stranger, pytest.raises(PartyUnreachable):
        stranger.status()
    anybody = httpx.Client(verify=False, trust_env=False)
    with anybody, pytest.raises(httpx.TransportError):
        anybody.get(f"https://127.0.0.1:{world.ports[0]}/healthz")


def test_garbage_does_not_stop_the_party(world, engine) -> None:
    with socket.create_connection(("127.0.0.1", world.ports[0])) as plain:
        plain.sendall(b"\xff" * 4096)
    context = client_context(world.identities["ann"], world.manifest().parties[0].certificate)
    with (
        socket.create_connection(("127.0.0.1", world.ports[0])) as raw,
        context.wrap_socket(raw) as tls,
    ):
        tls.sendall(b"\x00\xff nonsense\r\n\r\n" * 50)
        assert b"400" in tls.recv(4096)
    with client(world, "ann") as ann:
        assert ann.status().state == "collecting"


def test_nobody_at_the_address_is_unreachable(world) -> None:
    with client(world, "ann") as ann, pytest.raises(PartyUnreachable, match="party 0"):
        ann.wait_ready(0.3)
