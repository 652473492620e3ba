"""An untouched run passes its audit; whatever is changed in it is found and placed."""

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from aim_core.errors import BudgetExceeded
from aim_core.mechanisms import requests
from aim_core.mechanisms.aim import aim, drive
from aim_core.models.descent import MirrorDescent
from parties.agreement.derived import aim_settings, manifest_budget, manifest_noise
from parties.agreement.manifest import load_manifest
from parties.agreement.public_inputs import public_inputs
from parties.auditor.audit import Audit, audit
from parties.canonical import canonical
from parties.cli.app import app
from parties.identity.certificates import make_identity
from parties.identity.signatures import Signer
from parties.wire.chain import head_after
from parties.wire.entries import (
    BeginLine,
    FinishLine,
    FreezeLine,
    LoadedLine,
    MeasuredLine,
    MeasureLine,
    ResumedLine,
    SelectedLine,
    SelectLine,
)
from parties.wire.ledger_chain import first_head, head_of
from parties.wire.messages import LedgerEntry
from parties.wire.run_facts import RunFacts
from parties.wire.transcript import PURPOSE, Transcript, counts_digest, values_digest
from tests.support.finished_run import FinishedRun

N_PARTIES = 3
Lines = list[dict[str, Any]]
Edit = Callable[[Lines], object]


@dataclass
class Job:
    """A finished run, with the keys of its roles kept so that a test can forge lines."""

    out: Path
    keys: Path

    def signer(self, name: str) -> Signer:
        return Signer(self.keys / f"{name}.key")

    def forge(self, name: str, edit: Edit, signer: Signer | None = None) -> None:
        """Change a transcript and chain and sign it anew: what the owner of the key could do."""
        path = self.out / "transcript" / f"{name}.jsonl"
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        edit(lines)
        signer = signer or self.signer(name)
        head, texts = lines[0]["previous"], []
        for line in lines:
            line["previous"] = head
            line.pop("signature", None)
            line["signature"] = signer.sign(PURPOSE, canonical(line))
            texts.append(canonical(line))
            head = head_after(texts[-1])
        path.write_bytes(b"".join(text + b"\n" for text in texts))

    def forge_all(self, edit: Edit, pids: Sequence[int] = range(N_PARTIES)) -> None:
        for pid in pids:
            self.forge(f"party-{pid}", edit)

    def audit(self) -> Audit:
        return audit([self.out])


@pytest.fixture(scope="module")
def finished(finished_run: FinishedRun) -> Job:
    return Job(finished_run.out, finished_run.keys)


@pytest.fixture
def job(finished: Job, tmp_path: Path) -> Job:
    shutil.copytree(finished.out, tmp_path / "out")
    return Job(tmp_path / "out", finished.keys)


def places(found: Audit, level: str = "error") -> set[tuple[str, int | None, str | None]]:
    return {(f.source, f.line, f.field) for f in found.findings if f.level == level}


def events(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]


def number_of(job: Job, event: str, nth: int = 0) -> int:
    texts = (job.out / "transcript" / "party-1.jsonl").read_text().splitlines()
    return [k for k, text in enumerate(texts, 1) if json.loads(text)["event"] == event][nth]


def test_an_untouched_run_is_ok(finished: Job) -> None:
    found = finished.audit()
    assert (found.verdict, found.findings) == ("ok", ())
    assert (found.parties, found.rounds) == ((0, 1, 2), 2)
    facts = RunFacts.model_validate_json((finished.out / "run.json").read_bytes())
    assert str(found.rho_spent) == facts.exact.rho_spent
    assert str(found.rho_budget) == facts.exact.rho_budget


def test_a_folder_per_party_and_a_missing_one(finished: Job, tmp_path: Path) -> None:
    for pid in (0, 2):
        shutil.copytree(finished.out / "transcript", tmp_path / str(pid))
        for other in {0, 1, 2, "x"} - {pid}:
            name = "estimator" if other == "x" else f"party-{other}"
            (tmp_path / str(pid) / f"{name}.jsonl").unlink()
    found = audit([tmp_path / "0", tmp_path / "2"], finished.out / "manifest.json")
    assert found.verdict == "ok"
    assert places(found, "warning") == {("party 1", None, None), ("estimator", None, None)}


