"""Approvals: who has signed what, and that nothing starts without all of them."""

import asyncio
import datetime as dt
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from parties.agreement.approval import (
    Approval,
    approval_states,
    approve,
    expiry_warnings,
    load_approved_manifest,
    review,
)
from parties.agreement.fields import differing_fields, field_hashes, name_fields
from parties.agreement.manifest import Manifest, load_manifest, save_manifest
from parties.agreement.public_inputs import public_inputs
from parties.agreement.toml import manifest_toml, save_manifest_toml, summary
from parties.cli.app import app
from parties.errors import ConfigError, IdentityError, NotApproved
from parties.estimator.job import run_job
from parties.holder.submit import submit
from parties.identity.certificates import Identity, make_identity
from parties.party.process import run_party
from parties.setup.config import EstimatorConfig, HolderMember, HoldersConfig, PartyConfig
from tests.support.party_world import Raw, World, send_upload

PARTIES = ("party-0", "party-1", "party-2")


def signed(world: World, folder: Path, raw: Raw | None = None, by: Sequence[str] = PARTIES) -> Path:
    manifest = Manifest.parse(raw or world.raw())
    path = folder / "manifest.json"
    save_manifest(manifest, path)
    for name in by:
        approve(manifest, path, world.identities[name])
    return path


def distaim(*arguments: str, answer: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments), input=answer)
    return result.exit_code, result.stdout, result.stderr


def test_a_manifest_that_all_parties_signed_is_loaded(world: World, tmp_path: Path) -> None:
    path = signed(world, tmp_path)
    assert load_approved_manifest(path).digest == world.manifest().digest
    assert {p.name for p in (tmp_path / "approvals").iterdir()} == {f"{n}.json" for n in PARTIES}


def test_the_missing_are_named(world: World, tmp_path: Path) -> None:
    path = signed(world, tmp_path, by=("party-1",))
    with pytest.raises(NotApproved, match="party-0, party-2 have not signed"):
        load_approved_manifest(path)


def test_a_signature_for_an_earlier_version_names_the_fields(world: World, tmp_path: Path) -> None:
    raw = world.raw()
    signed(world, tmp_path, {**raw, "n_max": 63, "mechanism": {**raw["mechanism"], "epsilon": "2"}})
    path = signed(world, tmp_path, by=PARTIES[:2])
    with pytest.raises(NotApproved, match=r"party-2 signed .* differs in mechanism.epsilon, n_max"):
        load_approved_manifest(path)
    states = [state.state for state in approval_states(world.manifest(), path)]
    assert states == ["signed", "signed", "another manifest"]


def test_any_change_of_a_signed_file_is_found(world: World, tmp_path: Path) -> None:
    path = signed(world, tmp_path)
    file = tmp_path / "approvals" / "party-1.json"
    text = file.read_text()
    raw = json.loads(text)
    flipped = ("f" if raw["signature"][0] != "f" else "0") + raw["signature"][1:]
    changes: list[Raw] = [
        {"party": "party-0"},
        {"manifest": "0" * 64},
        {"fields": {**raw["fields"], "n_max": "0" * 32}},
        {"signature": flipped},
        {"signature": raw["signature"].upper()},
    ]
    for change in changes:
        file.write_text(json.dumps({**raw, **change}))
        with pytest.raises(NotApproved, match="party-1"):
            load_approved_manifest(path)
    for garbage in ("", "{}", text[:-10]):
        file.write_text(garbage)
        with pytest.raises(NotApproved, match=r"party-1\.json is not an approval"):
            load_approved_manifest(path)


def test_nobody_signs_for_another(world: World, tmp_path: Path) -> None:
    path = signed(world, tmp_path)
    folder = tmp_path / "approvals"
    shutil.copy(folder / "party-0.json", folder / "party-1.json")
    with pytest.raises(NotApproved, match=r"party-1\.json was not made with the key of party-1"):
        load_approved_manifest(path)


def test_only_a_party_with_its_own_key_signs(world: World, tmp_path: Path) -> None:
    path = signed(world, tmp_path, by=())
    manifest = world.manifest()
    with pytest.raises(IdentityError, match="ann is a holder"):
        approve(manifest, path, world.identities["ann"])
    with pytest.raises(IdentityError, match="not in manifest"):
        approve(manifest, path, world.identities["stranger"])
    party, other = world.identities["party-0"], world.identities["party-1"]
    mixed = Identity("party-0", party.certificate_path, other.key_path)
    with pytest.raises(ConfigError, match="is not the key of"):
        approve(manifest, path, mixed)
    assert not (tmp_path / "approvals").exists()


