"""An untouched run passes its audit; whatever is changed in it is found and placed."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from parties.auditor.audit import audit
from parties.cli.app import app
from parties.identity.certificates import make_identity
from parties.identity.signatures import Signer
from parties.wire.ledger_chain import first_head, head_of
from parties.wire.messages import LedgerEntry
from parties.wire.run_facts import RunFacts
from parties.wire.transcript import values_digest
from tests.support.processes.finished_run import N_PARTIES, FinishedRun, Lines, events, places


@pytest.fixture
def job(finished_run: FinishedRun, tmp_path: Path) -> FinishedRun:
    return finished_run.copy(tmp_path / "out")


def number_of(job: FinishedRun, event: str, nth: int = 0) -> int:
    texts = (job.out / "transcript" / "party-1.jsonl").read_text().splitlines()
    return [k for k, text in enumerate(texts, 1) if json.loads(text)["event"] == event][nth]


def test_an_untouched_run_is_ok(finished_run: FinishedRun) -> None:
    found = audit([finished_run.out])
    assert (found.verdict, found.findings) == ("ok", ())
    assert (found.parties, found.rounds) == ((0, 1, 2), 2)
    facts = RunFacts.model_validate_json((finished_run.out / "run.json").read_bytes())
    assert str(found.rho_spent) == facts.exact.rho_spent
    assert str(found.rho_budget) == facts.exact.rho_budget


def test_a_folder_per_party_and_a_missing_one(finished_run: FinishedRun, tmp_path: Path) -> None:
    for pid in (0, 2):
        shutil.copytree(finished_run.out / "transcript", tmp_path / str(pid))
        for other in {0, 1, 2, "x"} - {pid}:
            name = "estimator" if other == "x" else f"party-{other}"
            (tmp_path / str(pid) / f"{name}.jsonl").unlink()
    found = audit([tmp_path / "0", tmp_path / "2"], finished_run.out / "manifest.json")
    assert found.verdict == "ok"
    assert places(found, "warning") == {("party 1", None, None), ("estimator", None, None)}


def test_swapped_dropped_and_added_lines_are_found(job: FinishedRun) -> None:
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
        assert audit([job.out]).verdict == "failed", name


def test_all_parties_without_a_last_line_are_partial(job: FinishedRun) -> None:
    for pid in range(N_PARTIES):
        path = job.out / "transcript" / f"party-{pid}.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-1]))
    # the estimator's signed last line says that they had finished
    assert places(audit([job.out])) >= {("estimator", 2, "transcripts")}
    (job.out / "transcript" / "estimator.jsonl").unlink()
    assert audit([job.out]).verdict == "partial"


def test_lines_signed_with_another_key_are_found(job: FinishedRun, tmp_path: Path) -> None:
    stranger = make_identity("party-1", tmp_path / "stranger")
    job.forge("party-1", lambda lines: None, Signer(stranger.key_path))
    found = audit([job.out])
    assert ("party 1", 1, "signature") in places(found)
    assert {source for source, _, _ in places(found)} <= {"party 1", "estimator"}


def test_a_party_with_another_answer_is_named(job: FinishedRun) -> None:
    def edit(lines: Lines) -> None:
        marginal = events(lines, "measured")[1]["marginals"][0]
        marginal["values"][0] += 1
        marginal["sha256"] = values_digest(np.array(marginal["values"]))

    job.forge("party-1", edit)
    assert ("party 1", number_of(job, "measured", 1), "marginals") in places(audit([job.out]))


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
    job: FinishedRun, event: str, name: str, value: object
) -> None:
    """All parties write the same, correctly signed: the costs and the policy give it away."""
    line = number_of(job, event)

    def edit(lines: Lines) -> None:
        assert name in lines[line - 1]
        lines[line - 1][name] = value

    job.forge_all(edit)
    (job.out / "transcript" / "estimator.jsonl").unlink()  # or its heads would give it away
    found = audit([job.out])
    assert found.verdict == "failed"
    assert any(f.line is not None and f.line >= line for f in found.findings if f.level == "error")


def test_the_policy_is_replayed(job: FinishedRun) -> None:
    """The parties' lines are all consistent; only the mechanism asks for something else."""
    line = number_of(job, "select", 1)

    def other_model(lines: Lines) -> None:
        lines[line - 1]["model_counts"] = "0" * 64

    job.forge_all(other_model)
    found = audit([job.out])
    assert ("party 0", line, "model_counts") in places(found)

    def elsewhere(lines: Lines) -> None:
        lines[0]["environment"]["numpy"] = "1.0"

    job.forge("estimator", elsewhere)
    found = audit([job.out])
    assert ("party 0", line, "model_counts") in places(found, "warning")
    texts = [finding.text for finding in found.findings if finding.line == line]
    assert any("another numpy" in text for text in texts)


