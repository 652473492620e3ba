"""The doctor finds each fault that is made here, with real sockets and TLS on loopback."""

import asyncio
import datetime as dt
import json
import shutil
import socket
import tempfile
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from parties.agreement.approval import approve
from parties.agreement.manifest import Manifest, save_manifest
from parties.agreement.values import program_version
from parties.cli.app import app
from parties.identity.certificates import Identity, make_identity
from parties.identity.tls import server_context
from parties.local.ports import free_ports
from parties.setup import doctor
from parties.setup import network as doctor_network
from parties.setup.config import PartyConfig
from parties.setup.doctor import Site, examine
from parties.setup.findings import Finding
from parties.wire.server import ApiServer
from tests.support.party_world import World

PARTIES = ("party-0", "party-1", "party-2")
Usage = namedtuple("Usage", "total used free")


class Consortium:
    """A world with an approved manifest; party 0 and ann are the sites that ask."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(6)
        self.world = World(folder, ports=tuple(ports[:3]))
        self.folder = folder
        self.raw = {**self.world.raw(), "noise": "joint", "sigma2_max": "100000"}
        for entry, port in zip(self.raw["parties"], ports[3:], strict=True):
            entry["port"] = port
        self.path = folder / "manifest.json"
        self.agree(self.raw)

    def agree(self, raw: dict[str, Any]) -> Manifest:
        manifest = Manifest.parse(raw)
        save_manifest(manifest, self.path)
        for name in PARTIES:
            approve(manifest, self.path, self.world.identities[name])
        return manifest

    @property
    def manifest(self) -> Manifest:
        return Manifest.parse(self.raw)

    def party(self, **changes: object) -> Site:
        identity = self.world.identities["party-0"]
        entry = self.manifest.parties[0]
        settings = {
            "name": "party-0",
            "manifest": self.path,
            "certificate": identity.certificate_path,
            "key": identity.key_path,
            "pid": 0,
            "https_port": entry.https_port,
            "mpc_port": entry.port,
            "state": self.folder / "state",
            "transcript": self.folder / "transcripts" / "party-0.jsonl",
        }
        config = PartyConfig.model_validate({**settings, **changes})
        return Site(config.manifest, config.identity, config)

    def holder(self, name: str = "ann") -> Site:
        return Site(self.path, self.world.identities[name])

    @contextmanager
    def serving(
        self, pid: int = 1, identity: str = "", trusted: list[str] | None = None, **answer: Any
    ) -> Iterator[None]:
        """Let a stand-in for a compute party answer with the given manifest and status."""
        manifest = Manifest.parse(answer.pop("raw", self.raw))
        status = {
            "version": program_version(),
            "state": "collecting",
            "manifest": manifest.digest,
            **answer,
        }
        shown = self.world.identities[identity or f"party-{pid}"]
        context = server_context(shown, trusted or manifest.clients())

        async def tell(request: Request) -> Response:
            if request.url.path == "/v1/status":
                return JSONResponse(status)
            return Response(manifest.canonical_bytes())

        routes = [Route("/v1/status", tell), Route("/v1/manifest", tell)]
        port = self.manifest.parties[pid].https_port
        with in_thread(ApiServer(Starlette(routes=routes), "127.0.0.1", port, context)):
            yield


@contextmanager
def in_thread(server: ApiServer) -> Iterator[None]:
    ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        await server.start()
        ready.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Hold a port without ever answering."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


def bad(findings: list[Finding], level: str = "error") -> dict[str, Finding]:
    found = {finding.check: finding for finding in findings if finding.level == level}
    assert all(finding.cause and finding.fix for finding in found.values())
    return found


def test_all_is_well_but_the_peers_do_not_run_yet(consortium: Consortium) -> None:
    findings = examine(consortium.party())
    assert bad(findings) == {}
    warnings = bad(findings, "warning")
    assert list(warnings) == ["party 1 (party-1)", "party 2 (party-2)"]
    assert "not running yet" in warnings["party 1 (party-1)"].cause
    assert not (consortium.folder / "state").exists()


def test_all_is_well_with_a_running_peer(consortium: Consortium) -> None:
    with consortium.serving():
        for site in (consortium.party(), consortium.holder(), consortium.holder("estimator")):
            findings = examine(site)
            assert bad(findings) == {}
            good = [finding for finding in findings if finding.check.startswith("party 1")]
            assert [finding.level for finding in good] == ["ok"] * 4


def test_the_wrong_key_and_no_key(consortium: Consortium) -> None:
    other = consortium.world.identities["party-1"].key_path
    assert "is not the key of" in bad(examine(consortium.party(key=other)))["identity"].what
    missing = consortium.folder / "missing"
    assert "missing" in bad(examine(consortium.party(key=missing)))["identity"].what
    found = bad(examine(consortium.party(certificate=missing)))
    assert {"identity", "role", "place"} <= set(found)


def test_a_key_that_others_can_read(consortium: Consortium) -> None:
    key = consortium.world.identities["party-0"].key_path
    key.chmod(0o644)
    finding = bad(examine(consortium.party()), "warning")["key file"]
    assert "chmod 600" in finding.fix


def test_certificates_before_and_after_their_time(consortium: Consortium) -> None:
    start = dt.datetime.now(dt.UTC)

    def at(days: float) -> list[Finding]:
        return examine(consortium.holder(), lambda: start + dt.timedelta(days=days))

    assert "in 89 days" in bad(at(365 - 89.5), "warning")["certificate"].what
    assert "expired" in bad(at(366))["certificate"].what
    assert "clock is behind" in bad(at(-1))["certificate"].cause


def test_a_stranger_and_another_partys_place(consortium: Consortium) -> None:
    assert "not in manifest" in bad(examine(consortium.holder("stranger")))["role"].what
    assert "party 1" in bad(examine(consortium.party(pid=1)))["place"].what
    assert "pid 6" in bad(examine(consortium.party(pid=6)))["place"].what


def test_a_manifest_that_cannot_be_used(consortium: Consortium) -> None:
    text = consortium.path.read_text()
    for broken, word in (
        ("{", "cannot be read"),
        (text.replace('"n_max": 127', '"n_max": 0'), "n_max"),
        (text.replace('"1/1000"', '"1/2"'), "mechanism.rho"),
    ):
        consortium.path.write_text(broken)
        assert word in bad(examine(consortium.party()))["manifest"].what
    consortium.path.unlink()
    assert "cannot be read" in bad(examine(consortium.party()))["manifest"].what


def test_missing_and_stale_approvals(consortium: Consortium) -> None:
    (consortium.folder / "approvals" / "party-2.json").unlink()
    finding = bad(examine(consortium.party()))["approval"]
    assert "party-2 has not signed" in finding.what
    consortium.agree({**consortium.raw, "n_max": 63})
    save_manifest(consortium.manifest, consortium.path)
    finding = bad(examine(consortium.party()))["approval"]
    assert "differs in n_max" in finding.what


def test_an_expired_manifest(consortium: Consortium) -> None:
    consortium.agree({**consortium.raw, "expires": "2001-01-01T00:00:00Z"})
    assert "2001-01-01" in bad(examine(consortium.party()))["expiry"].what


def test_a_port_that_another_program_has(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_network, "TIMEOUT_SECONDS", 0.3)
    with listening(consortium.manifest.parties[0].port):
        finding = bad(examine(consortium.party()))["mpc port"]
    assert "another program" in finding.cause


def test_the_own_running_party_is_no_fault(consortium: Consortium) -> None:
    with consortium.serving(pid=0):
        assert bad(examine(consortium.party())) == {}


def test_an_address_of_another_machine_and_a_forwarded_port(consortium: Consortium) -> None:
    findings = examine(consortium.party(host="192.0.2.1"))
    assert "not one of this machine" in bad(findings)["https port"].cause
    port = free_ports(1)[0]
    finding = bad(examine(consortium.party(https_port=port)), "warning")["https port"]
    assert "config and manifest differ" in finding.cause


def test_folders_that_cannot_be_written(consortium: Consortium) -> None:
    (consortium.folder / "state").write_text("a file is in the way")
    found = bad(examine(consortium.party(transcript=consortium.folder / "state" / "t.jsonl")))
    assert "is a file" in found["state"].what
    assert "is a file" in found["transcript"].what


def test_a_disk_that_takes_no_file(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> object:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    assert "Read-only" in bad(examine(consortium.party()))["state"].what


def test_a_full_disk(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9 - 10**6, 10**6))
    assert "0.0 GB are free" in bad(examine(consortium.party()))["disk"].what


def test_names_without_an_address(consortium: Consortium) -> None:
    consortium.raw["parties"][1]["url"] = "https://nowhere.invalid:8443"
    consortium.raw["parties"][2]["host"] = "nowhere.invalid"
    consortium.agree(consortium.raw)
    found = bad(examine(consortium.party()))
    assert "nowhere.invalid has no address" in found["party 1 (party-1)"].what
    assert "nowhere.invalid has no address" in found["party 2 (party-2)"].what
    # holders and the estimator do not use the peers' links
    assert set(bad(examine(consortium.holder()))) == {"party 1 (party-1)"}


def test_a_port_that_drops_packets(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    def dropped(*_: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", dropped)
    assert "firewall" in bad(examine(consortium.holder()))["party 1 (party-1)"].cause


def test_something_that_is_no_party(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_network, "TIMEOUT_SECONDS", 0.3)
    with listening(consortium.manifest.parties[1].https_port):
        finding = bad(examine(consortium.holder()))["party 1 (party-1)"]
    assert "no TLS connection" in finding.what


def test_an_impostor_is_seen_by_its_certificate(consortium: Consortium) -> None:
    with consortium.serving(identity="stranger"):
        finding = bad(examine(consortium.party()))["party 1 (party-1)"]
    assert "the manifest lists" in finding.what
    assert "telephone" in finding.fix


def test_a_party_that_does_not_know_this_site(consortium: Consortium) -> None:
    others = [consortium.world.identities["bob"].certificate]
    with consortium.serving(trusted=others):
        finding = bad(examine(consortium.holder()))["party 1 (party-1)"]
    assert "ends the connection" in finding.what


@pytest.mark.parametrize(
    ("seconds", "level", "side"),
    [(-50, "ok", ""), (90, "warning", "ahead of"), (-90, "warning", "behind"), (4000, "error", "")],
)
def test_a_clock_that_is_wrong(consortium: Consortium, seconds: int, level: str, side: str) -> None:
    shift = dt.timedelta(seconds=seconds)
    with consortium.serving():
        findings = examine(consortium.holder(), lambda: dt.datetime.now(dt.UTC) + shift)
    finding = next(f for f in findings if f.check == "party 1 (party-1) clock")
    assert finding.level == level
    assert side in finding.what


def test_another_version(consortium: Consortium) -> None:
    with consortium.serving(version="0.0.9"):
        assert "0.0.9" in bad(examine(consortium.holder()))["party 1 (party-1) version"].what


def test_another_manifest_is_named_by_field(consortium: Consortium) -> None:
    raw = {**consortium.raw, "n_max": 63, "threshold": 1, "workload": "3way"}
    with consortium.serving(raw=raw):
        finding = bad(examine(consortium.party()))["party 1 (party-1) manifest"]
        assert "differ in n_max, workload" in finding.what


def test_a_waiting_peers_link_is_tried_too(consortium: Consortium) -> None:
    with consortium.serving(state="connecting"):
        finding = bad(examine(consortium.party()))["party 1 (party-1)"]
        assert "nothing listens" in finding.what
        with listening(consortium.manifest.parties[1].port):
            assert bad(examine(consortium.party())) == {}


def command(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    return result.exit_code, result.stdout, result.stderr


def site_options(consortium: Consortium, name: str) -> list[str]:
    identity = consortium.world.identities[name]
    files = ["--cert", str(identity.certificate_path), "--key", str(identity.key_path)]
    return ["--manifest", str(consortium.path), *files]


def test_the_command_for_machines_and_people(consortium: Consortium) -> None:
    code, out, _ = command(*site_options(consortium, "ann"), "--json")
    assert code == 0
    report = json.loads(out)
    assert report["ok"] is True
    assert {"level", "check", "what", "cause", "fix"} == set(report["findings"][0])
    code, out, _ = command(*site_options(consortium, "stranger"))
    assert code == 1
    assert "error   role" in out
    assert "fix: " in out


def test_the_command_with_a_partys_config(consortium: Consortium) -> None:
    site = consortium.party()
    path = consortium.folder / "p.json"
    assert site.config is not None
    path.write_text(site.config.model_dump_json())
    assert command("--config", str(path))[0] == 0
    path.write_text("{")
    assert command("--config", str(path))[0] == 2
    code, _, error = command("--cert", "x")
    assert (code, "--manifest" in error) == (2, True)


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    made = make_identity("ann", tmp_path)
    made.key_path.write_text("nothing")
    site = Site(tmp_path / "none.toml", Identity("ann", made.certificate_path, made.key_path))
    found: Callable[[str], bool] = bad(doctor.examine(site)).__contains__
    assert found("identity")
    assert found("manifest")
