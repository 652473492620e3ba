"""The API over real TLS on loopback, with a scripted engine behind it."""

import asyncio
import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mpc.errors import PeerLost
from parties.agreement.manifest import Manifest
from parties.agreement.values import program_version
from parties.errors import (
    IdentityError,
    ManifestDiffers,
    PartyUnreachable,
    RequestConflict,
    RequestRefused,
    UploadBroken,
    UploadRefused,
)
from parties.identity.tls import client_context, server_context
from parties.local.ports import free_ports
from parties.party.api import make_app
from parties.wire.client import BodyFile, PartyClient
from parties.wire.messages import UploadReceipt, digest_field, parse
from parties.wire.server import ApiServer
from tests.support.party_world import BODY_SIZE, ScriptedEngine, World
from tests.support.processes.consortium import wait_until

UPLOAD = "a" * 64
MEASURE = b'{"round":1,"candidates":[0],"sigma2":"4"}'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), rho="1", ports=(*free_ports(1), 5002, 5003))


@pytest.fixture
def engine(served: World, tmp_path: Path) -> Iterator[ScriptedEngine]:
    """Serve party 0 from a thread with its own loop."""
    engine = ScriptedEngine()
    ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        job = served.job(site=tmp_path)
        await job.connected(engine)
        context = server_context(served.identities["party-0"], job.manifest.clients())
        server = ApiServer(make_app(job), "127.0.0.1", served.ports[0], context)
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


def client(world: World, name: str, manifest: Manifest | None = None) -> PartyClient:
    return PartyClient(manifest or world.manifest(), 0, world.identities[name], 10.0)


def body_file(tmp_path: Path, data: bytes) -> BodyFile:
    path = tmp_path / "body"
    path.write_bytes(data)
    return BodyFile(path)


def test_a_holder_uploads_once_for_itself(
    served: World, engine: ScriptedEngine, tmp_path: Path
) -> None:
    data = bytes(range(BODY_SIZE))
    with client(served, "ann") as ann:
        receipt = parse(UploadReceipt, ann.put("ann", UPLOAD, body_file(tmp_path, data), 0))
        assert receipt.sha256 == hashlib.sha256(data).hexdigest()
        again = ann.put("ann", UPLOAD, body_file(tmp_path, data), 0)
        assert parse(UploadReceipt, again) == receipt
        with pytest.raises(UploadRefused, match="something else"):
            ann.put("ann", UPLOAD, body_file(tmp_path, data[::-1]), 0)
        assert ann.received("ann", UPLOAD) == BODY_SIZE
        with pytest.raises(UploadRefused, match="something else"):
            ann.received("ann", "b" * 64)
        with pytest.raises(IdentityError, match="cannot upload for bob"):
            ann.received("bob", UPLOAD)
        with pytest.raises(IdentityError, match="cannot upload for bob"):
            ann.put("bob", UPLOAD, body_file(tmp_path, data), 0)
        assert ann.status().uploads == {"ann": UPLOAD}


def test_an_upload_that_is_cut_off_goes_on_where_it_was(
    served: World, engine: ScriptedEngine, tmp_path: Path
) -> None:
    data = bytes(range(BODY_SIZE))
    context = client_context(served.identities["bob"], served.manifest().parties[0].certificate)
    head = (
        f"PUT /v1/uploads/bob HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_SIZE}\r\n"
        f"Distaim-Manifest: {served.manifest().digest}\r\nDistaim-Upload: {UPLOAD}\r\n"
        f"Repr-Digest: {digest_field(hashlib.sha256(data).hexdigest())}\r\nUpload-Offset: 0\r\n\r\n"
    )
    with client(served, "bob") as bob:
        with (
            socket.create_connection(("127.0.0.1", served.ports[0])) as raw,
            context.wrap_socket(raw) as tls,
        ):
            tls.sendall(head.encode() + data[:60])
            wait_until(lambda: bob.received("bob", UPLOAD) == 60, 10, "nothing arrives")
        assert bob.received("bob", UPLOAD) == 60
        assert bob.status().uploads == {}
        with pytest.raises(UploadBroken, match="goes on at byte 61, but 60 bytes"):
            bob.put("bob", UPLOAD, body_file(tmp_path, data), 61)
        receipt = parse(UploadReceipt, bob.put("bob", UPLOAD, body_file(tmp_path, data), 60))
        assert (receipt.sha256, receipt.n_bytes) == (hashlib.sha256(data).hexdigest(), BODY_SIZE)
        assert bob.received("bob", UPLOAD) == BODY_SIZE


