"""FLAIM and its variants (Maddock, Cormode, Maple, KDD 2024) as a server without input or output.

`flaim` yields `Choose` and `Collect` requests and is sent their answers by whoever carries messages
to the data holders, whose steps are in `aim_core.mechanisms.flaim_holder`. It sees chosen cliques
and noisy sums, never a count. Deviations from the paper's released code are listed in
docs/comparison.md.

Privacy, per record: a holder may take part in every round, so its records pay for all of them; no
amplification by sampling is claimed. A neighbouring table differs by one record of one holder,
while n_k, the number that the holder divides by, stays: it is fixed when the holder enrols.
"""

import json
import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from aim_core.arrays import FloatArray
from aim_core.counts.workload import Workload, closure, ordered, weights
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.mechanisms.flaim_requests import (
    Choose,
    Collect,
    FlaimAnswer,
    FlaimRequest,
    MarginalSlot,
)
from aim_core.mechanisms.flaim_terms import (
    FlaimSettings,
    Proportions,
    Schedule,
    VariantPlan,
    schedule,
    to_proportions,
)
from aim_core.models.junction_tree import affordable, model_cells
from aim_core.models.measurement import Fitter, Measurement, Model
from aim_core.privacy.noise_facts import Noise, noise_l1
from aim_core.privacy.population import Group, GroupMeasurement, Population, measured_cliques
from aim_core.privacy.zcdp import PrivacyFilter


@dataclass(frozen=True)
class FlaimRound:
    """One finished round: the cliques opened, with the number of holders in each."""

    round: int
    n_holders: int
    opened: tuple[tuple[Clique, int], ...]
    rho_spent: Fraction


@dataclass(frozen=True)
class FlaimResult:
    """A finished run; round 0 measured the one-way marginals."""

    model: Model
    schedule: Schedule
    rounds: tuple[FlaimRound, ...]
    rho_spent: Fraction


def flaim(
    settings: FlaimSettings, workload: Workload, noise: Noise, fitter: Fitter
) -> Generator[FlaimRequest, FlaimAnswer, FlaimResult]:
    """Run a variant of FLAIM: yield requests, take `Choices` for Choose and `Sums` for Collect.

    What a record may take part in is charged before it is asked for. Cliques that together would
    make the model too large are left out of the measuring, those with few contributors first; they
    stay charged.

    Raises MechanismError for a budget too small for the noise, and for answers that do not fit.
    """
    server = _Server(settings, workload, noise, fitter)
    for number in range(settings.rounds + 1):
        holders = settings.participation.sampled(number)
        wanted = yield from server.wanted(number, holders)
        yield from server.collect(number, holders, wanted)
    return FlaimResult(server.model, server.schedule, tuple(server.rounds), server.budget.spent)


