"""Compute parties that are not who they should be, as processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aim_core.errors import TableError
from parties.agreement.approval import approve
from parties.agreement.manifest import Manifest, save_manifest
from parties.errors import ExitCode
from parties.identity.certificates import Identity, make_identity
from parties.local.ports import free_ports
from parties.local.supervisor import Supervisor
from parties.wire.failures import exit_code
from tests.support.party_world import Raw, World, member

STARTED: list[subprocess.Popen[str]] = []


def start(world: World, raw: Raw, pid: int, identity: Identity) -> subprocess.Popen[str]:
    folder = world.folder / f"site-{pid}"
    folder.mkdir()
    manifest = Manifest.parse(raw)
    save_manifest(manifest, folder / "manifest.json")
    sign(world, manifest, folder / "manifest.json", identity)
    config = {
        "name": identity.name,
        "manifest": str(folder / "manifest.json"),
        "certificate": str(identity.certificate_path),
        "key": str(identity.key_path),
        "pid": pid,
        "https_port": world.ports[pid],
        "mpc_port": raw["parties"][pid]["port"],
        "state": str(folder),
        "transcript": str(folder / "transcript.jsonl"),
        "connect_timeout": 5,
        "reconnect_seconds": 0,
        "finish_timeout": 0.1,
    }
    (folder / "party.json").write_text(json.dumps(config))
    process = subprocess.Popen(
        [sys.executable, "-m", "parties", "party", "--json", "--config", folder / "party.json"],
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def sign(world: World, manifest: Manifest, path: Path, own: Identity) -> None:
    """Approve a manifest as all its parties, with whatever keys its certificates belong to."""
    known = [world.identities[f"party-{pid}"] for pid in range(3)] + [own]
    certificates = [party.certificate for party in manifest.parties]
    for identity in known:
        if identity.certificate in certificates:
            approve(manifest, path, identity)


@pytest.fixture
def local_world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path, ports=tuple(free_ports(3)))
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


@pytest.fixture
def raw(local_world: World) -> Raw:
    raw = local_world.raw()
    for party, port in zip(raw["parties"], free_ports(3), strict=True):
        party["port"] = port
    return raw


def outcome(process: subprocess.Popen[str]) -> tuple[int, Raw]:
    _, text = process.communicate(timeout=60)
    error: Raw = json.loads(text.strip().splitlines()[-1])
    return process.returncode, error


def test_a_wrong_certificate_does_not_start(local_world: World, raw: Raw) -> None:
    code, error = outcome(start(local_world, raw, 2, local_world.identities["stranger"]))
    assert code == 5
    assert error["error"] == "IdentityError"
    assert error["party"] == 2


def test_an_impostor_is_kept_out_and_named(local_world: World, raw: Raw) -> None:
    """Party 2 is played by somebody with a certificate of the same name and a forged manifest."""
    impostor = make_identity("party-2", local_world.folder / "impostor")
    forged = json.loads(json.dumps(raw))
    forged["parties"][2].update(member(impostor))
    parties = [
        start(local_world, raw, pid, local_world.identities[f"party-{pid}"]) for pid in range(2)
    ]
    parties.append(start(local_world, forged, 2, impostor))
    results = [outcome(process) for process in parties]
    assert {code for code, _ in results} <= {4, 5}
    # whoever gives up first tells the other, so that both name the impostor and not each other
    assert [error["party"] for _, error in results[:2]] == [2, 2]


def test_a_manifest_that_promises_too_much_is_refused(local_world: World, raw: Raw) -> None:
    raw["mechanism"] = {**raw["mechanism"], "rho": "1/10"}
    code, error = outcome(start(local_world, raw, 1, local_world.identities["party-1"]))
    assert (code, error["error"]) == (2, "ConfigError")
    assert "mechanism.rho" in error["message"]


def test_a_different_manifest_is_named(local_world: World, raw: Raw) -> None:
    other = {**raw, "n_max": 63}
    processes = [
        start(local_world, other if pid == 2 else raw, pid, local_world.identities[f"party-{pid}"])
        for pid in range(3)
    ]
    results = [outcome(process) for process in processes]
    # a party whose peers have found the difference and left before it came misses them
    assert {error["error"] for _, error in results} <= {"ManifestDiffers", "PeerTimeout"}
    assert any("they differ in n_max" in error["message"] for _, error in results)
    assert all(code != 0 for code, _ in results)


def test_a_child_s_error_ends_its_parent_with_the_same_class_and_code(local_world: World) -> None:
    """The road of `distaim run`: a holder's process refuses its table, the parent says so."""
    world, tmp_path = local_world, local_world.folder
    path = tmp_path / "manifest.json"
    save_manifest(world.manifest(), path)
    for pid in range(3):
        approve(world.manifest(), path, world.identities[f"party-{pid}"])
    (tmp_path / "table.csv").write_text("a,b,c\n0,0,0\n0,17,0\n")
    ann = world.identities["ann"]
    keys = {"certificate": str(ann.certificate_path), "key": str(ann.key_path)}
    config = {
        "manifest": str(path),
        "table": str(tmp_path / "table.csv"),
        "outbox": str(tmp_path / "outbox"),
        "members": [{"name": "ann", **keys}],
    }
    (tmp_path / "holders.json").write_text(json.dumps(config))
    report = tmp_path / "error.json"
    arguments = ["submit", "--config", str(tmp_path / "holders.json"), "--error-file", str(report)]
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start("holders", arguments, report)
        with pytest.raises(TableError, match="17") as caught:
            supervisor.watch(child, lambda _: None)
    assert child.process.returncode == exit_code(caught.value) == ExitCode.INPUT
