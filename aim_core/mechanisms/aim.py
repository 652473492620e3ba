"""AIM (McKenna, Mullins, Sheldon, Miklau, VLDB 2022) as a state machine without input or output.

`aim` yields `Select` and `Measure` requests and is sent their answers by whoever drives it: the
plaintext oracle, the compute parties, or a test. It never sees a count, only noisy answers, so
everything here is public: what it computes may be written down, sent, and checked by an auditor.
"""

from collections.abc import Callable, Generator, Sequence
from fractions import Fraction

import numpy as np

from aim_core.arrays import Counts
from aim_core.counts.rounding import systematic_round
from aim_core.counts.workload import Workload, closure, weights
from aim_core.domain import Clique, Domain
from aim_core.errors import BudgetExceeded, DomainTooLarge, MechanismError
from aim_core.mechanisms.aim_schedule import AimSchedule
from aim_core.mechanisms.aim_terms import AimResult, AimSettings, RoundRecord
from aim_core.mechanisms.requests import Answer, Lost, Measure, Oracle, Request, Select
from aim_core.models.junction_tree import affordable, model_cells
from aim_core.models.measurement import Fitter, Measurement, Model
from aim_core.privacy.noise_facts import Noise, noise_l1
from aim_core.privacy.population import GroupMeasurement, Population, measured_cliques
from aim_core.privacy.zcdp import PrivacyFilter
from aim_core.public_draws import DrawFor, public_draw


def aim(
    settings: AimSettings, workload: Workload, noise: Noise, fitter: Fitter
) -> Generator[Request, Answer, AimResult]:
    """Run AIM: yield requests, take `int` for a Select and marginals for a Measure, or `Lost`.

    Every request is charged to a privacy filter before it is yielded. One that is lost stays
    charged and is made again, under the next `attempt`, if the budget allows; else the run ends.
    Attributes that no workload clique names are never measured: the model is uniform on them. A
    fixed number of rounds is not annealed; the last round spends what is left in either schedule.

    Raises MechanismError for a budget too small for the noise, for answers that do not fit, and for
    structural zeros that leave no cell or that the fitter does not know; DomainTooLarge where they
    alone make the model too large.
    """
    _check_zeros(settings, workload.domain, fitter)
    run = _Run(settings, workload, noise)
    schedule = run.schedule

    # INITIALISE
    if not (yield from run.measure(0, run.candidates.oneways)):
        raise BudgetExceeded("all of the budget was spent on requests that were lost")
    model = run.fit(fitter, None)
    rho_initial = run.budget.spent

    rounds: list[RoundRecord] = []
    while not schedule.is_last:
        number = len(rounds) + 1

        # SELECT
        selected = yield from run.select(number, model)
        if selected is None:
            break
        clique, n = selected

        # MEASURE
        if not (yield from run.measure(number, (clique,))):
            break

        # GENERATE
        model, change = run.refit(fitter, model, clique, number)
        used, spent = schedule.now, run.budget.spent
        annealed = schedule.anneal(change, workload.domain.n_cells(clique))
        rounds.append(
            RoundRecord(number, clique, used.sigma2, used.selection_epsilon, spent, annealed, n)
        )
    measurements = tuple(item.measurement for item in run.released)
    spent = run.budget.spent
    return AimResult(model, tuple(rounds), measurements, rho_initial, spent, settings.rho)


def _check_zeros(settings: AimSettings, domain: Domain, fitter: Fitter) -> None:
    """Hear what the fitter says to structural zeros before anything is charged."""
    if not domain.zeros:
        return
    megabytes = model_cells(domain, ()) * 8 / 2**20
    if megabytes > settings.max_model_mb:
        raise DomainTooLarge(
            f"the schema's constraints alone make a model of {megabytes:.1f} MB, and "
            f"{settings.max_model_mb:g} are allowed; take coarser bins for their columns, fewer "
            "constraints, or a larger --max-model-mb"
        )
    fitter.fit(domain, [], None)


class _Candidates:
    """The cliques that may be selected, and what is asked about them, from public facts alone."""

    def __init__(self, settings: AimSettings, workload: Workload) -> None:
        self._settings, self._domain = settings, workload.domain
        self._cliques = closure(workload)
        self._weight = dict(zip(self._cliques, weights(workload, self._cliques), strict=True))
        self.oneways = tuple(clique for clique in self._cliques if len(clique) == 1)

    def eligible(self, measured: Sequence[Clique], used: Fraction) -> tuple[Clique, ...]:
        """Keep the candidates that the model can afford: inside a clique it has, or small.

        The size that the junction tree may have grows with `used`, the part of the budget spent,
        this round included. One-way marginals have all been measured, so there is always one.
        """
        limit = Fraction(self._settings.max_model_mb) * 2**20 / 8 * used
        return affordable(self._domain, measured, self._cliques, limit)

    def weights(self, cliques: Sequence[Clique]) -> tuple[int, ...]:
        """Return the cliques' weights in the workload."""
        return tuple(self._weight[clique] for clique in cliques)

    def biases(self, cliques: Sequence[Clique], sigma: float) -> tuple[int, ...]:
        """Return the L1 distance that noise of a measurement leaves, in whole counts."""
        return tuple(round(noise_l1(sigma, self._domain.n_cells(clique))) for clique in cliques)

    def model_counts(
        self, number: int, cliques: Sequence[Clique], model: Model
    ) -> tuple[Counts, ...]:
        """Round the model's marginals to whole counts, with one public offset per candidate.

        The compute parties refuse totals above y_max, so a larger estimate is scaled down; the
        distance from the bound is for what float sums may add.
        """
        settings = self._settings
        most = min(settings.n_max, settings.y_max) * (1 - 1e-9)
        scale = min(settings.participation.growth(number), most / model.total)
        marginals = model.marginals(cliques)[::-1]
        # Popped one by one: with hundreds of candidates, floats and counts together are large.
        return tuple(
            systematic_round(marginals.pop() * scale, _offset(settings.seed, number, clique))
            for clique in cliques
        )


