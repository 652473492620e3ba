"""`distaim init`: by options and by the wizard."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aim_core.studies.clinic import write_clinic
from mpc.noise.kinds import NoiseKind
from parties.agreement.approval import review
from parties.agreement.manifest import Manifest, load_manifest
from parties.agreement.values import EngineKind
from parties.cli.app import app
from parties.errors import ConfigError
from parties.identity.certificates import make_identity
from parties.local.options import RunOptions
from parties.local.prepare import prepare
from parties.setup.init import Answers, draft, read_date, read_member, read_party, write_draft

NAMES = ("a", "b", "c", "ann", "bob", "est")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("consortium")
    for name in NAMES:
        make_identity(name, folder)
    write_clinic(folder)
    return folder


def party(folder: Path, name: str, address: str = "a.example.org:8443:8444") -> str:
    return f"{name}={address}={folder / f'{name}.crt'}"


def member(folder: Path, name: str) -> str:
    return f"{name}={folder / f'{name}.crt'}"


def options(folder: Path) -> list[str]:
    words = ["--schema", str(folder / "schema.toml"), "--n-max", "4095", "--rounds", "2"]
    words += [x for name in "abc" for x in ("--party", party(folder, name))]
    words += [x for name in ("ann", "bob") for x in ("--holder", member(folder, name))]
    return [*words, "--estimator", member(folder, "est")]


def distaim(*arguments: str, answers: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["init", *arguments], input=answers)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def answers(folder: Path) -> Answers:
    return Answers(
        schema=folder / "schema.toml",
        workload="2way",
        epsilon="1",
        delta="1e-9",
        n_max=4095,
        parties=[read_party(party(folder, name)) for name in "abc"],
        holders=[read_member(member(folder, name)) for name in ("ann", "bob")],
        estimator=read_member(member(folder, "est")),
        expires=dt.date(2100, 1, 1),
        threshold=1,
        min_holders=None,
        rounds=2,
        max_cells=None,
        max_model_mb="80",
        noise=NoiseKind.JOINT,
        engine=EngineKind.REPLICATED,
    )


def test_options_make_a_manifest_that_can_be_signed(folder: Path, tmp_path: Path) -> None:
    code, out, error = distaim(str(tmp_path), *options(folder), "--json")
    assert code == 0, error
    manifest = load_manifest(tmp_path / "manifest.toml")
    assert json.loads(out)["digest"] == manifest.digest
    review(manifest)
    assert [entry.url for entry in manifest.parties] == ["https://a.example.org:8443"] * 3
    assert (manifest.threshold, manifest.min_holders, manifest.mechanism.rounds) == (1, 2, 2)
    assert dt.timedelta(days=89) < manifest.end - dt.datetime.now(dt.UTC) < dt.timedelta(days=90)
    assert (tmp_path / "manifest.toml").read_text().startswith("# Manifest of a DistAIM job")


def test_nothing_is_overwritten(folder: Path, tmp_path: Path, answers: Answers) -> None:
    manifest = draft(answers)
    path = write_draft(manifest, tmp_path / "new")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        write_draft(manifest, tmp_path / "new")
    assert path.read_bytes() == before


def test_a_draft_becomes_no_manifest(answers: Answers, tmp_path: Path) -> None:
    schema = tmp_path / "draft.toml"
    schema.write_text("draft = true\n" + answers.schema.read_text())
    with pytest.raises(ConfigError, match="marked as a draft"):
        draft(replace(answers, schema=schema))
    data = draft(answers).model_dump(by_alias=True)
    data["schema"]["draft"] = True
    with pytest.raises(ConfigError, match="marked as a draft"):
        review(Manifest.parse(data))


def test_a_job_of_mostly_noise_is_warned_of_and_still_drafted(folder: Path, tmp_path: Path) -> None:
    code, _, error = distaim(str(tmp_path / "fine"), *options(folder), "--epsilon", "12")
    assert (code, "exceeds the average cell" in error) == (0, False)
    code, _, error = distaim(str(tmp_path / "poor"), *options(folder), "--epsilon", "0.01")
    assert code == 0
    assert "warning: noise exceeds the average cell in" in error
    assert "at most 4,095 records" in error


def test_weights_and_names_of_a_workload_reach_the_manifest(folder: Path, tmp_path: Path) -> None:
    text = "1way*2+age,smoker*5"
    code, _, error = distaim(str(tmp_path), *options(folder), "--workload", text)
    assert code == 0, error
    manifest = load_manifest(tmp_path / "manifest.toml")
    assert manifest.workload == text
    weights = dict(zip(map(tuple, manifest.cliques), manifest.weights or (), strict=True))
    assert weights.pop(("age", "smoker")) == 5
    assert set(weights.values()) == {2}
    assert {len(clique) for clique in weights} == {1}


def test_run_and_init_derive_the_same(answers: Answers, tmp_path: Path) -> None:
    drafted = draft(answers)
    prepared = prepare(RunOptions(out=tmp_path, rounds=2))
    assert drafted.mechanism.rho == str(prepared.settings.rho)
    assert drafted.n_max == prepared.settings.n_max
    assert drafted.cliques == [list(clique) for clique in prepared.inputs.workload.cliques]


def test_every_form_of_a_certificate_file_gives_the_same_text(folder: Path, tmp_path: Path) -> None:
    text = (folder / "ann.crt").read_text()
    (tmp_path / "ann.crt").write_bytes(text.strip().replace("\n", "\r\n").encode())
    assert read_member(member(tmp_path, "ann")) == read_member(member(folder, "ann"))


def test_ipv6_addresses(folder: Path) -> None:
    entry = read_party(party(folder, "a", "[2001:db8::1]:8443:8444"))
    assert (entry.url, entry.host) == ("https://[2001:db8::1]:8443", "2001:db8::1")
    assert (entry.https_host, entry.https_port, entry.port) == ("2001:db8::1", 8443, 8444)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a=host=CRT",
        "a=host:1=CRT",
        "a=host:x:2=CRT",
        "a=host:1:70000=CRT",
        "a=host:70000:2=CRT",
        "a=:1:2=CRT",
        "a=host:1:2=missing.crt",
        "a b=host:1:2=CRT",
        "a=ho st:1:2=CRT",
    ],
)
def test_wrong_parties_are_refused(folder: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read_party(text.replace("CRT", str(folder / "a.crt")))


@pytest.mark.parametrize("text", ["ann", "=x", "ann=", "ann=missing.crt", "2030-13-01"])
def test_wrong_members_and_days_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_member(text)
    with pytest.raises(ConfigError):
        read_date(text)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"threshold": 2}, "threshold"),
        ({"parties": []}, "3 to 7"),
        ({"epsilon": "0"}, "epsilon"),
        ({"delta": "1"}, "delta"),
        ({"min_holders": 3}, "min_holders"),
        ({"expires": dt.date(2001, 1, 1)}, "expired"),
        ({"holders": []}, "min_holders"),
    ],
)
def test_answers_that_cannot_be_used_are_named(
    answers: Answers, change: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        draft(replace(answers, **change))


def test_the_wizard_asks_again_for_what_it_cannot_use(folder: Path, tmp_path: Path) -> None:
    lines = [
        str(folder / "schema.toml"),
        *(party(folder, name) for name in "ab"),
        "c=nowhere",
        party(folder, "c"),
        "",
        member(folder, "ann"),
        member(folder, "bob"),
        "",
        member(folder, "est"),
        "many",
        "1000",
        "",
        "0.5",
        "",
        "",
        "1",
        "tomorrow",
        "2099-01-01",
    ]
    code, _, error = distaim(str(tmp_path), "--rounds", "1", answers="\n".join(lines) + "\n")
    assert code == 0, error
    assert "c=nowhere' is not written as NAME=HOST" in error
    assert "'many' is not a whole number" in error
    assert "'tomorrow' is not a day" in error
    manifest = load_manifest(tmp_path / "manifest.toml")
    assert facts(manifest) == ("0.5", "1e-9", 1000, 1, 1, "2099-01-01T00:00:00Z", "2way")


def facts(manifest: Manifest) -> tuple[str | int, ...]:
    mechanism = manifest.mechanism
    return (
        mechanism.epsilon,
        mechanism.delta,
        manifest.n_max,
        manifest.threshold,
        manifest.min_holders,
        manifest.expires,
        manifest.workload,
    )


def test_a_wizard_without_answers_writes_nothing(folder: Path, tmp_path: Path) -> None:
    code, _, error = distaim(str(tmp_path), *options(folder)[2:])
    assert code == 130
    assert "nothing was written" in error
    assert list(tmp_path.iterdir()) == []
