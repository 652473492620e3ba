"""What the roles' transcripts say of each other: parties are compared, then the estimator's end."""

from collections import Counter
from collections.abc import Sequence

from parties.auditor.files import Account, Line, TranscriptFile
from parties.auditor.findings import Findings
from parties.canonical import canonical
from parties.wire.entries import Entry, FailedLine, FinishLine, ResultLine, ResumedLine


def check_agreement(accounts: dict[int, Account], findings: Findings) -> None:
    """Compare the parties' lines about the same thing; where they differ, the fewer are named.

    Their order needs no comparison: it is in the ledger's heads. Lines about requests that were
    lost may be missing; all others must be there.
    """
    lost = {request for account in accounts.values() for request in account.lost}
    views = {pid: _by_topic(account) for pid, account in accounts.items()}
    topics = list(dict.fromkeys(topic for view in views.values() for topic in view))
    anyone_finished = any(account.finished for account in accounts.values())
    for topic in topics:
        here = {pid: view[topic] for pid, view in views.items() if topic in view}
        _compare(here, accounts, findings)
        missing = [] if topic[1] in lost else [pid for pid in views if pid not in here]
        for pid in missing:
            if accounts[pid].finished:
                text = f"has no line {topic[0]!r} of {topic[1] or 'the job'}, as other parties have"
                findings.error(accounts[pid].source, text)
    for account in accounts.values():
        if anyone_finished and not account.finished:
            last = account.file.lines[-1].number if account.file.lines else None
            text = "ends here, though other parties finished: lines are missing"
            findings.error(account.source, text, line=last)


def _by_topic(account: Account) -> dict[tuple[str, str], Line]:
    """Return the lines that parties have in common, by event and request."""
    return {
        (line.entry.event, getattr(line.entry, "request", "")): line
        for line in account.file.lines
        if not isinstance(line.entry, FailedLine | ResumedLine)
    }


def _compare(here: dict[int, Line], accounts: dict[int, Account], findings: Findings) -> None:
    texts = {pid: canonical(line.entry.public()) for pid, line in here.items()}
    counts = Counter(texts.values())
    if len(counts) == 1:
        return
    common, n_common = counts.most_common(1)[0]
    sample = next(line.entry for pid, line in here.items() if texts[pid] == common)
    tie = 2 * n_common <= len(here)
    for pid, line in here.items():
        if texts[pid] != common or tie:
            other = next(o.entry for p, o in here.items() if texts[p] != texts[pid])
            field_ = _differing(line.entry, other if tie else sample)
            text = "differs from the other parties"
            findings.error(accounts[pid].source, text, line=line.number, field=field_)


def _differing(entry: Entry, other: Entry) -> str | None:
    mine, theirs = entry.public(), other.public()
    return next((k for k in mine if k not in theirs or mine[k] != theirs[k]), None)


def check_estimator(
    drivers: Sequence[TranscriptFile], accounts: dict[int, Account], findings: Findings
) -> ResultLine | None:
    """Hold the estimator's last line against the parties' transcripts; return it."""
    if not drivers:
        text = "its transcript is not here; the fits are not compared with its program's"
        findings.warning("estimator", text)
        return None
    lines = drivers[0].lines
    result = next((line for line in lines if isinstance(line.entry, ResultLine)), None)
    if result is None or not isinstance(result.entry, ResultLine):
        if any(account.finished for account in accounts.values()):
            findings.error("estimator", "its transcript has no result, though parties finished")
        return None
    entry = result.entry
    for pid, account in accounts.items():
        last = account.file.lines[-1] if account.file.lines else None
        if last is None or not isinstance(last.entry, FinishLine):
            text = f"party {pid} finished, but its transcript does not say so"
            findings.error("estimator", text, line=result.number, field="transcripts")
        elif pid >= len(entry.transcripts) or entry.transcripts[pid] != last.previous:
            text = f"party {pid} has another transcript than at the end of the job"
            findings.error("estimator", text, line=result.number, field="transcripts")
        elif (entry.ledger, entry.rho_spent) != (last.entry.ledger, last.entry.rho_spent):
            text = f"party {pid} ended with another ledger"
            findings.error("estimator", text, line=result.number, field="ledger")
    return entry
