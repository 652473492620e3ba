"""The figures of a forecast, step by step: bytes, rounds, seconds and privacy cost.

They are made from what the rehearsals and the trial run have measured.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from mpc.noise.bank import MAX_GAUSSIANS
from mpc.noise.kinds import NoiseKind
from mpc.session.channel import Step
from parties.agreement.derived import upload_format
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.values import EngineKind, parse_fraction
from parties.forecast.policy import PolicyRehearsal
from parties.forecast.secure_steps import REHEARSED_CELLS, Cost, Rehearsal, padded
from parties.forecast.trial import Trial

Basis = Literal["exact", "estimate"]

_LOCAL_ROUND = 3.0
"""A round between processes on one machine takes so many times its computation in one process."""

_UPLOAD_RATE = 150e6
"""Bytes per second that a holder's program and a party's API pass on where the line is no limit."""


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


class Clock:
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
class StepFigures:
    """The figures of every step."""

    manifest: Manifest
    inputs: PublicInputs
    policy: PolicyRehearsal
    secure: Rehearsal
    trial: Trial | None
    clock: Clock
    n_holders: int

    @property
    def rounds(self) -> int:
        """Count the rounds."""
        return self.policy.rounds

    @property
    def upload_bytes(self) -> int:
        """Return what one holder uploads, to all parties together."""
        form = upload_format(self.manifest, self.inputs)
        return sum(form.body_size(pid) for pid in range(self.manifest.n_parties))

    def all(self) -> list[StepFigure]:
        """Return the steps in their order."""
        if self.manifest.engine is EngineKind.SHAMIR and self.trial is not None:
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
        n_serial = 1 if self.clock.link is not None else self.n_holders
        counting = self.policy.count_seconds / (self.n_holders if self.clock.link else 1)
        sharing = n_serial * (self.secure.share.seconds + self.clock.transfer(self.upload_bytes))
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
        return self._secure(Step.AGREE, agree, "exact" if fixed else "estimate")

    def _shamir(self, trial: Trial) -> list[StepFigure]:
        """Return the steps of the engine on MPyC, whose work grows with the cells it works on.

        A cell is converted from the ring when it is prepared, with t comparisons; a cell of the
        noise, which is signed, with one more. The noise itself is that of the other engine.
        """
        growth, n_rounds = self.policy.all_cells / trial.n_cells, self.rounds
        threshold, n_oneways = self.manifest.threshold, len(self.inputs.domain)
        opened = self.policy.oneway_cells + n_rounds * self.policy.mean_cells
        converted = (threshold + 1) / threshold * opened / trial.n_cells
        drawn = n_rounds * self.policy.noise_cells + n_oneways * padded(1)
        noise = self.secure.gaussian[self.policy.sigma2].in_runs(drawn, n_rounds + n_oneways)
        rho, prepare = self._rho(), _trial_cost(trial, Step.PREPARE)
        return [
            self._load(Step.CHECK, self.secure.check),
            self._tried(Step.PREPARE, prepare.scaled(growth)),
            self._agree(),
            self._tried(Step.SCORE, _trial_cost(trial, Step.SCORE).scaled(growth * n_rounds)),
            self._tried(Step.SELECT, _trial_cost(trial, Step.SELECT).scaled(n_rounds), rho[0]),
            self._tried(Step.MEASURE, prepare.scaled(converted), rho[1]),
            self._secure(Step.NOISE, noise, "estimate"),
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
        opening = secure.opening.in_runs(opened, n_rounds + 1)
        rho = self._rho()
        scoring = self._secure(Step.SCORE, score.repeated(n_rounds), "estimate")
        most_bytes = round(most.n_bytes * n_rounds / self.manifest.n_parties)
        return [
            self._load(Step.CHECK, secure.check),
            self._load(Step.PREPARE, secure.prepare),
            self._agree(),
            replace(scoring, most_bytes=most_bytes),
            self._secure(Step.SELECT, secure.select.repeated(n_rounds), "estimate", rho[0]),
            self._secure(Step.MEASURE, opening, "estimate", rho[1]),
            self._noise(),
        ]

    def _score(self, n_cells: int) -> Cost:
        """Return the cost of scoring all candidates with so many model counts above 0."""
        fixed, cell = self.secure.score_fixed, self.secure.score_cell
        return fixed + cell.scaled(n_cells)

    def _request_seconds(self) -> float:
        """One selection's way to the parties: packed once, sent to all, unpacked by each."""
        n_parties = self.manifest.n_parties
        unpacking = self.clock.computing(self.policy.unpack_seconds * n_parties, n_parties)
        sending = self.clock.transfer(self.policy.request_bytes * n_parties)
        return self.policy.pack_seconds + sending + unpacking

    def _noise(self) -> StepFigure:
        """Add up all noise, joint noise also what is made ahead and not used.

        On machines of their own the parties make it while the estimator fits.
        """
        policy, n_rounds = self.policy, self.rounds
        joint = self.manifest.noise is NoiseKind.JOINT
        total = self.secure.gumbel.repeated(n_rounds + (1 if joint else 0))
        *earlier, last = dict.fromkeys([policy.sigma2, *policy.variances])
        ahead = gaussians_ahead(self.manifest.noise, self.inputs.sizes)
        for variance in earlier:
            total += self._gaussians(variance, ahead)
        total += self._gaussians(last, self._made_at_the_end(last, ahead))
        figure = self._secure(Step.NOISE, total, "estimate")
        if self.clock.link is None or not joint:
            return figure
        hidden = min(figure.seconds, n_rounds * (policy.fit_seconds + policy.marginals_seconds))
        return replace(figure, seconds=figure.seconds - hidden)

    def _gaussians(self, variance: Fraction, unused: int) -> Cost:
        """Return the cost of all noise of one variance, with what was made ahead in vain."""
        policy = self.policy
        n = policy.variances.get(variance, 0)
        oneways = padded(policy.oneway_cells) if variance == policy.sigma2 else 0
        cells = n * policy.noise_cells + unused + oneways
        return self.secure.gaussian[variance].in_runs(cells, n + 1)

    def _made_at_the_end(self, variance: Fraction, ahead: int) -> int:
        """Return how much is made ahead after the last request, before the job's end stops it."""
        if not ahead:
            return 0
        whole = self.clock.secure(self.secure.gaussian[variance].scaled(ahead))
        return round(ahead * min(1.0, self.policy.fit_seconds / whole))

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


def _trial_cost(trial: Trial, step: Step) -> Cost:
    cost = trial.steps[step]
    return Cost(cost.bytes_sent, 0.0, cost.seconds)


def gaussians_ahead(noise: NoiseKind, sizes: Sequence[int]) -> int:
    """Return for how many cells the parties keep noise of a variance ready, padded to words.

    Joint noise is made ahead for the largest candidate, as far as the bank goes; dealt noise is
    not.
    """
    return padded(min(max(sizes), MAX_GAUSSIANS)) if noise is NoiseKind.JOINT else 0