def test_a_fitter_that_is_not_installed_here_hides_nothing(
    job: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimator names its fitter; the auditor may lack it. The other checks still tell."""
    line = number_of(job, "measured", 1)

    def other_rho(lines: Lines) -> None:
        lines[line - 1]["request"] = "measure-9"

    def by_mbi(lines: Lines) -> None:
        lines[0]["estimator"] = "mbi"

    job.forge("party-0", other_rho)
    job.forge("estimator", by_mbi)
    monkeypatch.setitem(sys.modules, "mbi", None)
    found = audit([job.out])
    assert any("cannot be replayed here" in finding.text for finding in found.findings)
    assert {source for source, _, _ in places(found)} >= {"party 0", "estimator"}


def test_a_changed_opened_value_changes_the_fit(job: FinishedRun) -> None:
    def edit(lines: Lines) -> None:
        marginal = events(lines, "measured")[0]["marginals"][0]
        marginal["values"][0] += 1000
        marginal["sha256"] = values_digest(np.array(marginal["values"]))

    job.forge_all(edit)
    assert ("party 0", number_of(job, "select"), "model_counts") in places(audit([job.out]))


def test_overspending_is_found(job: FinishedRun) -> None:
    """One more measurement, correctly written, after the budget has been spent."""
    manifest = audit([job.out]).manifest

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
    texts = [f.text for f in audit([job.out]).findings if f.field == "rho" and f.level == "error"]
    assert len(texts) == N_PARTIES
    assert "overspends" in texts[0]


def test_a_false_synthetic_table_is_found(job: FinishedRun) -> None:
    job.forge("estimator", lambda lines: lines[-1].update(codes="0" * 64))
    found = audit([job.out])
    assert places(found) == {("estimator", None, "codes")}


def test_a_manifest_that_was_changed_is_found(job: FinishedRun) -> None:
    path = job.out / "manifest.json"
    raw = json.loads(path.read_text())
    raw["mechanism"]["epsilon"] = "1/2"
    path.write_text(json.dumps(raw))
    found = audit([job.out])
    assert {("party 0", 1, "manifest"), ("manifest", None, "mechanism")} <= places(found)
    assert ("manifest", None, "approvals") in places(found)


def test_large_marginals_beside_are_checked(job: FinishedRun) -> None:
    folder = job.out / "transcript" / "party-0"

    def move(lines: Lines) -> None:
        marginal = events(lines, "measured")[-1]["marginals"][0]
        folder.mkdir(exist_ok=True)
        name = f"{marginal['sha256'][:16]}.npy"
        np.save(folder / name, np.array(marginal.pop("values"), "<i8"))
        marginal["file"] = f"party-0/{name}"

    job.forge("party-0", move)
    (job.out / "transcript" / "estimator.jsonl").unlink()
    assert audit([job.out]).verdict == "ok"
    array = next(folder.iterdir())
    values = np.load(array)
    values[0] += 1
    np.save(array, values)
    assert {name for _, _, name in places(audit([job.out]))} == {"marginals"}
    array.unlink()
    assert {name for _, _, name in places(audit([job.out]))} == {"marginals"}


def test_the_command_reports_and_exits(job: FinishedRun) -> None:
    runner = CliRunner()
    good = runner.invoke(app, ["audit", str(job.out), "--json"])
    assert (good.exit_code, json.loads(good.stdout)["verdict"]) == (0, "ok")
    job.forge("party-1", lambda lines: lines[-1].update(rho_spent="1/7"))
    bad = runner.invoke(app, ["audit", str(job.out)])
    assert bad.exit_code == 5
    assert "party 1, line" in bad.stdout
    missing = runner.invoke(app, ["audit", str(job.out / "demo")])
    assert missing.exit_code == 2