def test_any_changed_byte_is_found(job: Job) -> None:
    """In every line of one party, a byte in each field is changed; also each end of line."""
    path = job.out / "transcript" / "party-1.jsonl"
    data = path.read_bytes()
    spots = [k for k in range(len(data)) if data[k : k + 2] == b'":' or data[k : k + 1] == b"\n"]
    generator = np.random.default_rng(5)
    spots = [*generator.choice(spots, 40, replace=False).tolist(), len(data) - 1]
    for spot in spots:
        # the value behind a key, the key itself, or the end of a line
        place = spot if data[spot : spot + 1] == b"\n" else spot + int(generator.choice([-1, 3]))
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        found = job.audit()
        line = data[:place].count(b"\n") + 1
        assert found.verdict == "failed", (place, data[place - 20 : place + 20])
        assert any(f.source in ("party 1", path.name) and f.line in (line, line + 1)
                   for f in found.findings), (place, found.findings)  # fmt: skip


def test_swapped_dropped_and_added_lines_are_found(job: Job) -> None:
    path = job.out / "transcript" / "party-1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    variants = {
        "swapped": [*lines[:middle], lines[middle + 1], lines[middle], *lines[middle + 2 :]],
        "dropped": lines[:middle] + lines[middle + 1 :],
        "last dropped": lines[:-1],
        "twice": lines[: middle + 1] + lines[middle:],
        "none": [],
    }
    for name, variant in variants.items():
        path.write_bytes(b"".join(variant))
        assert job.audit().verdict == "failed", name


def test_all_parties_without_a_last_line_are_partial(job: Job) -> None:
    for pid in range(N_PARTIES):
        path = job.out / "transcript" / f"party-{pid}.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-1]))
    # the estimator's signed last line says that they had finished
    assert places(job.audit()) >= {("estimator", 2, "transcripts")}
    (job.out / "transcript" / "estimator.jsonl").unlink()
    assert job.audit().verdict == "partial"


def test_lines_signed_with_another_key_are_found(job: Job, tmp_path: Path) -> None:
    stranger = make_identity("party-1", tmp_path / "stranger")
    job.forge("party-1", lambda lines: None, Signer(stranger.key_path))
    found = job.audit()
    assert ("party 1", 1, "signature") in places(found)
    assert {source for source, _, _ in places(found)} <= {"party 1", "estimator"}


def test_a_party_with_another_answer_is_named(job: Job) -> None:
    def edit(lines: Lines) -> None:
        marginal = events(lines, "measured")[1]["marginals"][0]
        marginal["values"][0] += 1
        marginal["sha256"] = values_digest(np.array(marginal["values"]))

    job.forge("party-1", edit)
    assert ("party 1", number_of(job, "measured", 1), "marginals") in places(job.audit())


@pytest.mark.parametrize(
    ("event", "name", "value"),
    [
        ("begin", "manifest", "0" * 64),
        ("begin", "name", "party-2"),
        ("freeze", "uploads", {"zoe": "a" * 64}),
        ("select", "selection_epsilon", "1/1000"),
        ("select", "rho", "1/1000000"),
        ("select", "delta", "1/1000000"),
        ("select", "ledger", "0" * 64),
        ("select", "candidates", [0, 999]),
        ("select", "biases", [1]),
        ("select", "round", 7),
        ("selected", "index", 54),
        ("selected", "clique", ["age"]),
        ("measure", "sigma2", "7"),
        ("measure", "sigma2", "1000000000"),
        ("measure", "rho", "1/7"),
        ("measured", "cliques", [["age"]]),
        ("measured", "marginals", []),
        ("finish", "rho_spent", "1/7"),
        ("finish", "ledger", "0" * 64),
    ],
)
def test_parties_that_agree_on_a_lie_are_found(
    job: Job, event: str, name: str, value: object
) -> None:
    """All parties write the same, correctly signed: the costs and the policy give it away."""
    line = number_of(job, event)

    def edit(lines: Lines) -> None:
        assert name in lines[line - 1]
        lines[line - 1][name] = value

    job.forge_all(edit)
    (job.out / "transcript" / "estimator.jsonl").unlink()  # or its heads would give it away
    found = job.audit()
    assert found.verdict == "failed"
    assert any(f.line is not None and f.line >= line for f in found.findings if f.level == "error")


def test_the_policy_is_replayed(job: Job) -> None:
    """The parties' lines are all consistent; only the mechanism asks for something else."""
    line = number_of(job, "select", 1)

    def other_model(lines: Lines) -> None:
        lines[line - 1]["model_counts"] = "0" * 64

    job.forge_all(other_model)
    found = job.audit()
    assert ("party 0", line, "model_counts") in places(found)

    def elsewhere(lines: Lines) -> None:
        lines[0]["environment"]["numpy"] = "1.0"

    job.forge("estimator", elsewhere)
    found = job.audit()
    assert ("party 0", line, "model_counts") in places(found, "warning")
    texts = [finding.text for finding in found.findings if finding.line == line]
    assert any("another numpy" in text for text in texts)


