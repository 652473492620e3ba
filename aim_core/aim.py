"""AIM (McKenna, Mullins, Sheldon, Miklau, VLDB 2022) as a state machine without input or output.

`aim` yields `Select` and `Measure` requests and is sent their answers by whoever drives it: the
plaintext oracle, the compute parties, or a test. It never sees a count, only noisy answers, so
everything here is public: what it computes may be written down, sent, and checked by an auditor.
"""

import hashlib
import json
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

from aim_core.accounting import PrivacyFilter, round_down, round_up, sqrt_down
from aim_core.arrays import Counts
from aim_core.domain import Clique
from aim_core.errors import BudgetExceeded, MechanismError
from aim_core.estimation_types import Estimator, Measurement, Model
from aim_core.junction_tree import affordable
from aim_core.participation import EVERYBODY, Participation
from aim_core.population import GroupMeasurement, Population
from aim_core.rounding import systematic_round
from aim_core.workload import Workload, closure, weights


@dataclass(frozen=True)
class AimSettings:
    """What decides a run, besides domain, workload and noise. All of it is public.

    `rho` is the whole zCDP budget, `alpha` the part of it for measuring. `rounds` None is AIM's
    adaptive schedule; a number is exactly that many rounds. `max_model_mb` bounds the junction tree
    in units of 2**20 bytes at 8 bytes a cell. `seed` drives nothing that privacy depends on: only
    the offsets of the systematic rounding. `n_max` is the public bound on the number of records,
    `y_max` the largest total of a model marginal that the compute parties accept. `participation`
    says whose records count in a round; by default everybody's, always.

    Raises MechanismError for values out of range.
    """

    rho: Fraction
    n_max: int
    y_max: int
    rounds: int | None = None
    max_model_mb: float = 80
    seed: int = 0
    alpha: Fraction = Fraction(9, 10)
    participation: Participation = EVERYBODY

    def __post_init__(self) -> None:
        if self.rho <= 0 or not 0 < self.alpha < 1:
            raise MechanismError("the budget rho must be positive and alpha between 0 and 1")
        if self.rounds is not None and self.rounds < 1:
            raise MechanismError(f"{self.rounds} rounds were asked for; ask for at least 1")
        if not self.max_model_mb > 0 or math.isinf(self.max_model_mb):
            raise MechanismError(f"a model of {self.max_model_mb} MB cannot be; allow more than 0")
        if self.n_max < 1 or self.y_max < 1:
            raise MechanismError("the bounds n_max and y_max must be at least 1")


@dataclass(frozen=True)
class Noise:
    """What the oracle's noise does and costs: public facts about how it is made.

    `variance_factor` times sigma2 is the true variance of an opened cell (m / (m - t) with dealers,
    1 with joint or central noise). `gumbel_eta` bounds how far a sampled Gumbel is from a true one,
    in units of its scale. `select_scale` is the noise's width against a single Gumbel, for reports.
    `measure_slack` is what a measurement costs above 1 / (2 sigma2), proved for every sigma2 of at
    least `sigma2_min`; smaller variances are not asked for.
    """

    variance_factor: Fraction = Fraction(1)
    gumbel_eta: Fraction = Fraction(0)
    select_scale: float = 1.0
    measure_slack: Fraction = Fraction(0)
    sigma2_min: Fraction = Fraction(0)

    def measure_rho(self, sigma2: Fraction) -> Fraction:
        """Return the zCDP cost of one marginal; MechanismError below `sigma2_min`."""
        if sigma2 <= 0 or sigma2 < self.sigma2_min:
            raise MechanismError(
                f"the noise has no proof at variance {float(sigma2):g}; "
                f"use at least {float(self.sigma2_min):g}"
            )
        return 1 / (2 * sigma2) + self.measure_slack

    def select_rho(self, epsilon: Fraction) -> Fraction:
        """Return the zCDP cost of one selection, by bounded range (docs/protocol.md)."""
        return (epsilon + 8 * self.gumbel_eta) ** 2 / 8

    def true_sigma(self, sigma2: Fraction) -> float:
        """Return the standard deviation that an opened cell really has, in counts."""
        return math.sqrt(self.variance_factor * sigma2)


