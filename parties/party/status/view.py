"""Looks at a party's job for its status page and metrics; never changes it."""

import math
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from parties.agreement.manifest import Manifest
from parties.pace import seconds_left
from parties.party.job import PartyJob
from parties.party.status.job_view import Agreed, JobView, PeerView, RoundView
from parties.wire.messages import JobState


def view_of(job: PartyJob) -> JobView:
    """Return what is to be shown now."""
    manifest, record, heard = job.manifest, job.record, job.heard()
    return JobView(
        pid=job.pid,
        name=manifest.parties[job.pid].name,
        agreed=_agreed(manifest),
        state=job.state,
        error=None if job.error is None else str(job.error),
        round=job.round,
        n_uploads=len(record.uploads.receipts),
        n_frozen=len(record.inputs or {}),
        n_charges=len(record.ledger.charges),
        spent=record.ledger.spent,
        budget=record.ledger.budget,
        costs=job.costs(),
        peers=tuple(
            PeerView(pid, party.name, f"{party.host}:{party.port}", heard.get(pid))
            for pid, party in enumerate(manifest.parties)
            if pid != job.pid
        ),
        rounds=tuple(rounds_of(record.transcript.entries)),
        eta_seconds=_eta(job),
        ledger_head=record.ledger.head,
        transcript_head=record.transcript.head,
    )


def _agreed(manifest: Manifest) -> Agreed:
    return Agreed(
        run=manifest.run,
        digest=manifest.digest,
        n_parties=manifest.n_parties,
        n_holders=len(manifest.holders),
        min_holders=manifest.min_holders,
        rounds=manifest.mechanism.rounds,
        epsilon=manifest.mechanism.epsilon,
        delta=manifest.mechanism.delta,
    )


def _eta(job: PartyJob) -> float | None:
    """Return the seconds left at the rate at which the budget goes, None if there is none yet."""
    if job.state is not JobState.RUNNING or job.pace is None:
        return None
    since, before = job.pace
    ledger = job.record.ledger
    spent, left = float(ledger.spent - before), float(ledger.budget - ledger.spent)
    return seconds_left(time.monotonic() - since, spent, left)


def rounds_of(entries: Sequence[Mapping[str, Any]]) -> list[RoundView]:
    """Gather the rounds from a transcript's lines; round 0 has the one-way marginals."""
    told: dict[int, list[Mapping[str, Any]]] = {}
    round_of: dict[str, int] = {}
    n_lost: dict[int, int] = {}
    for entry in entries:
        if entry["event"] == "resumed":
            for request in {*entry["lost"]} & round_of.keys():
                n_lost[round_of[request]] = n_lost.get(round_of[request], 0) + 1
        if "round" in entry:
            told.setdefault(entry["round"], []).append(entry)
            round_of[entry["request"]] = entry["round"]
    return [_round(number, told[number], n_lost.get(number, 0)) for number in sorted(told)]


def _round(number: int, entries: Sequence[Mapping[str, Any]], n_lost: int) -> RoundView:
    by_event = {entry["event"]: entry for entry in entries}
    selected, measure, measured = map(by_event.get, ("selected", "measure", "measured"))
    cliques = measured["cliques"] if measured else [selected["clique"]] if selected else []
    costs = [cost for entry in entries for cost in entry.get("cost", {}).values()]
    return RoundView(
        number=number,
        cliques=tuple(" × ".join(clique) for clique in cliques),
        sigma=math.sqrt(Fraction(measure["sigma2"])) if measure else None,
        rho=sum((Fraction(entry["rho"]) for entry in entries if "rho" in entry), Fraction(0)),
        n_bytes=sum(cost["bytes_sent"] for cost in costs),
        seconds=sum(cost["seconds"] for cost in costs),
        n_lost=n_lost,
        measured=measured is not None,
    )