def _offset(seed: int, number: int, clique: Clique) -> float:
    """Derive a public offset in [0, 1), the same on every machine."""
    return (public_draw(DrawFor.MODEL_OFFSET, seed, number, clique) >> 11) / 2**53


class _Run:
    """Pays for requests, asks, and keeps what was released."""

    def __init__(self, settings: AimSettings, workload: Workload, noise: Noise) -> None:
        self._settings, self._domain, self._noise = settings, workload.domain, noise
        self.candidates = _Candidates(settings, workload)
        self.budget = PrivacyFilter(settings.rho)
        n_oneways = len(self.candidates.oneways)
        self.schedule = AimSchedule(settings, noise, self.budget, len(self._domain), n_oneways)
        self.released: list[GroupMeasurement] = []

    def fit(self, fitter: Fitter, warm_start: Model | None) -> Model:
        """Fit a model of the records that are in the sums now to all that has been measured."""
        population = Population(self.released)
        total = population.records(self.released[-1].group)
        measurements = [population.scaled(item, total) for item in self.released]
        return fitter.fit(self._domain, measurements, warm_start)

    def refit(
        self, fitter: Fitter, model: Model, clique: Clique, number: int
    ) -> tuple[Model, float]:
        """Fit anew after a round; also return how far that moved its marginal, in L1 and counts."""
        growth = self._settings.participation.growth(number)
        before = model.marginals([clique])[0] * growth
        fitted = self.fit(fitter, model)
        return fitted, float(np.abs(fitted.marginals([clique])[0] - before).sum())

    def select(
        self, number: int, model: Model
    ) -> Generator[Request, Answer, tuple[Clique, int] | None]:
        """Charge and ask for a selection until it comes; return the clique and how many there were.

        None once what is left pays for no useful round.
        """
        answer: Answer = Lost()
        eligible: tuple[Clique, ...] = ()
        attempt = 0
        while isinstance(answer, Lost):
            attempt += 1
            if not self.schedule.prepare(number):
                return None
            now = self.schedule.now
            used = (self.budget.spent + now.rho(self._noise)) / self._settings.rho
            eligible = self.candidates.eligible(measured_cliques(self.released), used)
            self.budget.charge(self._noise.select_rho(now.selection_epsilon))
            answer = yield Select(
                round=number,
                candidates=eligible,
                weights=self.candidates.weights(eligible),
                selection_epsilon=now.selection_epsilon,
                biases=self.candidates.biases(eligible, self._noise.true_sigma(now.sigma2)),
                model_counts=self.candidates.model_counts(number, eligible, model),
                rho_used=self.budget.spent,
                attempt=attempt,
            )
        return eligible[_checked_index(answer, number, len(eligible))], len(eligible)

    def measure(self, number: int, cliques: tuple[Clique, ...]) -> Generator[Request, Answer, bool]:
        """Charge and ask for noisy marginals until they come, and keep them with their variance.

        Returns whether they came: once lost, the budget may not pay for them again.
        """
        sigma2 = self.schedule.now.sigma2
        cost = len(cliques) * self._noise.measure_rho(sigma2)
        answer: Answer = Lost()
        attempt = 0
        while isinstance(answer, Lost):
            attempt += 1
            if attempt > 1 and cost > self.budget.remaining:
                return False
            self.budget.charge(cost)
            answer = yield Measure(number, cliques, sigma2, self.budget.spent, attempt)
        shapes = [(self._domain.n_cells(clique),) for clique in cliques]
        variance = float(self._noise.variance_factor * sigma2)
        group = self._settings.participation.present(number)
        self.released += [
            GroupMeasurement(Measurement(clique, values, variance), group)
            for clique, values in zip(
                cliques, _checked_marginals(answer, number, shapes), strict=True
            )
        ]
        return True


def _checked_index(answer: Answer, number: int, n_candidates: int) -> int:
    if not isinstance(answer, int) or not 0 <= answer < n_candidates:
        raise MechanismError(
            f"round {number}: a selection among {n_candidates} candidates was answered by "
            "something that is no index; the oracle and this program disagree"
        )
    return answer


def _checked_marginals(answer: Answer, number: int, shapes: Sequence[tuple[int]]) -> list[Counts]:
    if (
        not isinstance(answer, list)
        or [values.shape for values in answer] != shapes
        or any(values.dtype != np.int64 for values in answer)
    ):
        raise MechanismError(
            f"round {number}: a measurement was answered by something that is not the int64 "
            "marginals asked for; the oracle and this program disagree"
        )
    return answer


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