@dataclass(frozen=True, eq=False)
class Select:
    """Ask for the index of a badly modelled candidate, by the exponential mechanism.

    `weights` and `biases` (L1 distance that a measurement's noise alone would leave, whole counts)
    are per candidate; `model_counts` are the model's marginals, systematically rounded: flat
    (n_cells,) int64, every entry >= 0, sum at most y_max. `rho_used` is what the run has spent,
    this request included. `attempt` counts the requests of the round's selection from 1: those
    before were lost.
    """

    round: int
    candidates: tuple[Clique, ...]
    weights: tuple[int, ...]
    epsilon: Fraction
    biases: tuple[int, ...]
    model_counts: tuple[Counts, ...] = field(repr=False)
    rho_used: Fraction
    attempt: int = 1


@dataclass(frozen=True)
class Measure:
    """Ask for marginals, each cell with Gaussian noise of variance `sigma2`.

    Round 0 asks for all one-way marginals. `rho_used` includes this request, `attempt` is as in
    `Select`.
    """

    round: int
    cliques: tuple[Clique, ...]
    sigma2: Fraction
    rho_used: Fraction
    attempt: int = 1


@dataclass(frozen=True)
class Lost:
    """The answer to a request that was charged and will never be answered.

    Whoever held the counts failed after it had paid. The cost stays spent: nobody can prove that
    no noisy value was seen.
    """


Request = Select | Measure
Answer = int | list[Counts] | Lost


@dataclass(frozen=True)
class RoundRecord:
    """One finished round. `rho_spent` is the run's total after it, `annealed` what came of it."""

    round: int
    clique: Clique
    sigma2: Fraction
    epsilon: Fraction
    rho_spent: Fraction
    annealed: bool
    n_candidates: int


@dataclass(frozen=True)
class AimResult:
    """A finished run. `rho_initial` was spent on the one-way marginals before the first round."""

    model: Model
    rounds: tuple[RoundRecord, ...]
    measurements: tuple[Measurement, ...]
    rho_initial: Fraction
    rho_spent: Fraction
    rho_budget: Fraction


def aim(
    settings: AimSettings, workload: Workload, noise: Noise, estimator: Estimator
) -> Generator[Request, Answer, AimResult]:
    """Run AIM: yield requests, take `int` for a Select and marginals for a Measure, or `Lost`.

    Every request is charged to a privacy filter before it is yielded. One that is lost stays
    charged and is made again, under the next `attempt`, if the budget allows; else the run ends.
    Attributes that no workload clique names are never measured: the model is uniform on them. A
    fixed number of rounds is not annealed; the last round spends what is left in either schedule.

    Raises MechanismError for a budget too small for the noise, and for answers that do not fit.
    """
    run = _Run(settings, workload, noise)
    oneways = tuple(clique for clique in run.candidates if len(clique) == 1)
    step = _first_step(settings, noise, len(workload.domain), len(oneways))
    # only losses leave a last round so little; the parties' bound on the noise is no lower
    sigma2_max = 2 * step.sigma2

    # INITIALISE
    if not (yield from run.measure(0, oneways, step)):
        raise BudgetExceeded("all of the budget was spent on requests that were lost")
    model = run.fit(estimator, None)
    rho_initial = run.budget.spent

    rounds: list[RoundRecord] = []
    last, attempt = False, 1
    while not last:
        number = len(rounds) + 1
        last = number == settings.rounds or run.budget.remaining < 2 * step.rho(noise)
        if last:
            rest = run.rest()
            if rest is None or rest.sigma2 > sigma2_max:
                break
            step = rest

        # SELECT
        selected = yield from run.select(number, model, step, attempt)
        if selected is None:
            last, attempt = False, attempt + 1
            continue
        clique, n_candidates = selected
        attempt = 1

        # MEASURE
        if not (yield from run.measure(number, (clique,), step)):
            break

        # GENERATE
        before = model.marginals([clique])[0] * run.growth(number)
        model = run.fit(estimator, model)
        change = float(np.abs(model.marginals([clique])[0] - before).sum())

        useless = change <= noise_l1(noise.true_sigma(step.sigma2), len(before))
        anneal = useless and settings.rounds is None and not last
        spent = run.budget.spent
        rounds.append(
            RoundRecord(number, clique, step.sigma2, step.epsilon, spent, anneal, n_candidates)
        )
        if anneal:
            step = step.annealed(noise)
    measurements = tuple(item.measurement for item in run.released)
    return AimResult(
        model, tuple(rounds), measurements, rho_initial, run.budget.spent, settings.rho
    )