def test_an_expired_manifest_is_refused_everywhere(world: World, tmp_path: Path) -> None:
    raw = {**world.raw(), "expires": "2001-01-01T00:00:00Z"}
    path = signed(world, tmp_path, raw)
    with pytest.raises(NotApproved, match="expired at 2001"):
        load_approved_manifest(path)
    with pytest.raises(NotApproved, match="expired"):
        review(Manifest.parse(raw))


@pytest.mark.parametrize("time", ["2030-12-31", "2030-12-31T00:00:00+01:00", "2030-2-3T00:00:00Z"])
def test_the_expiry_is_a_time_in_utc(world: World, time: str) -> None:
    with pytest.raises(ConfigError, match="expires"):
        Manifest.parse({**world.raw(), "expires": time})


def party_starts(world: World, path: Path, folder: Path) -> None:
    identity = world.identities["party-0"]
    config = PartyConfig(
        name="party-0",
        manifest=path,
        certificate=identity.certificate_path,
        key=identity.key_path,
        pid=0,
        https_port=1,
        mpc_port=2,
        state=folder / "state",
        transcript=folder / "transcript.jsonl",
    )
    run_party(config)


def holder_starts(world: World, path: Path, folder: Path) -> None:
    identity = world.identities["ann"]
    member = HolderMember(name="ann", certificate=identity.certificate_path, key=identity.key_path)
    config = HoldersConfig(manifest=path, table=folder / "t", outbox=folder / "o", members=[member])
    submit(config, print)


def estimator_starts(world: World, path: Path, folder: Path) -> None:
    identity = world.identities["estimator"]
    config = EstimatorConfig(
        name="estimator",
        manifest=path,
        certificate=identity.certificate_path,
        key=identity.key_path,
        out=folder / "out",
        transcript=folder / "transcript.jsonl",
    )
    run_job(config, lambda _event: None)