class _Server:
    """What the server keeps over the rounds."""

    def __init__(
        self, settings: FlaimSettings, workload: Workload, noise: Noise, fitter: Fitter
    ) -> None:
        self.settings, self.domain = settings, workload.domain
        self._noise, self._fitter = noise, fitter
        candidates = closure(workload)
        self._oneways = tuple(clique for clique in candidates if len(clique) == 1)
        self._candidates = tuple(
            clique
            for clique in candidates
            if len(clique) > 1 or not settings.variant.publishes_oneways
        )
        self._weight = dict(zip(candidates, weights(workload, candidates), strict=True))
        self._plan = VariantPlan(settings, len(self._oneways))
        self.schedule = schedule(settings, len(self._oneways), noise)
        self.budget = PrivacyFilter(settings.rho)
        self.released: list[GroupMeasurement] = []
        self.rounds: list[FlaimRound] = []
        self.model: Model = fitter.fit(self.domain, [], None)

    def wanted(
        self, number: int, holders: Group
    ) -> Generator[FlaimRequest, FlaimAnswer, dict[Clique, Group]]:
        """Find out what is to be measured in a round, and by whom."""
        wanted: dict[Clique, Group] = {}
        if self._plan.choices_in(number):
            wanted = yield from self._chosen(number, holders)
        if self._plan.oneways_in(number):
            wanted |= dict.fromkeys(self._oneways, holders)
        return wanted

    def collect(
        self, number: int, holders: Group, wanted: Mapping[Clique, Group]
    ) -> Generator[FlaimRequest, FlaimAnswer, None]:
        """Charge and ask for sums, and fit the model to all there are."""
        opened: list[GroupMeasurement] = []
        if wanted:
            cost = self._noise.measure_rho(self.schedule.sigma2)
            self.budget.charge(self._plan.measured_in(number) * cost)
            slots = tuple(
                MarginalSlot(clique, wanted[clique]) for clique in ordered(self.domain, wanted)
            )
            spent = self.budget.spent
            answer = yield Collect(number, holders, slots, self.schedule.sigma2, spent)
            opened = _checked_sums(answer, slots, self.domain)
        self.released += opened
        if opened:
            population = Population(self.released)
            self.model = self._fitter.fit(self.domain, self._combined(population), self.model)
        records = tuple((item.measurement.clique, len(item.group)) for item in opened)
        self.rounds.append(FlaimRound(number, len(holders), records, self.budget.spent))

    def _chosen(
        self, number: int, holders: Group
    ) -> Generator[FlaimRequest, FlaimAnswer, dict[Clique, Group]]:
        """Have cliques chosen, by the holders or by lot, and keep what the model can hold."""
        measured, limit = measured_cliques(self.released), self._limit(number)
        eligible = affordable(self.domain, measured, self._candidates, limit)
        if not eligible:
            return {}
        n_steps = min(self._plan.choices_in(number), len(eligible))
        if not self.settings.variant.holders_choose:
            chosen = dict.fromkeys(self._draw(number, eligible, n_steps), holders)
        else:
            chosen = yield from self._ask(number, holders, eligible, n_steps)
        return self._fitting(number, chosen)

    def _ask(
        self, number: int, holders: Group, eligible: tuple[Clique, ...], n_steps: int
    ) -> Generator[FlaimRequest, FlaimAnswer, dict[Clique, Group]]:
        """Charge and ask the holders for their choices; return who chose what."""
        epsilon = self.schedule.selection_epsilon
        if epsilon is None:
            raise MechanismError(f"{self.settings.variant} leaves no choice to the holders")
        self.budget.charge(n_steps * self._noise.select_rho(epsilon))
        sigma = self._noise.true_sigma(self.schedule.sigma2)
        answer = yield Choose(
            round=number,
            holders=holders,
            candidates=eligible,
            weights=tuple(self._weight[clique] for clique in eligible),
            selection_epsilon=epsilon,
            biases=tuple(round(noise_l1(sigma, self.domain.n_cells(c))) for c in eligible),
            n_steps=n_steps,
            model=self.model,
            oneways=self._public_oneways(),
        )
        chosen: dict[Clique, Group] = {}
        for holder, indices in _checked_choices(answer, holders, n_steps, len(eligible)).items():
            for index in indices:
                clique = eligible[index]
                chosen[clique] = chosen.get(clique, frozenset()) | {holder}
        return chosen

    def _draw(self, number: int, eligible: tuple[Clique, ...], n_steps: int) -> list[Clique]:
        """Draw the round's cliques from the public seed."""
        seed = json.dumps(["flaim-random", self.settings.seed, number])
        return random.Random(seed).sample(eligible, n_steps)  # noqa: S311 - a public choice

    def _combined(self, population: Population) -> list[Measurement]:
        """Bring all marginals to the population of all holders."""
        everybody = self.settings.participation.n_holders
        total = everybody * population.records_per_holder
        return [population.scaled(item, total) for item in self.released]

    def _public_oneways(self) -> dict[Clique, Proportions]:
        """Average each one-way marginal over the rounds, for the private correction."""
        if not self.settings.variant.publishes_oneways:
            return {}
        combined = self._combined(Population(self.released))
        modelled = self.model.marginals(self._oneways)  # for what has never been opened
        return {
            clique: to_proportions(_average([m for m in combined if m.clique == clique], instead))
            for clique, instead in zip(self._oneways, modelled, strict=True)
        }

    def _limit(self, number: int) -> float:
        """Return the cells that the junction tree may have, more with every round."""
        part = (number + 1) / (self.settings.rounds + 1)
        return self.settings.max_model_mb * 2**20 / 8 * part

    def _fitting(self, number: int, chosen: Mapping[Clique, Group]) -> dict[Clique, Group]:
        """Keep what the model can hold all at once, cliques with many contributors first."""
        measured, limit = list(measured_cliques(self.released)), self._limit(number)
        size_before = model_cells(self.domain, measured)
        kept: dict[Clique, Group] = {}
        # a stable sort: ties stay in the total order of cliques
        for clique in sorted(ordered(self.domain, chosen), key=lambda c: -len(chosen[c])):
            size = model_cells(self.domain, [*measured, clique])
            if size <= max(limit, size_before):
                kept[clique] = chosen[clique]
                measured.append(clique)
                size_before = size
        return kept


def _average(measurements: Sequence[Measurement], instead: FloatArray) -> FloatArray:
    """Average measurements of one clique by inverse variance; `instead` if there are none."""
    if not measurements:
        return instead
    values = np.stack([m.values for m in measurements]).astype(np.float64)
    averaged: FloatArray = np.average(
        values, axis=0, weights=[1 / m.variance for m in measurements]
    )
    return averaged


def _checked_choices(
    answer: FlaimAnswer, holders: Group, n_steps: int, n_candidates: int
) -> Mapping[int, Sequence[int]]:
    if not isinstance(answer, Mapping):
        raise MechanismError("a question for choices was answered by something else")
    for holder, indices in answer.items():
        known = holder in holders and len(set(indices)) == len(indices) == n_steps
        if not known or not all(0 <= index < n_candidates for index in indices):
            raise MechanismError(
                f"holder {holder} did not choose {n_steps} different candidates out of "
                f"{n_candidates}, or was not asked; its program and this one disagree"
            )
    return answer


def _checked_sums(
    answer: FlaimAnswer, slots: Sequence[MarginalSlot], domain: Domain
) -> list[GroupMeasurement]:
    if isinstance(answer, Mapping) or len(answer) != len(slots):
        raise MechanismError("a question for sums was answered by something else")
    opened: list[GroupMeasurement] = []
    for slot, item in zip(slots, answer, strict=True):
        if item is None:
            continue
        values = item.measurement.values
        fits = item.measurement.clique == slot.clique and item.group <= slot.holders
        if not fits or values.shape != (domain.n_cells(slot.clique),):
            raise MechanismError(f"the sum for {slot.clique} is not what was asked for")
        opened.append(item)
    return opened
