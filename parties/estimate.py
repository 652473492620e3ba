"""`distaim estimate`: what a job will take, before anything runs.

Every figure says what it is. "exact": follows from the manifest, as do uploads, the budget, and
what is done once on all cells, where they are few enough to be rehearsed as they are. "estimate":
rests on an assumption that is listed, or on a time measured on this machine: the secure steps are
rehearsed (`parties.rehearsal`), and so is the policy, on made-up data (`parties.policy_rehearsal`).
What lies outside the steps, and the engine on MPyC, are measured by a small run of all processes
(`parties.trial_run`). Bounds are named as such.
"""

import os
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from mpc.sharing import ring
from parties.engine import (
    access_structure,
    manifest_budget,
    ring_parameters,
    upload_format,
)
from parties.errors import ConfigError
from parties.manifest import Manifest, PublicInputs, parse_fraction, public_inputs
from parties.policy_rehearsal import PolicyRehearsal, rehearse_policy
from parties.rehearsal import REHEARSED_CELLS, Cost, Rehearsal, rehearse
from parties.trial_run import Trial, try_out

Basis = Literal["exact", "estimate"]

MOST_AHEAD = 1 << 14
"""See `mpc.bank.MAX_GAUSSIANS`."""

_LOCAL_ROUND = 3.0
"""A round between processes on one machine takes so many times its computation in one process."""

_UPLOAD_RATE = 150e6
"""Bytes per second that a holder's program and a party's API pass on where the line is no limit."""

_BYTES_PER_CELL = 2
"""Copies of a party's components of all cells at the peak, while they are summed and prepared."""


@dataclass(frozen=True)
class Link:
    """A line between sites: bits per second (each way, per site) and seconds of a round trip."""

    bandwidth: float
    rtt: float


@dataclass(frozen=True)
class StepFigure:
    """One step over the whole job: bytes sent per party (mean), rounds, seconds, privacy cost.

    `basis` is for bytes and rounds; seconds are always estimates. `most_bytes` is a bound on the
    bytes for this number of rounds, where one is known.
    """

    step: str
    n_bytes: int
    rounds: int
    seconds: float
    basis: Basis
    rho: float = 0.0
    most_bytes: int | None = None


