"""What requests cost: computed anew from the manifest and held against a party's ledger."""

from dataclasses import dataclass
from fractions import Fraction

from aim_core.errors import AimError
from aim_core.privacy.noise_facts import Noise
from parties.agreement.budget import Budget
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.values import parse_fraction
from parties.auditor.files import Account, ChargedRequest, Line
from parties.auditor.findings import Findings
from parties.wire.entries import (
    FinishLine,
    MeasuredLine,
    MeasureLine,
    SelectedLine,
    SelectLine,
)
from parties.wire.ledger_chain import first_head, head_of
from parties.wire.messages import SELECTION_EPSILON_CAP


@dataclass
class Costs:
    """What requests cost, computed from the manifest."""

    manifest: Manifest
    inputs: PublicInputs
    budget: Budget | None
    noise: Noise

    def check(self, account: Account, findings: Findings) -> None:
        """Recompute every charge, the ledger's heads and the sums; hold them against the budget."""
        rho_spent, delta_spent = Fraction(0), Fraction(0)
        head = first_head(self.manifest.digest)
        for step in account.charged:

            def wrong(name: str, text: str, line: int = step.line) -> None:
                findings.error(account.source, text, line=line, field=name)

            rho_spent += Fraction(step.charge.rho)
            delta_spent += Fraction(step.charge.delta)
            head = head_of(head, step.charge)
            if rho_spent > parse_fraction(self.manifest.mechanism.rho):
                wrong("rho", "this request overspends the manifest's rho")
            if self.budget is not None and delta_spent > self.budget.distance:
                wrong("delta", "this request draws more noise than delta pays for")
            if step.request is not None:
                self._check_request(account, step, step.request, head, findings)
        for line in account.file.lines:
            if isinstance(line.entry, FinishLine):
                _check_finish(account, line, line.entry, rho_spent, head, findings)

    def _check_request(
        self,
        account: Account,
        step: ChargedRequest,
        request: SelectLine | MeasureLine,
        head: str,
        findings: Findings,
    ) -> None:
        """Recompute what one request costs, and check its answer."""
        if max(request.candidates) >= len(self.inputs.candidates):
            text = "a candidate is not in the workload's closure"
            findings.error(account.source, text, line=step.line, field="candidates")
            return
        for name, due in self._due(step.line, request, findings, account.source).items():
            if getattr(request, name) != str(due):
                text = f"written is {getattr(request, name)}, the request costs {due}"
                findings.error(account.source, text, line=step.line, field=name)
        if head != request.ledger:
            text = "the ledger's head does not follow from the charges"
            findings.error(account.source, text, line=step.line, field="ledger")
        cliques = [list(self.inputs.candidates[index]) for index in request.candidates]
        self._check_answer(account, step, cliques, findings)

    def _due(
        self, line: int, request: SelectLine | MeasureLine, findings: Findings, source: str
    ) -> dict[str, Fraction]:
        n = len(request.candidates)
        due: dict[str, Fraction] = {}
        try:
            if isinstance(request, SelectLine):
                epsilon = Fraction(request.selection_epsilon)
                if not 0 < epsilon <= SELECTION_EPSILON_CAP or len(request.biases) != n:
                    text = "epsilon out of range, or not one bias per candidate"
                    findings.error(source, text, line=line, field="selection_epsilon")
                due["rho"] = self.noise.select_rho(epsilon)
            else:
                sigma2 = Fraction(request.sigma2)
                if not 0 < sigma2 <= parse_fraction(self.manifest.sigma2_max):
                    text = "sigma squared is 0 or above the manifest's sigma2_max"
                    findings.error(source, text, line=line, field="sigma2")
                due["rho"] = n * self.noise.measure_rho(sigma2)
        except AimError as error:
            findings.error(source, str(error), line=line, field="sigma2")
        if self.budget is not None:
            select = isinstance(request, SelectLine)
            due["delta"] = n * (self.budget.per_candidate if select else self.budget.per_marginal)
        return due

    def _check_answer(
        self, account: Account, step: ChargedRequest, cliques: list[list[str]], findings: Findings
    ) -> None:
        """Check that an answer names the cliques that were asked for."""
        source, line = account.source, step.answer_line
        if isinstance(step.answer, SelectedLine):
            if step.answer.index >= len(cliques):
                findings.error(source, "no such candidate was asked for", line=line, field="index")
            elif step.answer.clique != cliques[step.answer.index]:
                findings.error(source, "not the candidate at the index", line=line, field="clique")
        elif isinstance(step.answer, MeasuredLine):
            if step.answer.cliques != cliques:
                findings.error(source, "not the cliques asked for", line=line, field="cliques")
            sizes = [self.inputs.domain.n_cells(tuple(clique)) for clique in cliques]
            account.file.check_arrays(step.answer, sizes, line, findings)


def _check_finish(
    account: Account, line: Line, entry: FinishLine, spent: Fraction, head: str, findings: Findings
) -> None:
    if Fraction(entry.rho_spent) != spent:
        text = f"written is {entry.rho_spent}, the charges add up to {spent}"
        findings.error(account.source, text, line=line.number, field="rho_spent")
    if entry.ledger != head:
        text = "the ledger's head does not follow from the charges"
        findings.error(account.source, text, line=line.number, field="ledger")
