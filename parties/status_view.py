"""What a party's status page and metrics show: public facts, read from the job, never changed."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from parties.messages import StepCost
from parties.party_job import PartyJob

ALIVE_SECONDS = 10.0
"""A peer that was heard within this time counts as connected; heartbeats come every 2 seconds."""


@dataclass
class RoundView:
    """One round; `sigma` is None before its measurement, `n_lost` counts lost requests."""

    number: int
    cliques: list[str] = field(default_factory=list)
    sigma: float | None = None
    rho: Fraction = Fraction(0)
    n_bytes: int = 0
    seconds: float = 0.0
    n_lost: int = 0
    measured: bool = False


@dataclass(frozen=True)
class PeerView:
    """A peer; `silent` is for how many seconds nothing was heard, None while not connected."""

    pid: int
    name: str
    address: str
    silent: float | None

    @property
    def is_connected(self) -> bool:
        """Say whether the peer was heard lately."""
        return self.silent is not None and self.silent < ALIVE_SECONDS


@dataclass(frozen=True)
class StatusView:
    """All of it at one moment."""

    job: PartyJob
    peers: Sequence[PeerView]
    rounds: Sequence[RoundView]
    eta_seconds: float | None

    @property
    def spent(self) -> Fraction:
        """Return the rho that was charged."""
        return self.job.record.ledger.spent

    @property
    def budget(self) -> Fraction:
        """Return the rho that may be charged."""
        return self.job.record.ledger.budget

    @property
    def costs(self) -> Mapping[str, StepCost]:
        """Return what each step has cost this party."""
        return self.job.costs()

    @property
    def n_bytes(self) -> int:
        """Return the bytes sent to peers."""
        return sum(cost.bytes_sent for cost in self.costs.values())

    @property
    def n_lost(self) -> int:
        """Count the requests that were charged and lost."""
        return sum(view.n_lost for view in self.rounds)


def eta_of(job: PartyJob) -> float | None:
    """Return the seconds left at the rate at which the budget goes, None if there is none yet."""
    if job.state != "running" or job.pace is None:
        return None
    since, before = job.pace
    spent = job.record.ledger.spent
    if spent == before:
        return None
    rate = float(spent - before) / (time.monotonic() - since)
    return float(job.record.ledger.budget - spent) / rate


def view_of(job: PartyJob) -> StatusView:
    """Return what is to be shown now."""
    heard = job.heard()
    peers = [
        PeerView(pid, party.name, f"{party.host}:{party.port}", heard.get(pid))
        for pid, party in enumerate(job.manifest.parties)
        if pid != job.pid
    ]
    return StatusView(job, peers, rounds_of(job.record.transcript.entries), eta_of(job))


def rounds_of(entries: Sequence[Mapping[str, Any]]) -> list[RoundView]:
    """Gather the rounds from a transcript's lines; round 0 has the one-way marginals."""
    rounds: dict[int, RoundView] = {}
    round_of: dict[str, int] = {}
    for entry in entries:
        if entry["event"] == "resumed":
            for request in {*entry["lost"]} & round_of.keys():
                rounds[round_of[request]].n_lost += 1
        if "round" not in entry:
            continue
        view = rounds.setdefault(entry["round"], RoundView(entry["round"]))
        round_of[entry["request"]] = view.number
        _add(view, entry)
    return [rounds[number] for number in sorted(rounds)]


def _add(view: RoundView, entry: Mapping[str, Any]) -> None:
    match entry["event"]:
        case "select":
            view.rho += Fraction(entry["rho"])
        case "measure":
            view.rho += Fraction(entry["rho"])
            view.sigma = math.sqrt(Fraction(entry["sigma2"]))
        case "selected":
            view.cliques = [" × ".join(entry["clique"])]
        case "measured":
            view.cliques = [" × ".join(clique) for clique in entry["cliques"]]
            view.measured = True
    for cost in entry.get("cost", {}).values():
        view.n_bytes += cost["bytes_sent"]
        view.seconds += cost["seconds"]