@dataclass(frozen=True)
class Estimate:
    """All figures of a job; `assumptions` say what the estimates rest on."""

    manifest: str
    rounds: int
    rounds_most: int
    holders: int
    cells: int
    candidates: int
    sigma_first: float
    rho_budget: float
    delta_reserved: float
    upload_bytes_per_holder: int
    request_bytes: int
    memory_mb_per_party: int
    steps: tuple[StepFigure, ...]
    assumptions: tuple[str, ...]

    @property
    def bytes_sent_per_party(self) -> int:
        """The mean bytes that a compute party sends to its peers."""
        return sum(step.n_bytes for step in self.steps)

    @property
    def seconds(self) -> float:
        """The whole job's duration."""
        return sum(step.seconds for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as a JSON object, with its sums."""
        totals = {"bytes_sent_per_party": self.bytes_sent_per_party, "seconds": self.seconds}
        return {**asdict(self), **totals}


def estimate(manifest: Manifest, link: Link | None = None, holders: int | None = None) -> Estimate:
    """Estimate a job: on this machine alone, or with sites that are joined by a link.

    `holders` is how many upload; None: all that the manifest lists. ConfigError for more holders
    than listed, and for the shamir engine over a link. JobFailed if the trial run does not work.
    """
    if manifest.engine == "shamir" and link is not None:
        raise ConfigError(
            "MPyC does not count rounds, so jobs of engine shamir are estimated for one machine "
            "only; leave out --bandwidth and --rtt, or use engine replicated"
        )
    n_holders = len(manifest.holders) if holders is None else holders
    if not 1 <= n_holders <= len(manifest.holders):
        raise ConfigError(
            f"{n_holders} holders; the manifest lists {len(manifest.holders)}, name 1 to that many"
        )
    inputs = public_inputs(manifest)
    policy = rehearse_policy(manifest, inputs)
    # noise and input checks are the same in both engines
    rehearsed = manifest.model_copy(update={"engine": "replicated"})
    secure = rehearse(rehearsed, inputs, policy.epsilon, list({policy.sigma2, *policy.variances}))
    trial = try_out(manifest, inputs, n_holders) if link is None else None
    clock = _Clock(manifest, link, secure.agree.seconds)
    steps = _Steps(manifest, inputs, policy, secure, trial, clock, n_holders)
    form = upload_format(manifest, inputs)
    d = len(inputs.domain.attributes)
    return Estimate(
        manifest=manifest.digest,
        rounds=policy.rounds,
        rounds_most=manifest.mechanism.rounds or 16 * d,
        holders=n_holders,
        cells=sum(inputs.sizes),
        candidates=len(inputs.candidates),
        sigma_first=float(policy.sigma2) ** 0.5,
        rho_budget=float(parse_fraction(manifest.mechanism.rho)),
        delta_reserved=float(manifest_budget(manifest, inputs).delta_reserved),
        upload_bytes_per_holder=sum(form.body_size(pid) for pid in range(manifest.n_parties)),
        request_bytes=policy.request_bytes,
        memory_mb_per_party=_memory_mb(manifest, inputs),
        steps=tuple(steps.all()),
        assumptions=_assumptions(manifest, link, policy),
    )


class _Clock:
    """Turns costs into seconds: the parties' computing, the line, the rounds."""

    def __init__(self, manifest: Manifest, link: Link | None, round_seconds: float) -> None:
        self._m, self.link = manifest.n_parties, link
        self._cores = os.cpu_count() or 1
        self._round = _LOCAL_ROUND * round_seconds if link is None else link.rtt / 2

    def computing(self, seconds: float, n_tasks: int) -> float:
        """Return the duration of work that `n_tasks` processes share equally."""
        together = n_tasks if self.link is not None else min(n_tasks, self._cores)
        return seconds / together

    def secure(self, cost: Cost) -> float:
        """Return the duration of a secure step at all parties."""
        line = 0.0 if self.link is None else 8 * cost.n_bytes / self._m / self.link.bandwidth
        return self.computing(cost.seconds, self._m) + line + cost.rounds * self._round

    def transfer(self, n_bytes: float) -> float:
        """Return the duration of sending bytes from one site."""
        if self.link is None:
            return n_bytes / _UPLOAD_RATE
        return max(n_bytes / _UPLOAD_RATE, 8 * n_bytes / self.link.bandwidth) + self.link.rtt


@dataclass(frozen=True)
class _Steps:
    """The figures of every step."""

    manifest: Manifest
    inputs: PublicInputs
    policy: PolicyRehearsal
    secure: Rehearsal
    trial: Trial | None
    clock: _Clock
    n_holders: int

    @property
    def rounds(self) -> int:
        """Count the rounds."""
        return self.policy.rounds

    def all(self) -> list[StepFigure]:
        """Return the steps in their order."""
        if self.manifest.engine == "shamir" and self.trial is not None:
            secure = self._shamir(self.trial)
        else:
            secure = self._replicated()
        return [
            *([self._local("start and end", self.trial.start_seconds)] if self.trial else []),
            self._collect(),
            *secure,
            self._local("requests", self.rounds * self._request_seconds()),
            self._local("fit", self.policy.fit_seconds * self.rounds),
            self._local("model marginals", self.policy.marginals_seconds * self.rounds),
            self._local("sample", self.policy.sample_seconds),
        ]

    def _collect(self) -> StepFigure:
        """Add up counting, sharing, uploading; holders work side by side, or on one machine."""
        form = upload_format(self.manifest, self.inputs)
        n_bytes = sum(form.body_size(pid) for pid in range(self.manifest.n_parties))
        n_serial = 1 if self.clock.link is not None else self.n_holders
        counting = self.policy.count_seconds / (self.n_holders if self.clock.link else 1)
        sharing = n_serial * (self.secure.share.seconds + self.clock.transfer(n_bytes))
        adding = self.clock.computing(
            self.n_holders * self.secure.add.seconds, self.manifest.n_parties
        )
        return self._local("collect", counting + sharing + adding)

    def _load(self, name: str, cost: Cost) -> StepFigure:
        """Return a step of loading: done once, or for each round's holders."""
        all_join = parse_fraction(self.manifest.mechanism.participation) == 1
        exact = all_join and self.policy.all_cells <= REHEARSED_CELLS
        n_loads = 1 if all_join else 1 + self.rounds
        return self._secure(name, cost.repeated(n_loads), "exact" if exact else "estimate")

    def _agree(self) -> StepFigure:
        fixed = self.manifest.mechanism.rounds is not None
        agree = self.secure.agree.repeated(2 * self.rounds + 3)
        return self._secure("agree", agree, "exact" if fixed else "estimate")

    def _shamir(self, trial: Trial) -> list[StepFigure]:
        """Return the steps of the engine on MPyC, whose work grows with the cells it works on.

        A cell is converted from the ring when it is prepared, with t comparisons; a cell of the
        noise, which is signed, with one more. The noise itself is that of the other engine.
        """
        growth, n_rounds = self.policy.all_cells / trial.n_cells, self.rounds
        threshold, n_oneways = self.manifest.threshold, len(self.inputs.domain)
        opened = self.policy.oneway_cells + n_rounds * self.policy.mean_cells
        converted = (threshold + 1) / threshold * opened / trial.n_cells
        drawn = n_rounds * self.policy.noise_cells + n_oneways * _padded(1)
        unit = self.secure.gaussian[self.policy.sigma2]
        noise = Cost(
            unit.n_bytes * drawn, unit.rounds * (n_rounds + n_oneways), unit.seconds * drawn
        )
        rho, prepare = self._rho(), _trial_cost(trial, "prepare")
        return [
            self._load("check", self.secure.check),
            self._tried("prepare", prepare.scaled(growth)),
            self._agree(),
            self._tried("score", _trial_cost(trial, "score").scaled(growth * n_rounds)),
            self._tried("select", _trial_cost(trial, "select").scaled(n_rounds), rho[0]),
            self._tried("measure", prepare.scaled(converted), rho[1]),
            self._secure("noise", noise, "estimate"),
        ]

    def _tried(self, name: str, cost: Cost, rho: float = 0.0) -> StepFigure:
        """Return a step that a trial run has measured: one party's bytes, seconds here."""
        return StepFigure(
            name, round(cost.n_bytes), round(cost.rounds), cost.seconds, "estimate", rho
        )

    def _replicated(self) -> list[StepFigure]:
        secure, n_rounds, policy = self.secure, self.rounds, self.policy
        score, most = (self._score(n) for n in (policy.nonzero_cells, policy.nonzero_most))
        opened = policy.oneway_cells + n_rounds * policy.mean_cells
        opening = Cost(secure.opening.n_bytes * opened, secure.opening.rounds * (n_rounds + 1),
                       secure.opening.seconds * opened)  # fmt: skip
        rho = self._rho()
        scoring = self._secure("score", score.repeated(n_rounds), "estimate")
        most_bytes = round(most.n_bytes * n_rounds / self.manifest.n_parties)
        return [
            self._load("check", secure.check),
            self._load("prepare", secure.prepare),
            self._agree(),
            replace(scoring, most_bytes=most_bytes),
            self._secure("select", secure.select.repeated(n_rounds), "estimate", rho[0]),
            self._secure("measure", opening, "estimate", rho[1]),
            self._noise(),
        ]

    def _score(self, n_cells: int) -> Cost:
        """Return the cost of scoring all candidates with so many model counts above 0."""
        fixed, cell = self.secure.score_fixed, self.secure.score_cell
        return fixed + Cost(n_cells * cell.n_bytes, cell.rounds, n_cells * cell.seconds)

    def _request_seconds(self) -> float:
        """One selection's way to the parties: packed once, sent to all, unpacked by each."""
        unpacking = self.clock.computing(
            self.policy.unpack_seconds * self.manifest.n_parties, self.manifest.n_parties
        )
        sending = self.clock.transfer(self.policy.request_bytes * self.manifest.n_parties)
        return self.policy.pack_seconds + sending + unpacking

    def _noise(self) -> StepFigure:
        """Add up all noise, joint noise also what is made ahead and not used.

        On machines of their own the parties make it while the estimator fits.
        """
        policy, n_rounds = self.policy, self.rounds
        joint = self.manifest.noise == "joint"
        ahead = min(max(self.inputs.sizes), MOST_AHEAD) if joint else 0
        total = self.secure.gumbel.repeated(n_rounds + (1 if joint else 0))
        variances = list(dict.fromkeys([policy.sigma2, *policy.variances]))
        for variance in variances:
            unit = self.secure.gaussian[variance]
            n = policy.variances.get(variance, 0)
            oneways = _padded(policy.oneway_cells) if variance == policy.sigma2 else 0
            unused = _padded(ahead)
            if unused and variance == variances[-1]:
                # the end of the job stops what is made ahead after the last request
                whole = self.clock.secure(unit.scaled(unused))
                unused = round(unused * min(1.0, policy.fit_seconds / whole))
            cells = n * policy.noise_cells + unused + oneways
            total += Cost(unit.n_bytes * cells, unit.rounds * (n + 1), unit.seconds * cells)
        figure = self._secure("noise", total, "estimate")
        if self.clock.link is None or not joint:
            return figure
        hidden = min(figure.seconds, n_rounds * (policy.fit_seconds + policy.marginals_seconds))
        return replace(figure, seconds=figure.seconds - hidden)

    def _rho(self) -> tuple[float, float]:
        """Return what selecting and measuring will have spent: nearly all, in AIM's proportion."""
        alpha = float(parse_fraction(self.manifest.mechanism.alpha))
        whole = float(parse_fraction(self.manifest.mechanism.rho))
        first = float(self.policy.rho_oneways)
        return (1 - alpha) * (whole - first), alpha * (whole - first) + first

    def _secure(self, name: str, cost: Cost, basis: Basis, rho: float = 0.0) -> StepFigure:
        n_bytes = round(cost.n_bytes / self.manifest.n_parties)
        seconds = self.clock.secure(cost)
        return StepFigure(name, n_bytes, round(cost.rounds), seconds, basis, rho)

    def _local(self, name: str, seconds: float) -> StepFigure:
        return StepFigure(name, 0, 0, seconds, "exact")


def _trial_cost(trial: Trial, step: str) -> Cost:
    cost = trial.steps[step]
    return Cost(cost.bytes_sent, 0.0, cost.seconds)


def _padded(n_cells: int) -> int:
    """Round up to whole words of the samplers."""
    return -(-n_cells // 64) * 64


def _memory_mb(manifest: Manifest, inputs: PublicInputs) -> int:
    """Estimate a party's peak: its program, and its components of all cells and of their bits."""
    from parties.memory import peak_rss_mb  # this process has the same imports

    parameters = ring_parameters(manifest)
    held = len(access_structure(manifest).held[0])
    word = ring(parameters.ring_bits).dtype.itemsize
    bits = 2 if parameters.count_bits <= 16 else 4
    cells = sum(inputs.sizes) * held * (word + bits) * _BYTES_PER_CELL
    return round(min(peak_rss_mb(), 150.0) + cells / 2**20)


def _assumptions(manifest: Manifest, link: Link | None, policy: PolicyRehearsal) -> tuple[str, ...]:
    counts = (
        f"{policy.nonzero_cells:,} of {policy.all_cells:,} cells have a model count above 0, as "
        f"with made-up data of {policy.n_rows:,} rows; at most {policy.nonzero_most:,} can have"
    )
    cells = (
        f"a measured marginal has {policy.mean_cells:,.0f} cells, the mean of those that the "
        "policy measures on made-up data"
    )
    fits = "a fit takes as long as one from scratch on made-up data in mid-run did here"
    texts = [counts, cells, fits, f"the machines are like this one with {os.cpu_count()} cores"]
    if manifest.mechanism.rounds is None:
        texts.append(
            f"the adaptive schedule takes {policy.rounds} rounds, as on made-up data; it ends "
            "earlier where measurements teach it little, later where there is much to learn"
        )
    if link is None:
        texts.append("all roles run on this machine, and it has nothing else to do")
    else:
        texts.append("every party has a machine and a line of its own; holders upload at once")
    return tuple(texts)