def noise_l1(sigma: float, n_cells: int) -> float:
    """Return the expected L1 norm of Gaussian noise on a marginal: sqrt(2 / pi) sigma n_cells."""
    return math.sqrt(2 / math.pi) * sigma * n_cells


@dataclass(frozen=True)
class _Step:
    """The noise of one round."""

    sigma2: Fraction
    epsilon: Fraction

    def rho(self, noise: Noise) -> Fraction:
        return noise.measure_rho(self.sigma2) + noise.select_rho(self.epsilon)

    def annealed(self, noise: Noise) -> "_Step":
        return _Step(max(self.sigma2 / 4, noise.sigma2_min), 2 * self.epsilon)


def _first_step(settings: AimSettings, noise: Noise, n_attributes: int, n_oneways: int) -> _Step:
    if settings.rounds is None:
        n_selects = n_measures = 16 * n_attributes
    else:
        n_selects, n_measures = settings.rounds, settings.rounds + n_oneways
    step = _affordable(
        settings.alpha * settings.rho / n_measures,
        (1 - settings.alpha) * settings.rho / n_selects,
        noise,
    )
    if step is None:
        raise MechanismError(
            f"the budget rho = {float(settings.rho):.3g} is too small for this noise over "
            f"{n_selects} rounds; raise epsilon or ask for fewer rounds"
        )
    return step


def _affordable(measure_share: Fraction, select_share: Fraction, noise: Noise) -> _Step | None:
    """Return the least noise whose cost stays within both shares, None if there is none.

    Values are kept to 40 bits, so that sums of costs do not grow over the rounds.
    """
    rho = measure_share - noise.measure_slack
    epsilon = round_down(sqrt_down(8 * select_share) - 8 * noise.gumbel_eta)
    if rho <= 0 or epsilon <= 0:
        return None
    return _Step(max(round_up(1 / (2 * rho)), noise.sigma2_min), epsilon)


