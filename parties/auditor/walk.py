"""One transcript's order: each event where it can be, each answer after its request."""

from parties.agreement.manifest import Manifest
from parties.auditor.files import Account, ChargedRequest, Line
from parties.auditor.findings import Findings
from parties.wire.entries import (
    FailedLine,
    FreezeLine,
    MeasuredLine,
    MeasureLine,
    ResumedLine,
    SelectedLine,
    SelectLine,
)
from parties.wire.messages import LedgerEntry


class Walk:
    """Goes through one transcript: each event where it can be, each answer after its request."""

    def __init__(self, account: Account, manifest: Manifest, findings: Findings) -> None:
        self._account, self._manifest, self._findings = account, manifest, findings
        self._phase = "new"
        self._asked: tuple[int, SelectLine | MeasureLine] | None = None

    def run(self) -> None:
        """Fill the account's charged requests, and say whether the job finished."""
        for line in self._account.file.lines:
            entry = line.entry
            if self._phase == "finish":
                self._wrong(line, "a line after the end of the job")
            if isinstance(entry, SelectLine | MeasureLine):
                self._ask(line, entry)
            elif isinstance(entry, SelectedLine | MeasuredLine):
                self._answer(line, entry)
            elif isinstance(entry, ResumedLine):
                self._resume(line, entry)
            elif isinstance(entry, FailedLine):
                text = f"the job failed here: {entry.error}: {entry.text}"
                self._findings.warning(self._account.source, text, line=line.number)
            else:
                self._move(line)
        self._leave_unanswered()
        self._account.finished = self._phase == "finish"

    def _ask(self, line: Line, entry: SelectLine | MeasureLine) -> None:
        self._leave_unanswered()
        self._asked = line.number, entry
        if self._phase != "loaded":
            self._wrong(line, "a request before the inputs were loaded")

    def _answer(self, line: Line, entry: SelectedLine | MeasuredLine) -> None:
        if self._asked is None or not _answers(self._asked[1], entry):
            self._wrong(line, "an answer to no request before it")
            self._leave_unanswered()
            return
        number, request = self._asked
        self._account.charged.append(
            ChargedRequest(number, _charge(request), request, line.number, entry)
        )
        self._asked = None

    def _resume(self, line: Line, entry: ResumedLine) -> None:
        """Take the charges and losses of a crash; the job goes on."""
        self._leave_unanswered()
        if self._phase != "loaded":
            self._wrong(line, "the job cannot be taken up again here")
        for charge in entry.charges:
            self._account.charged.append(
                ChargedRequest(line.number, charge, None, line.number, None)
            )
        self._account.lost.update(entry.lost)
        lost = f"; lost: {', '.join(entry.lost)}" if entry.lost else ""
        text = f"the job was taken up again after a failure{lost}"
        self._findings.warning(self._account.source, text, line=line.number)

    def _leave_unanswered(self) -> None:
        if self._asked is None:
            return
        number, request = self._asked
        self._account.charged.append(
            ChargedRequest(number, _charge(request), request, number, None)
        )
        text = f"{request.request} was charged and not answered"
        self._findings.warning(self._account.source, text, line=number)
        self._asked = None

    def _move(self, line: Line) -> None:
        event = line.entry.event
        if (self._phase, event) not in _NEXT:
            self._wrong(line, f"{event!r} cannot come here")
        self._phase = event
        if isinstance(line.entry, FreezeLine):
            _check_freeze(self._account, line, line.entry, self._manifest, self._findings)

    def _wrong(self, line: Line, text: str) -> None:
        self._findings.error(self._account.source, text, line=line.number, field="event")


_NEXT = {("new", "begin"), ("begin", "freeze"), ("freeze", "loaded"), ("loaded", "finish")}


def _charge(request: SelectLine | MeasureLine) -> LedgerEntry:
    return LedgerEntry(
        request=request.request, sha256=request.sha256, rho=request.rho, delta=request.delta
    )


def _answers(request: SelectLine | MeasureLine, answer: SelectedLine | MeasuredLine) -> bool:
    kinds = isinstance(request, SelectLine) == isinstance(answer, SelectedLine)
    return kinds and (request.request, request.round) == (answer.request, answer.round)


def _check_freeze(
    account: Account, line: Line, entry: FreezeLine, manifest: Manifest, findings: Findings
) -> None:
    known = {member.name for member in manifest.holders}
    if not known.issuperset(entry.uploads) or len(entry.uploads) < manifest.min_holders:
        findings.error(
            account.source,
            f"{len(entry.uploads)} holders take part, of whom "
            f"{len(known.intersection(entry.uploads))} are in the manifest, which asks for "
            f"{manifest.min_holders}",
            line=line.number,
            field="uploads",
        )