def test_a_changed_opened_value_changes_the_fit(job: Job) -> None:
    def edit(lines: Lines) -> None:
        marginal = events(lines, "measured")[0]["marginals"][0]
        marginal["values"][0] += 1000
        marginal["sha256"] = values_digest(np.array(marginal["values"]))

    job.forge_all(edit)
    assert ("party 0", number_of(job, "select"), "model_counts") in places(job.audit())


def test_overspending_is_found(job: Job) -> None:
    """One more measurement, correctly written, after the budget has been spent."""
    manifest = job.audit().manifest

    def edit(lines: Lines) -> None:
        place = next(k for k, line in enumerate(lines) if line["event"] == "finish")
        again = [dict(line) for line in lines[place - 2 : place]]
        for line in again:
            line["request"], line["round"] = "measure-3", 3
        lines[place:place] = again
        head = first_head(manifest)
        for line in lines:
            if "ledger" in line and "rho" in line:
                charge = {name: line[name] for name in LedgerEntry.model_fields}
                head = head_of(head, LedgerEntry(**charge))
                line["ledger"] = head
        lines[-1]["ledger"] = head

    job.forge_all(edit)
    texts = [f.text for f in job.audit().findings if f.field == "rho" and f.level == "error"]
    assert len(texts) == N_PARTIES
    assert "overspends" in texts[0]


def test_a_false_synthetic_table_is_found(job: Job) -> None:
    job.forge("estimator", lambda lines: lines[-1].update(codes="0" * 64))
    found = job.audit()
    assert places(found) == {("estimator", None, "codes")}


def test_a_manifest_that_was_changed_is_found(job: Job) -> None:
    path = job.out / "manifest.json"
    raw = json.loads(path.read_text())
    raw["mechanism"]["epsilon"] = "1/2"
    path.write_text(json.dumps(raw))
    found = job.audit()
    assert {("party 0", 1, "manifest"), ("manifest", None, "mechanism")} <= places(found)
    assert ("manifest", None, "approvals") in places(found)


def test_large_marginals_beside_are_checked(job: Job) -> None:
    folder = job.out / "transcript" / "party-0"

    def move(lines: Lines) -> None:
        marginal = events(lines, "measured")[-1]["marginals"][0]
        folder.mkdir(exist_ok=True)
        name = f"{marginal['sha256'][:16]}.npy"
        np.save(folder / name, np.array(marginal.pop("values"), "<i8"))
        marginal["file"] = f"party-0/{name}"

    job.forge("party-0", move)
    (job.out / "transcript" / "estimator.jsonl").unlink()
    assert job.audit().verdict == "ok"
    array = next(folder.iterdir())
    values = np.load(array)
    values[0] += 1
    np.save(array, values)
    assert {name for _, _, name in places(job.audit())} == {"marginals"}
    array.unlink()
    assert {name for _, _, name in places(job.audit())} == {"marginals"}


def test_the_command_reports_and_exits(job: Job) -> None:
    runner = CliRunner()
    good = runner.invoke(app, ["audit", str(job.out), "--json"])
    assert (good.exit_code, json.loads(good.stdout)["verdict"]) == (0, "ok")
    job.forge("party-1", lambda lines: lines[-1].update(rho_spent="1/7"))
    bad = runner.invoke(app, ["audit", str(job.out)])
    assert bad.exit_code == 5
    assert "party 1, line" in bad.stdout
    missing = runner.invoke(app, ["audit", str(job.out / "demo")])
    assert missing.exit_code == 2


