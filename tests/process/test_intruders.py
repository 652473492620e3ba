"""Replays, garbage, strangers, old manifests and many holders at once, with real processes."""

import contextlib
import json
import secrets
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from aim_core.tables.files.reading import encoded_chunks
from mpc.session.frames import Kind, frame
from parties.agreement.derived import upload_format
from parties.agreement.manifest import Manifest, load_manifest
from parties.agreement.public_inputs import public_inputs
from parties.agreement.values import program_version
from parties.errors import IdentityError, ManifestDiffers, PartyUnreachable, UploadRefused
from parties.holder.submit import count_vector, prepare, upload
from parties.identity.certificates import Identity, make_identity
from parties.identity.tls import client_context
from parties.setup.config import HolderMember, HoldersConfig
from parties.wire.client import BodyFile, PartyClient
from parties.wire.messages import UploadReceipt, parse
from tests.support.processes.consortium import PARTIES, Consortium, assert_complete, wait_until
from tests.support.programs import crowd

N_HOLDERS = 50
PROCESSES = 2


def send_garbage(port: int) -> None:
    """Send bytes that are no TLS, and hang up."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain, contextlib.suppress(OSError):
        plain.sendall(secrets.token_bytes(1 << 16))


def tls_to(port: int, identity: Identity, server: Identity) -> ssl.SSLSocket:
    context = client_context(identity, server.certificate)
    raw = socket.create_connection(("127.0.0.1", port), 10)
    return context.wrap_socket(raw)


def is_refused(port: int, identity: Identity, server: Identity) -> bool:
    """Say whether a party ends a connection without having said anything."""
    try:
        with tls_to(port, identity, server) as tls:
            tls.sendall(frame(Kind.HELLO, 0, b"{}"))
            return tls.recv(100) == b""
    except OSError:
        return True


def outbox_of(consortium: Consortium, manifest: Manifest) -> tuple[Path, str]:
    """Share the table as a holder does; return where the bodies are, and the sharing's id."""
    inputs = public_inputs(manifest)
    chunks = encoded_chunks(consortium.table, inputs.schema)
    outbox = consortium.folder / "recorded"
    vector = count_vector(chunks, inputs, manifest.n_max)
    prepare(vector, upload_format(manifest, inputs), manifest, outbox)
    return outbox, json.loads((outbox / "upload.json").read_text())["upload"]


def upload_recorded(consortium: Consortium, manifest: Manifest, outbox: Path) -> None:
    """Go on with holder 0's upload as `distaim submit` would."""
    identity = consortium.identities["holder-0"]
    member = HolderMember(
        name=identity.name, certificate=identity.certificate_path, key=identity.key_path
    )
    config = HoldersConfig(
        manifest=consortium.manifest, table=consortium.table, outbox=outbox, members=[member]
    )
    upload(manifest, identity, outbox, config)


def test_garbage_strangers_and_replays_change_nothing(tmp_path: Path) -> None:
    with Consortium(tmp_path, rounds=1) as c:
        manifest = load_manifest(c.manifest)
        stranger = make_identity("party-2", tmp_path / "stranger")  # the name alone helps nobody
        holder = c.identities["holder-0"]
        c.start_party(0)
        c.start_party(1)
        for pid in (0, 1):
            c.wait_until_up(pid)
        for pid in (0, 1):  # the ports for peers are open now
            for port in (c.mpc[pid], c.https[pid]):
                send_garbage(port)
                assert is_refused(port, stranger, c.identities[f"party-{pid}"])
            assert is_refused(c.mpc[pid], holder, c.identities[f"party-{pid}"])
        c.start_party(2)
        wait_until(lambda: "all peers" in c.log("party-0"), 60, "the parties never met")
        with tls_to(c.https[0], holder, c.identities["party-0"]) as tls:
            tls.sendall(b"\x00\xff nonsense\r\n\r\n" * 50)
            assert b"400" in tls.recv(4096)
        with PartyClient(manifest, 0, stranger, 10) as client, pytest.raises(PartyUnreachable):
            client.status()
        check_replays(c, manifest)
        c.start_holder(1)
        c.start_job()
        c.complete()
        assert_complete(c, lost=0)
        assert "Traceback" not in "".join(c.log(f"party-{pid}") for pid in PARTIES)