class _Run:
    """What stays the same over the rounds, and the budget."""

    def __init__(self, settings: AimSettings, workload: Workload, noise: Noise) -> None:
        self.settings = settings
        self.domain = workload.domain
        self.noise = noise
        self.candidates = closure(workload)
        self.weight = dict(zip(self.candidates, weights(workload, self.candidates), strict=True))
        self.budget = PrivacyFilter(settings.rho)
        self.released: list[GroupMeasurement] = []

    def growth(self, number: int) -> float:
        """Return by what factor the records in the sums are expected to grow from round to round.

        Holders are public, their numbers of records are not.
        """
        present = self.settings.participation.present
        return len(present(number)) / len(present(number - 1))

    def fit(self, estimator: Estimator, warm_start: Model | None) -> Model:
        """Fit a model of the records that are in the sums now to all that has been measured."""
        population = Population(self.released)
        total = population.records(self.released[-1].group)
        measurements = [population.scaled(item, total) for item in self.released]
        return estimator.fit(self.domain, measurements, warm_start)

    def rest(self) -> _Step | None:
        """Return the step that spends what is left, None if that is too little for this noise."""
        alpha, remaining = self.settings.alpha, self.budget.remaining
        return _affordable(alpha * remaining, (1 - alpha) * remaining, self.noise)

    def select(
        self, number: int, model: Model, step: _Step, attempt: int
    ) -> Generator[Request, Answer, tuple[Clique, int] | None]:
        """Charge and ask for one selection; return the clique and how many there were.

        None if it was lost: what is left may pay for another step only.
        """
        rho_round = self.budget.spent + step.rho(self.noise)
        eligible = self.eligible(rho_round)
        self.budget.charge(self.noise.select_rho(step.epsilon))
        sigma = self.noise.true_sigma(step.sigma2)
        answer = yield Select(
            round=number,
            candidates=eligible,
            weights=tuple(self.weight[clique] for clique in eligible),
            epsilon=step.epsilon,
            biases=tuple(round(noise_l1(sigma, self.domain.n_cells(c))) for c in eligible),
            model_counts=self.model_counts(number, eligible, model),
            rho_used=self.budget.spent,
            attempt=attempt,
        )
        if isinstance(answer, Lost):
            return None
        if not isinstance(answer, int) or not 0 <= answer < len(eligible):
            raise MechanismError(
                f"round {number}: a selection among {len(eligible)} candidates was answered by "
                "something that is no index; the oracle and this program disagree"
            )
        return eligible[answer], len(eligible)

    def measure(
        self, number: int, cliques: tuple[Clique, ...], step: _Step
    ) -> Generator[Request, Answer, bool]:
        """Charge and ask for noisy marginals until they come, and keep them with their variance.

        Returns whether they came: once lost, the budget may not pay for them again.
        """
        cost = len(cliques) * self.noise.measure_rho(step.sigma2)
        answer: Answer = Lost()
        attempt = 0
        while isinstance(answer, Lost):
            attempt += 1
            if attempt > 1 and cost > self.budget.remaining:
                return False
            self.budget.charge(cost)
            answer = yield Measure(number, cliques, step.sigma2, self.budget.spent, attempt)
        shapes = [(self.domain.n_cells(clique),) for clique in cliques]
        if (
            not isinstance(answer, list)
            or [values.shape for values in answer] != shapes
            or any(values.dtype != np.int64 for values in answer)
        ):
            raise MechanismError(
                f"round {number}: a measurement was answered by something that is not the int64 "
                "marginals asked for; the oracle and this program disagree"
            )
        variance = float(self.noise.variance_factor * step.sigma2)
        group = self.settings.participation.present(number)
        self.released += [
            GroupMeasurement(Measurement(clique, values, variance), group)
            for clique, values in zip(cliques, answer, strict=True)
        ]
        return True

    def eligible(self, rho_round: Fraction) -> tuple[Clique, ...]:
        """Keep the candidates that the model can afford: inside a measured clique, or small.

        The size that the junction tree may have grows with the budget spent, this round included.
        One-way marginals have all been measured, so there is always a candidate.
        """
        measured = tuple(dict.fromkeys(item.measurement.clique for item in self.released))
        limit = Fraction(self.settings.max_model_mb) * 2**20 / 8 * rho_round / self.settings.rho
        return affordable(self.domain, measured, self.candidates, limit)

    def model_counts(
        self, number: int, cliques: Sequence[Clique], model: Model
    ) -> tuple[Counts, ...]:
        """Round the model's marginals to whole counts, with one public offset per candidate.

        The compute parties refuse totals above y_max, so a larger estimate is scaled down; the
        distance from the bound is for what float sums may add.
        """
        most = min(self.settings.n_max, self.settings.y_max) * (1 - 1e-9)
        growth = self.growth(number)
        scale = min(growth, most / model.total)
        marginals = model.marginals(cliques)[::-1]
        # Popped one by one: with hundreds of candidates, floats and counts together are large.
        return tuple(
            systematic_round(marginals.pop() * scale, _offset(self.settings.seed, number, clique))
            for clique in cliques
        )


def _offset(seed: int, number: int, clique: Clique) -> float:
    """Derive a public offset in [0, 1), the same on every machine."""
    digest = hashlib.sha256(json.dumps([seed, number, clique]).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


class Oracle(Protocol):
    """Whoever holds the counts and answers requests about them, or says that one is lost."""

    def select(self, request: Select) -> int | Lost:
        """Return the index of the selected candidate."""
        ...

    def measure(self, request: Measure) -> list[Counts] | Lost:
        """Return the noisy marginals in the order asked for, flat int64."""
        ...


def drive(
    run: Generator[Request, Answer, AimResult],
    oracle: Oracle,
    observe: Callable[[Request, Answer], None] | None = None,
) -> AimResult:
    """Answer a run's requests from an oracle; `observe` is told each request and its answer."""
    answer: Answer | None = None
    while True:
        try:
            request = next(run) if answer is None else run.send(answer)
        except StopIteration as stop:
            result: AimResult = stop.value
            return result
        answer = oracle.select(request) if isinstance(request, Select) else oracle.measure(request)
        if observe is not None:
            observe(request, answer)