@pytest.mark.parametrize(
    "wrong",
    [
        {"Distaim-Upload": "A" * 64},
        {"Distaim-Upload": "a" * 63},
        {"Repr-Digest": "b" * 64},
        {"Repr-Digest": f"sha-256=:{'A' * 44}:"},
        {"Repr-Digest": f"{digest_field('b' * 64)}, {digest_field('c' * 64)}"},
        {"Repr-Digest": digest_field("b" * 64).replace("sha-256", "md5")},
        {"Upload-Offset": "-1"},
        {"Upload-Offset": "1" * 16},
        {"Upload-Offset": ""},
    ],
)
def test_an_upload_names_its_id_its_hash_and_its_place(
    served: World, engine: ScriptedEngine, wrong: dict[str, str]
) -> None:
    context = client_context(served.identities["ann"], served.manifest().parties[0].certificate)
    right = {
        "Distaim-Manifest": served.manifest().digest,
        "Distaim-Upload": UPLOAD,
        "Repr-Digest": digest_field("b" * 64),
        "Upload-Offset": "0",
    }
    with httpx.Client(base_url=f"https://127.0.0.1:{served.ports[0]}", verify=context) as ann:
        answer = ann.put("/v1/uploads/ann", content=b"x", headers={**right, **wrong})
        assert answer.json()["error"] == "RequestRefused"
        assert next(iter(wrong)) in answer.json()["message"]


def test_only_the_estimator_asks(served: World, engine: ScriptedEngine, tmp_path: Path) -> None:
    for name in ("ann", "party-1"):
        with client(served, name) as other, pytest.raises(IdentityError, match="may not ask"):
            other.post("/v1/measure/measure-1", MEASURE)
    with client(served, "estimator") as estimator:
        with pytest.raises(IdentityError, match="may not ask"):
            estimator.put("ann", UPLOAD, body_file(tmp_path, bytes(BODY_SIZE)), 0)
        with pytest.raises(RequestRefused, match="collecting"):
            estimator.post("/v1/measure/measure-1", MEASURE)


def test_answers_and_errors_cross_the_wire(
    served: World, engine: ScriptedEngine, tmp_path: Path
) -> None:
    with client(served, "ann") as ann:
        ann.put("ann", UPLOAD, body_file(tmp_path, bytes(BODY_SIZE)), 0)
    with client(served, "estimator") as estimator:
        estimator.post("/v1/freeze", b'{"uploads":{"ann":"%s"}}' % UPLOAD.encode())
        answer = estimator.post("/v1/measure/measure-1", MEASURE)
        assert estimator.post("/v1/measure/measure-1", MEASURE) == answer
        with pytest.raises(RequestConflict):
            estimator.post("/v1/measure/measure-1", MEASURE.replace(b'"4"', b'"5"'))
        with pytest.raises(RequestRefused, match="request id"):
            estimator.post("/v1/measure/Measure_1", MEASURE)
        for reserved in ("freeze", "finish"):
            with pytest.raises(RequestRefused, match="reserved"):
                estimator.post(f"/v1/measure/{reserved}", MEASURE)
        engine.error = PeerLost("the connection to party 2 is lost", 2)
        header = b'{"biases":[0],"candidates":[0],"round":2,"selection_epsilon":"1/2","widths":[1]}'
        zeros = b"x\x9cc`\x00\x00\x00\x02\x00\x01"
        with pytest.raises(PeerLost) as caught:
            estimator.post("/v1/select/select-2", len(header).to_bytes(4, "big") + header + zeros)
        assert caught.value.party == 2
        assert estimator.status().state == "failed"


def test_another_manifest_is_refused(served: World, engine: ScriptedEngine) -> None:
    other = Manifest.parse({**served.raw(), "n_max": 63})
    estimator = client(served, "estimator", other)
    with estimator:
        with pytest.raises(ManifestDiffers, match="they differ in n_max;"):
            estimator.post("/v1/finish", b"{}")
        with pytest.raises(ManifestDiffers, match="they differ in n_max;"):
            estimator.status()


def test_every_role_may_see_the_manifest_and_the_version(
    served: World, engine: ScriptedEngine
) -> None:
    context = client_context(served.identities["ann"], served.manifest().parties[0].certificate)
    with httpx.Client(base_url=f"https://127.0.0.1:{served.ports[0]}", verify=context) as ann:
        assert ann.get("/v1/manifest").content == served.manifest().canonical_bytes()
        assert ann.get("/v1/status").json()["version"] == program_version()
        assert ann.get("/healthz").json() == {"healthy": True, "version": program_version()}


def test_strangers_do_not_get_in(served: World, engine: ScriptedEngine) -> None:
    with client(served, "stranger") as stranger, pytest.raises(PartyUnreachable):
        stranger.status()
    anybody = httpx.Client(verify=False, trust_env=False)
    with anybody, pytest.raises(httpx.TransportError):
        anybody.get(f"https://127.0.0.1:{served.ports[0]}/healthz")


def test_garbage_does_not_stop_the_party(served: World, engine: ScriptedEngine) -> None:
    with socket.create_connection(("127.0.0.1", served.ports[0])) as plain:
        plain.sendall(b"\xff" * 4096)
    context = client_context(served.identities["ann"], served.manifest().parties[0].certificate)
    with (
        socket.create_connection(("127.0.0.1", served.ports[0])) as raw,
        context.wrap_socket(raw) as tls,
    ):
        tls.sendall(b"\x00\xff nonsense\r\n\r\n" * 50)
        assert b"400" in tls.recv(4096)
    with client(served, "ann") as ann:
        assert ann.status().state == "collecting"


def test_nobody_at_the_address_is_unreachable(served: World) -> None:
    with client(served, "ann") as ann, pytest.raises(PartyUnreachable, match="party 0"):
        ann.wait_ready(0.3)