class Simulated:
    """Transcripts of a job on made-up answers, of which one request is lost in a crash."""

    def __init__(self, out: Path, finished: Job, lost: str) -> None:
        self.manifest = load_manifest(finished.out / "manifest.json")
        self.inputs = public_inputs(self.manifest)
        self.noise = manifest_noise(self.manifest)
        self.budget = manifest_budget(self.manifest, self.inputs)
        self.lost, self.head = lost, first_head(self.manifest.digest)
        self.spent = Fraction(0)
        shutil.copytree(finished.out / "approvals", out / "approvals")
        shutil.copy(finished.out / "manifest.json", out)
        self.parties = []
        for pid in range(N_PARTIES):
            begin = BeginLine(
                manifest=self.manifest.digest, party=pid, name=f"party-{pid}", version="1"
            )
            path = out / f"party-{pid}.jsonl"
            self.parties.append(Transcript(path, begin, finished.signer(f"party-{pid}")))
        uploads = {member.name: "a" * 64 for member in self.manifest.holders}
        self.write(FreezeLine(request="freeze", sha256="a" * 64, uploads=uploads))
        self.write(LoadedLine(cost={}))
        self.generator = np.random.default_rng(3)
        settings = aim_settings(self.manifest, len(uploads))
        run = aim(settings, self.inputs.workload, self.noise, MirrorDescent())
        with contextlib.suppress(BudgetExceeded):
            drive(run, self)
            self.write(FinishLine(rho_spent=str(self.spent), ledger=self.head))
        for transcript in self.parties:
            transcript.close()

    def write(self, entry, pids=range(N_PARTIES)) -> None:
        for pid in pids:
            self.parties[pid].write(entry)

    def charged(self, kind, request, cliques, rho: Fraction, delta: Fraction, **facts) -> bool:
        """Write a charge; party 2 has no line of a lost one. Return whether it is lost."""
        name = f"{kind.model_fields['event'].default}-{request.round}"
        name += f"-{request.attempt}" if request.attempt > 1 else ""
        entry = LedgerEntry(request=name, sha256="b" * 64, rho=str(rho), delta=str(delta))
        self.head, self.spent, self.name = head_of(self.head, entry), self.spent + rho, name
        places = [self.inputs.candidates.index(clique) for clique in cliques]
        charge = {**entry.model_dump(), "round": request.round, "candidates": places}
        lost = name == self.lost
        line = kind(**charge, ledger=self.head, **facts)
        self.write(line, range(2) if lost else range(N_PARTIES))
        if lost:
            for pid in range(N_PARTIES):
                charges = [entry] if pid == 2 else []
                self.write(
                    ResumedLine(charges=charges, lost=[name], ledger=self.head, cost={}), [pid]
                )
        return lost

    def select(self, request: requests.Select) -> int | requests.Lost:
        n = len(request.candidates)
        rho, delta = self.noise.select_rho(request.selection_epsilon), n * self.budget.per_candidate
        epsilon = str(request.selection_epsilon)
        facts = {"biases": list(request.biases), "selection_epsilon": epsilon}
        counts = counts_digest(request.model_counts)
        if self.charged(SelectLine, request, request.candidates, rho, delta, model_counts=counts,
                        **facts):  # fmt: skip
            return requests.Lost()
        index = int(self.generator.integers(n))
        clique = list(request.candidates[index])
        self.write(
            SelectedLine(
                request=self.name, round=request.round, index=index, clique=clique, cost={}
            )
        )
        return index

    def measure(self, request: requests.Measure) -> list[np.ndarray] | requests.Lost:
        n = len(request.cliques)
        rho = n * self.noise.measure_rho(request.sigma2)
        delta = n * self.budget.per_marginal
        if self.charged(
            MeasureLine, request, request.cliques, rho, delta, sigma2=str(request.sigma2)
        ):
            return requests.Lost()
        sizes = [self.inputs.domain.n_cells(clique) for clique in request.cliques]
        answer = [self.generator.integers(0, 4000 // size + 1, size) for size in sizes]
        self.write(
            MeasuredLine(
                request=self.name,
                round=request.round,
                cliques=[list(clique) for clique in request.cliques],
                marginals=self.parties[0].marginals(answer),
                cost={},
            )
        )
        return answer


@pytest.mark.parametrize("lost", ["", "measure-0", "select-1", "measure-1", "select-2"])
def test_a_job_with_a_lost_request_is_followed(finished: Job, tmp_path: Path, lost: str) -> None:
    Simulated(tmp_path, finished, lost)
    found = audit([tmp_path])
    assert [f for f in found.findings if "policy replay" in f.text] == []
    assert places(found) == set()
    # the one-ways take most of this budget: it does not pay for them twice
    assert found.verdict == ("partial" if lost == "measure-0" else "ok")
    warned = {f.source for f in found.findings if "taken up again" in f.text}
    assert warned == ({"party 0", "party 1", "party 2"} if lost else set())


def test_a_hidden_charge_of_a_crash_is_found(finished: Job, tmp_path: Path) -> None:
    Simulated(tmp_path / "transcript", finished, "select-1")
    shutil.copy(finished.out / "manifest.json", tmp_path)
    shutil.copytree(finished.out / "approvals", tmp_path / "approvals")

    def hide(lines: Lines) -> None:
        events(lines, "resumed")[0]["charges"] = []

    Job(tmp_path, finished.keys).forge("party-2", hide)
    fields = {(f.source, f.field) for f in audit([tmp_path]).findings if f.level == "error"}
    assert fields >= {("party 2", "ledger"), ("party 2", "rho_spent")}
    assert {source for source, _ in fields} == {"party 2"}