@pytest.mark.parametrize("start", [party_starts, holder_starts, estimator_starts])
def test_no_role_starts_without_all_signatures(
    world: World, tmp_path: Path, start: Callable[[World, Path, Path], None]
) -> None:
    path = signed(world, tmp_path, by=PARTIES[:2])
    with pytest.raises(NotApproved, match="party-2 have not signed"):
        start(world, path, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["approvals", "manifest.json"]


def test_a_running_party_takes_nothing_after_the_expiry(tmp_path: Path) -> None:
    world = World(tmp_path)
    job = world.job()
    job.manifest = Manifest.parse({**world.raw(), "expires": "2001-01-01T00:00:00Z"})

    with pytest.raises(NotApproved, match="expired"):
        asyncio.run(send_upload(job, "ann", b""))
    job.close()


PATHS = st.sampled_from(
    ["n_max", "noise", "workload", "mechanism.delta", "holders", "parties.order", "schema"]
)


@given(paths=st.sets(PATHS, min_size=1))
def test_every_difference_is_named(world: World, paths: set[str]) -> None:
    raw = world.raw()
    changed = json.loads(json.dumps(raw))
    expected = set()
    for path in paths:
        expected.add({"parties.order": "parties", "schema": "schema.columns"}.get(path, path))
        if path == "n_max":
            changed["n_max"] = 64
        elif path == "noise":
            changed["noise"] = "joint"
        elif path == "workload":
            changed["workload"] = "3way"
        elif path == "mechanism.delta":
            changed["mechanism"]["delta"] = "1e-6"
        elif path == "holders":
            changed["holders"].pop()
        elif path == "parties.order":
            changed["parties"].reverse()
        else:
            changed["schema"]["columns"].pop()
    one, other = (field_hashes(Manifest.parse(x)) for x in (raw, changed))
    assert differing_fields(one, other) == sorted(expected) == differing_fields(other, one)


def test_a_members_field_is_named_by_its_name(world: World) -> None:
    raw = world.raw()
    changed = json.loads(json.dumps(raw))
    changed["parties"][1]["port"] = 9
    changed["holders"][0]["certificate"] = world.identities["stranger"].certificate
    hashes = [field_hashes(Manifest.parse(x)) for x in (raw, changed)]
    assert differing_fields(*hashes) == ["holders.ann.certificate", "parties.party-1.port"]
    assert name_fields([str(n) for n in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


def test_certificates_that_end_soon_are_warned_about(world: World) -> None:
    manifest = world.manifest()
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=365 - 89)
    assert expiry_warnings(manifest, dt.datetime.now(dt.UTC)) == []
    warnings = expiry_warnings(manifest, soon)
    assert len(warnings) == 6
    assert "the certificate of party-0 expires on" in warnings[0]
    assert "expired" in expiry_warnings(manifest, soon + dt.timedelta(days=90))[0]


def test_the_toml_has_the_same_hash(world: World, tmp_path: Path) -> None:
    manifest = world.manifest()
    path = tmp_path / "manifest.toml"
    text = manifest_toml(manifest)
    path.write_text("# reviewed\n\n" + text.replace("n_max = 127", "n_max   =  127 # rows"))
    for name in PARTIES:
        approve(manifest, path, world.identities[name])
    assert load_approved_manifest(path).digest == manifest.digest


def test_the_toml_keeps_names_of_columns_that_need_quotes(world: World, tmp_path: Path) -> None:
    raw = {**world.raw(), "schema": {"a b": 2, 'ü."x"': 3, "columns": 4}, "workload": "2way"}
    raw["cliques"] = [["a b", 'ü."x"'], ["a b", "columns"], ['ü."x"', "columns"]]
    manifest = Manifest.parse(raw)
    path = tmp_path / "manifest.toml"
    save_manifest_toml(manifest, path)
    assert load_manifest(path).digest == manifest.digest


@pytest.fixture
def payable(world: World) -> Raw:
    """A manifest whose rho epsilon and delta pay for."""
    return {**world.raw(), "noise": "joint", "sigma2_max": "100000"}


def test_the_command_shows_asks_and_signs(world: World, tmp_path: Path, payable: Raw) -> None:
    path = signed(world, tmp_path, payable, by=())
    identity = world.identities["party-0"]
    site = ["--cert", str(identity.certificate_path), "--key", str(identity.key_path)]
    code, _, shown = distaim("approve", str(path), *site, answer="n\n")
    assert code == 130
    assert not (tmp_path / "approvals").exists()
    for text in (
        "party-1",
        "n_max = 127",
        "(1, 1e-9)",
        "to nobody: a row",
        "ann",
        "b: coded, 3 values",
    ):
        assert text in shown
    code, out, _ = distaim("approve", str(path), *site, "--json", answer="y\n")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["party"] == "party-0"
    approval = Approval.model_validate_json((tmp_path / "approvals/party-0.json").read_bytes())
    assert approval.manifest == Manifest.parse(payable).digest


def test_the_command_lists_who_has_signed(world: World, tmp_path: Path, payable: Raw) -> None:
    path = signed(world, tmp_path, payable, by=PARTIES[:2])
    code, out, _ = distaim("approve", str(path), "--check")
    assert code == 1
    assert "party-1: signed" in out
    assert "party-2: party-2 has not signed it" in out
    signed(world, tmp_path, payable, by=("party-2",))
    code, out, _ = distaim("approve", str(path), "--check", "--json")
    assert code == 0
    assert json.loads(out)["complete"] is True


def test_the_command_signs_nothing_that_is_wrong(
    world: World, tmp_path: Path, payable: Raw
) -> None:
    identity = world.identities["party-0"]
    site = ["--cert", str(identity.certificate_path), "--key", str(identity.key_path), "--yes"]
    path = signed(world, tmp_path, {**payable, "cliques": [["a", "z"]]}, by=())
    code, _, error = distaim("approve", str(path), *site)
    assert (code, "do not fit" in error) == (2, True)
    too_much = {**payable["mechanism"], "rho": "1/2"}
    path = signed(world, tmp_path, {**payable, "mechanism": too_much}, by=())
    code, _, error = distaim("approve", str(path), *site)
    assert (code, "mechanism.rho" in error) == (2, True)
    code, _, error = distaim("approve", str(path))
    assert (code, "--cert" in error) == (2, True)
    assert not (tmp_path / "approvals").exists()


def test_the_command_warns_of_a_certificate_that_ends_soon(
    world: World, tmp_path: Path, payable: Raw
) -> None:
    short = make_identity("party-0", tmp_path / "keys", days=30)
    parties = [{**payable["parties"][0], "certificate": short.certificate}, *payable["parties"][1:]]
    path = signed(world, tmp_path, {**payable, "parties": parties}, by=())
    site = ["--cert", str(short.certificate_path), "--key", str(short.key_path), "--yes"]
    code, _, error = distaim("approve", str(path), *site)
    assert code == 0
    assert "warning: the certificate of party-0 expires on" in error


def test_summary_says_how_the_noise_is_made(world: World) -> None:
    manifest = world.manifest()
    assert "dealt by the parties" in summary(manifest, public_inputs(manifest))


def test_a_file_that_is_no_key_is_a_config_error(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken.key"
    party = Identity("party-0", world.identities["party-0"].certificate_path, broken)
    for text in ("no key", None):
        if text is None:
            broken.unlink()
        else:
            broken.write_text(text)
        with pytest.raises(ConfigError, match=r"broken\.key"):
            approve(world.manifest(), tmp_path / "manifest.toml", party)