def check_replays(c: Consortium, manifest: Manifest) -> None:
    """Upload for holder 0, with replays of what it sends, before and after a kill."""
    holder, other = c.identities["holder-0"], c.identities["holder-1"]
    outbox, sharing = outbox_of(c, manifest)
    body, wrong = (BodyFile(outbox / f"body-{pid}.share") for pid in (0, 1))
    older = Manifest.parse({**json.loads(c.manifest.read_text()), "n_max": manifest.n_max - 1})
    with (
        PartyClient(older, 0, holder, 10) as client,
        pytest.raises(ManifestDiffers, match="they differ in n_max;"),
    ):
        client.put("holder-0", sharing, body, 0)
    with (
        PartyClient(manifest, 0, other, 10) as client,
        pytest.raises(IdentityError, match="cannot upload for holder-0"),
    ):
        client.put("holder-0", sharing, body, 0)
    with PartyClient(manifest, 0, holder, 10) as client:
        receipt = parse(UploadReceipt, client.put("holder-0", sharing, body, 0))
        assert parse(UploadReceipt, client.put("holder-0", sharing, body, 0)) == receipt
        with pytest.raises(UploadRefused, match="something else"):
            client.put("holder-0", sharing, wrong, 0)
        with pytest.raises(UploadRefused, match="something else"):
            client.put("holder-0", secrets.token_hex(32), body, 0)
    c.kill("party-0")
    c.start_party(0)
    upload_recorded(c, manifest, outbox)
    again = parse(UploadReceipt, (outbox / "receipt-0.json").read_bytes())
    assert again.model_dump(exclude={"signature"}) == receipt.model_dump(exclude={"signature"})


def test_garbage_under_a_partys_own_key_names_it_and_loses_nothing(tmp_path: Path) -> None:
    """Whoever has party 0's key can stop the others, and is named; then the job goes on."""
    with Consortium(tmp_path, rounds=1) as c:
        manifest, cheat = load_manifest(c.manifest), c.identities["party-0"]
        outbox, sharing = outbox_of(c, manifest)
        c.start_party(1)
        c.start_party(2)
        binding = {
            "manifest": manifest.digest,
            "version": program_version(),
            "parties": "3",
            "threshold": "1",
        }
        hello = frame(Kind.HELLO, 0, json.dumps({"pid": 0, "binding": binding}).encode())
        for pid in (1, 2):
            c.wait_until_up(pid)
        with PartyClient(manifest, 1, c.identities["holder-0"], 10) as client:
            client.put("holder-0", sharing, BodyFile(outbox / "body-1.share"), 0)
        with contextlib.ExitStack() as stack:
            places = [(c.mpc[pid], c.identities[f"party-{pid}"]) for pid in (1, 2)]
            links = [stack.enter_context(tls_to(port, cheat, server)) for port, server in places]
            for link in links:  # both before the first of them tells the other to stop
                link.sendall(hello)
            for link in links:
                with contextlib.suppress(OSError):
                    link.sendall(b"\xfe" * 100)
            for pid in (1, 2):
                assert c.processes[f"party-{pid}"].wait(30) == 5
                assert "party 0" in c.log(f"party-{pid}").splitlines()[-1]
        c.start_parties()
        upload_recorded(c, manifest, outbox)
        c.start_holder(1)
        c.start_job()
        c.complete()
        assert_complete(c, lost=0)


@pytest.mark.slow
def test_fifty_holders_at_once(tmp_path: Path) -> None:
    with Consortium(tmp_path, rounds=1, n_holders=N_HOLDERS) as c:
        head, *rows = c.table.read_text().splitlines(keepends=True)
        for number in range(N_HOLDERS):
            own = [head, *rows[number::N_HOLDERS]]
            (tmp_path / f"holder-{number}" / "table.csv").write_text("".join(own))
        c.start_parties()
        wait_until(lambda: "all peers" in c.log("party-0"), 60, "the parties never met")
        submitting = [sys.executable, str(Path(crowd.__file__)), str(tmp_path)]
        numbers = [range(N_HOLDERS)[place::PROCESSES] for place in range(PROCESSES)]
        sent = [
            subprocess.Popen([*submitting, *map(str, n)], stdout=subprocess.PIPE) for n in numbers
        ]
        try:
            outputs = [process.communicate(timeout=60)[0] for process in sent]
        finally:
            for process in sent:
                process.kill()
        assert sorted(name for text in outputs for name in text.decode().split()) == sorted(
            f"holder-{number}" for number in range(N_HOLDERS)
        )
        assert len(list(tmp_path.glob("holder-*/receipts/*/party-*.json"))) == 3 * N_HOLDERS
        c.start_job()
        c.complete()
        assert_complete(c, lost=0)
        for pid in PARTIES:
            (freeze,) = [line for line in c.lines(pid) if line["event"] == "freeze"]
            assert len(freeze["uploads"]) == N_HOLDERS
        n_rows = len((c.out / "synthetic.csv").read_text().splitlines()) - 1
        assert abs(n_rows - len(rows)) < 0.05 * len(rows)  # the noise of the total is far smaller
