"""Transcripts of a job that lost a request in a crash are followed, and what they hide is found."""

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from aim_core.arrays import Counts
from aim_core.domain import Clique
from aim_core.errors import BudgetExceeded
from aim_core.mechanisms import requests
from aim_core.mechanisms.aim import aim, drive
from aim_core.models.descent import MirrorDescent
from parties.agreement.derived import aim_settings, manifest_budget, manifest_noise
from parties.agreement.manifest import load_manifest
from parties.agreement.public_inputs import public_inputs
from parties.auditor.audit import audit
from parties.wire.entries import (
    BeginLine,
    Entry,
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
from parties.wire.transcript import Transcript, counts_digest
from tests.support.processes.finished_run import N_PARTIES, FinishedRun, Lines, events, places


class Simulated:
    """Transcripts of a job on made-up answers, of which one request is lost in a crash."""

    def __init__(self, out: Path, finished_run: FinishedRun, lost: str) -> None:
        self.manifest = load_manifest(finished_run.out / "manifest.json")
        self.inputs = public_inputs(self.manifest)
        self.noise = manifest_noise(self.manifest)
        self.budget = manifest_budget(self.manifest, self.inputs)
        self.lost, self.head = lost, first_head(self.manifest.digest)
        self.spent = Fraction(0)
        shutil.copytree(finished_run.out / "approvals", out / "approvals")
        shutil.copy(finished_run.out / "manifest.json", out)
        self.parties = []
        for pid in range(N_PARTIES):
            begin = BeginLine(
                manifest=self.manifest.digest, party=pid, name=f"party-{pid}", version="1"
            )
            path = out / f"party-{pid}.jsonl"
            self.parties.append(Transcript(path, begin, finished_run.signer(f"party-{pid}")))
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

    def write(self, entry: Entry, pids: Iterable[int] = range(N_PARTIES)) -> None:
        for pid in pids:
            self.parties[pid].write(entry)

    def charged(
        self,
        kind: type[SelectLine | MeasureLine],
        request: requests.Select | requests.Measure,
        cliques: Sequence[Clique],
        rho: Fraction,
        delta: Fraction,
        **facts: object,
    ) -> bool:
        """Write a charge; party 2 has no line of a lost one. Return whether it is lost."""
        name = f"{kind.model_fields['event'].default}-{request.round}"
        name += f"-{request.attempt}" if request.attempt > 1 else ""
        entry = LedgerEntry(request=name, sha256="b" * 64, rho=str(rho), delta=str(delta))
        self.head, self.spent, self.name = head_of(self.head, entry), self.spent + rho, name
        places = [self.inputs.candidates.index(clique) for clique in cliques]
        charge = {**entry.model_dump(), "round": request.round, "candidates": places}
        lost = name == self.lost
        line = kind.model_validate({**charge, "ledger": self.head, **facts})
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

    def measure(self, request: requests.Measure) -> list[Counts] | requests.Lost:
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
def test_a_job_with_a_lost_request_is_followed(
    finished_run: FinishedRun, tmp_path: Path, lost: str
) -> None:
    Simulated(tmp_path, finished_run, lost)
    found = audit([tmp_path])
    assert [f for f in found.findings if "policy replay" in f.text] == []
    assert places(found) == set()
    # the one-ways take most of this budget: it does not pay for them twice
    assert found.verdict == ("partial" if lost == "measure-0" else "ok")
    warned = {f.source for f in found.findings if "taken up again" in f.text}
    assert warned == ({"party 0", "party 1", "party 2"} if lost else set())


def test_a_hidden_charge_of_a_crash_is_found(finished_run: FinishedRun, tmp_path: Path) -> None:
    Simulated(tmp_path / "transcript", finished_run, "select-1")
    shutil.copy(finished_run.out / "manifest.json", tmp_path)
    shutil.copytree(finished_run.out / "approvals", tmp_path / "approvals")

    def hide(lines: Lines) -> None:
        events(lines, "resumed")[0]["charges"] = []

    FinishedRun(tmp_path, finished_run.keys).forge("party-2", hide)
    fields = {(f.source, f.field) for f in audit([tmp_path]).findings if f.level == "error"}
    assert fields >= {("party 2", "ledger"), ("party 2", "rho_spent")}
    assert {source for source, _ in fields} == {"party 2"}
