"""The policy replayed: AIM with the recorded answers must ask what was recorded.

The mechanism is deterministic but for floating point: it is fitted anew from the opened values,
and the model's rounded marginals enter the next request. In the environment that the estimator
wrote down (versions and processor) every digit is the same, and a difference is an error. In
another one a fit may differ in its last digits, and with them a rounded count; then a difference is
a warning that the policy is not confirmed here. The estimator could write down a false environment
to get away with a warning; it is not trusted with privacy, and costs, noise and agreement are
checked without it.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError

import numpy as np

from aim_core.domain import Clique
from aim_core.errors import AimError, BudgetExceeded
from aim_core.mechanisms.aim import aim
from aim_core.mechanisms.aim_terms import AimResult
from aim_core.mechanisms.requests import Answer, Lost, Request, Select
from parties.agreement.derived import aim_settings, manifest_noise
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.auditor.files import Account, TranscriptFile
from parties.auditor.findings import Findings
from parties.errors import ConfigError
from parties.wire.entries import (
    DriveLine,
    MeasuredLine,
    MeasureLine,
    ResultLine,
    SelectedLine,
    SelectLine,
)
from parties.wire.environment import environment
from parties.wire.transcript import counts_digest, values_digest

Run = Generator[Request, Answer, AimResult]


def replay(
    accounts: Sequence[Account],
    driver: TranscriptFile | None,
    result: ResultLine | None,
    manifest: Manifest,
    inputs: PublicInputs,
    findings: Findings,
) -> None:
    """Run the mechanism on the parties' answers and compare each request, then the final table.

    Where the parties' transcripts differ, which is a finding already, any one's answer is taken.
    What keeps the policy from being replayed, such as a fitter that is not installed here, is a
    finding: nobody may choose what is not looked at.
    """
    try:
        _replay(accounts, driver, result, manifest, inputs, findings)
    except (AimError, PackageNotFoundError) as error:
        findings.error("estimator", f"the policy cannot be replayed here: {error}")


def _replay(
    accounts: Sequence[Account],
    driver: TranscriptFile | None,
    result: ResultLine | None,
    manifest: Manifest,
    inputs: PublicInputs,
    findings: Findings,
) -> None:
    from aim_core.models.fitters import make_fitter  # slow to load

    first = driver.lines[0].entry if driver is not None and driver.lines else None
    drive = first if isinstance(first, DriveLine) else None
    differences = _Differences(drive, findings)
    estimator = make_fitter("numpy" if drive is None else drive.estimator)
    settings = aim_settings(manifest, max((account.n_holders for account in accounts), default=1))
    run = aim(settings, inputs.workload, manifest_noise(manifest), estimator)
    finished = any(account.finished for account in accounts)
    outcome = _compare_all(run, _merged(accounts), finished, inputs, differences)
    if outcome is not None and result is not None:
        codes = outcome.model.sample(result.rows, np.random.default_rng(result.sample_seed))
        if values_digest(codes) != result.codes:
            text = "the synthetic table is not drawn from the refitted model"
            differences.note(text, "estimator", None, "codes")


class _Differences:
    """Notes differences: as errors where digits must agree, as warnings elsewhere."""

    def __init__(self, drive: DriveLine | None, findings: Findings) -> None:
        self._findings = findings
        here = environment("numpy" if drive is None else drive.estimator)
        there = None if drive is None else drive.environment
        self._hint = ""
        if there is None:
            self._hint = "; the environment of the fits is not known, so this may be rounding"
        elif there != here:
            names = [name for name in here if there.get(name) != here[name]]
            self._hint = (
                f"; the fits were made with another {', '.join(names)}, so this may be rounding: "
                "repeat the audit in the environment of the estimator's transcript"
            )

    def note(self, text: str, source: str, line: int | None, name: str | None) -> None:
        """Note that the replay differs."""
        add = self._findings.warning if self._hint else self._findings.error
        add(source, f"policy replay: {text}{self._hint}", line=line, field=name)


@dataclass
class _Request:
    """One charged request, as all parties' transcripts together know it.

    `request` is None if no party wrote it down before a crash; `answer` is None if it was lost.
    """

    source: str
    line: int
    file: TranscriptFile
    request: SelectLine | MeasureLine | None
    answer: SelectedLine | MeasuredLine | None


def _merged(accounts: Sequence[Account]) -> list[_Request]:
    """Join the parties' requests, in the order of the charges, lost ones without an answer."""
    lost = {request for account in accounts for request in account.lost}
    found: dict[str, _Request] = {}
    for account in sorted(accounts, key=lambda account: len(account.charged), reverse=True):
        for step in account.charged:
            name = step.charge.request
            known = found.get(name)
            if known is None or (known.request is None and step.request is not None):
                known = found[name] = _Request(
                    account.source, step.line, account.file, step.request, None
                )
            if known.answer is None and step.answer is not None and name not in lost:
                known.file, known.answer = account.file, step.answer
    return list(found.values())


def _compare_all(
    run: Run,
    requests: Sequence[_Request],
    finished: bool,
    inputs: PublicInputs,
    differences: _Differences,
) -> AimResult | None:
    """Return the finished run, None where it could not be followed to its end."""
    index = {clique: number for number, clique in enumerate(inputs.candidates)}
    outcome: AimResult | None = None
    ended = False
    source, line = "job", None
    try:
        due = next(run)
        for recorded in requests:
            source, line = recorded.source, recorded.line
            if ended:
                differences.note("a request after the mechanism's end", source, line, None)
                return None
            if not _same(due, recorded, index, differences):
                return None
            try:
                due = run.send(_answer(recorded))
            except StopIteration as stop:
                outcome, ended = stop.value, True
            except BudgetExceeded:
                ended = True  # losses have spent what the one-ways needed: there is no result
    except (AimError, ConfigError) as error:
        differences.note(str(error), source, line, None)
        return None
    if outcome is None and finished:
        differences.note("the job ended before the mechanism did", source, line, None)
    return outcome


def _same(
    request: Request, recorded: _Request, index: Mapping[Clique, int], differences: _Differences
) -> bool:
    """Compare a request with the recorded one; False if the replay cannot go on after it."""
    written = recorded.request
    if written is None:
        return True  # charged and lost, and no party has a record of what it was
    if isinstance(request, Select) != isinstance(written, SelectLine):
        text = "another kind of request is due"
        differences.note(text, recorded.source, recorded.line, "event")
        return False
    due: dict[str, object]
    if isinstance(request, Select):
        due = {
            "candidates": [index[clique] for clique in request.candidates],
            "selection_epsilon": str(request.selection_epsilon),
            "biases": list(request.biases),
            "model_counts": counts_digest(request.model_counts),
        }
    else:
        due = {
            "candidates": [index[clique] for clique in request.cliques],
            "sigma2": str(request.sigma2),
        }
    due["round"] = request.round
    wrong = [name for name, value in due.items() if getattr(written, name) != value]
    for name in wrong:
        text = f"differs at round {written.round}: the policy asks for another {name}"
        differences.note(text, recorded.source, recorded.line, name)
    return "candidates" not in wrong


def _answer(recorded: _Request) -> Answer:
    if isinstance(recorded.answer, SelectedLine):
        return recorded.answer.index
    if isinstance(recorded.answer, MeasuredLine):
        return [recorded.file.array(marginal) for marginal in recorded.answer.marginals]
    return Lost()
