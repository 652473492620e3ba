"""FLAIM and its variants (Maddock, Cormode, Maple, KDD 2024) as a server without input or output.

`flaim` yields `Choose` and `Collect` requests and is sent their answers by whoever carries messages
to the data holders (`aim_core.flaim_holder` has their steps). It sees chosen cliques and noisy
sums, never a count. Deviations from the paper's released code are listed in docs/comparison.md.

Privacy, per record: a holder may take part in every round, so its records pay for all of them; no
amplification by sampling is claimed. A neighbouring table differs by one record of one holder,
while n_k, the number that the holder divides by, stays: it is fixed when the holder enrols.
"""

import json
import math
import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from aim_core.accounting import PrivacyFilter, round_down, round_up, sqrt_down
from aim_core.aim import Noise, noise_l1
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.estimation_types import Estimator, Measurement, Model
from aim_core.junction_tree import affordable, model_cells
from aim_core.participation import Participation
from aim_core.population import Group, GroupMeasurement, Population
from aim_core.workload import Workload, closure, ordered, weights

SHARE_BITS = 32
"""Published distributions (of a model, of one-way marginals) are in units of 2**-SHARE_BITS."""

Shares = NDArray[np.int64]
"""A normalised marginal: flat (n_cells,), every entry >= 0, sum 2**SHARE_BITS."""


class Variant(StrEnum):
    """The methods of mechanism.md, section 3, by the names that users give them."""

    NAIVE = "flaim"
    ORACLE = "augflaim-oracle"
    PRIVATE = "augflaim-private"
    RANDOM = "flaim-random"
    ONEWAY = "oneway"

    @property
    def is_private(self) -> bool:
        """Whether the method is differentially private: the oracle reads exact marginals."""
        return self is not Variant.ORACLE

    @property
    def holders_choose(self) -> bool:
        """Whether holders select cliques, by their local scores."""
        return self in {Variant.NAIVE, Variant.ORACLE, Variant.PRIVATE}

    @property
    def uses_tau(self) -> bool:
        """Whether scores are corrected for heterogeneity, which doubles their sensitivity."""
        return self in {Variant.ORACLE, Variant.PRIVATE}


@dataclass(frozen=True)
class FlaimSettings:
    """What decides a run, besides domain, workload and noise. All of it is public.

    `rho` is the zCDP budget, `alpha` the part of it for measuring where holders choose. Each of
    `rounds` rounds, a sampled holder chooses `local_steps` cliques. `max_model_mb` bounds the
    junction tree in units of 2**20 bytes at 8 bytes a cell, and grows with the budget spent.

    Raises MechanismError for values out of range.
    """

    variant: Variant
    rho: Fraction
    participation: Participation
    rounds: int = 10
    local_steps: int = 1
    alpha: Fraction = Fraction(9, 10)
    max_model_mb: float = 80
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rho <= 0 or not 0 < self.alpha < 1:
            raise MechanismError("the budget rho must be positive and alpha between 0 and 1")
        if self.rounds < 1 or self.local_steps < 1:
            raise MechanismError("FLAIM needs at least one round and one local step")
        if not 0 < self.max_model_mb < math.inf:
            raise MechanismError(f"a model of {self.max_model_mb} MB cannot be; allow more than 0")


@dataclass(frozen=True)
class Schedule:
    """The exact budget of a variant: what one record takes part in, at most, and its noise.

    `sigma2` is the variance of every aggregated cell, `epsilon` that of every local choice (None
    where holders do not choose). `n_measured` marginals and `n_chosen` choices cost at most rho.
    """

    sigma2: Fraction
    epsilon: Fraction | None
    n_measured: int
    n_chosen: int


def schedule(settings: FlaimSettings, n_oneways: int, noise: Noise) -> Schedule:
    """Split the budget, fixed T (mechanism.md, section 3).

    With d one-way marginals: T s + d measurements; T (s + d) with the private correction, whose
    one-ways come in every round but the last and once before; T d when there is nothing else.
    Variances are rounded up and epsilons down to 40 bits.

    Raises MechanismError if the budget is too small for this noise.
    """
    n_steps = settings.rounds * settings.local_steps
    n_measured = {
        Variant.PRIVATE: n_steps + settings.rounds * n_oneways,
        Variant.ONEWAY: settings.rounds * n_oneways,
    }.get(settings.variant, n_steps + n_oneways)
    alpha = settings.alpha if settings.variant.holders_choose else Fraction(1)
    epsilon = None
    if settings.variant.holders_choose:
        share = (1 - alpha) * settings.rho / n_steps
        epsilon = round_down(sqrt_down(8 * share) - 8 * noise.gumbel_eta)
    rho = alpha * settings.rho / n_measured - noise.measure_slack
    if rho <= 0 or (epsilon is not None and epsilon <= 0):
        raise MechanismError(
            f"the budget rho = {float(settings.rho):.3g} is too small for {n_measured} "
            "measurements; raise epsilon or ask for fewer rounds"
        )
    sigma2 = max(round_up(1 / (2 * rho)), noise.sigma2_min)
    return Schedule(sigma2, epsilon, n_measured, n_steps if epsilon is not None else 0)


@dataclass(frozen=True, eq=False)
class Choose:
    """Ask the sampled holders which cliques they want measured, `n_steps` different ones each.

    `weights` and `biases` (the L1 distance that noise leaves, whole counts) are per candidate. The
    holders compare their marginals with `model`; `oneways` is the public estimate of the one-way
    marginals that AugFLAIM (Private) measures heterogeneity by, empty for the others.
    """

    round: int
    holders: Group
    candidates: tuple[Clique, ...]
    weights: tuple[int, ...]
    epsilon: Fraction
    biases: tuple[int, ...]
    n_steps: int
    model: Model = field(repr=False)
    oneways: Mapping[Clique, Shares] = field(repr=False)


@dataclass(frozen=True)
class Slot:
    """One marginal to be summed over the holders who contribute to it."""

    clique: Clique
    holders: Group


@dataclass(frozen=True)
class Collect:
    """Ask for sums of marginals, each cell with Gaussian noise of variance at least `sigma2`."""

    round: int
    holders: Group
    slots: tuple[Slot, ...]
    sigma2: Fraction
    rho_used: Fraction


Choices = Mapping[int, Sequence[int]]
"""Per holder the places of its candidates; a holder that is missing has dropped out."""

Sums = Sequence[GroupMeasurement | None]
"""Per slot its noisy sum with its true variance and contributors; None if it stayed closed."""

FlaimRequest = Choose | Collect
FlaimAnswer = Choices | Sums


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
    settings: FlaimSettings, workload: Workload, noise: Noise, estimator: Estimator
) -> Generator[FlaimRequest, FlaimAnswer, FlaimResult]:
    """Run a variant of FLAIM: yield requests, take `Choices` for Choose and `Sums` for Collect.

    What a record may take part in is charged before it is asked for. Cliques that together would
    make the model too large are left out of the measuring, those with few contributors first; they
    stay charged.

    Raises MechanismError for a budget too small for the noise, and for answers that do not fit.
    """
    server = _Server(settings, workload, noise, estimator)
    everybody = settings.participation.sampled(0)
    yield from server.collect(0, everybody, dict.fromkeys(server.oneways, everybody))
    for number in range(1, settings.rounds + 1):
        holders = settings.participation.sampled(number)
        wanted = yield from server.wanted(number, holders)
        yield from server.collect(number, holders, wanted)
    return FlaimResult(server.model, server.schedule, tuple(server.rounds), server.budget.spent)


class _Server:
    """What the server keeps over the rounds."""

    def __init__(
        self, settings: FlaimSettings, workload: Workload, noise: Noise, estimator: Estimator
    ) -> None:
        self.settings, self.domain = settings, workload.domain
        self._noise, self._estimator = noise, estimator
        candidates = closure(workload)
        self.oneways = tuple(clique for clique in candidates if len(clique) == 1)
        self._candidates = tuple(
            clique
            for clique in candidates
            if len(clique) > 1 or settings.variant is not Variant.PRIVATE
        )
        self._weight = dict(zip(candidates, weights(workload, candidates), strict=True))
        self.schedule = schedule(settings, len(self.oneways), noise)
        self.budget = PrivacyFilter(settings.rho)
        self.released: list[GroupMeasurement] = []
        self.rounds: list[FlaimRound] = []
        self.model: Model = estimator.fit(self.domain, [], None)

    def wanted(
        self, number: int, holders: Group
    ) -> Generator[FlaimRequest, FlaimAnswer, dict[Clique, Group]]:
        """Find out what is to be measured in a round, and by whom."""
        variant = self.settings.variant
        if variant is Variant.ONEWAY:
            return dict.fromkeys(self.oneways, holders) if number > 1 else {}
        chosen: dict[Clique, Group]
        limit = self._limit(number)
        eligible = affordable(self.domain, self._measured(), self._candidates, limit)
        if not eligible:
            chosen = {}
        elif variant is Variant.RANDOM:
            chosen = dict.fromkeys(self._draw(number, eligible), holders)
        else:
            chosen = yield from self._ask(number, holders, eligible)
        chosen = self._fitting(number, chosen)
        if variant is Variant.PRIVATE and number < self.settings.rounds:
            chosen |= dict.fromkeys(self.oneways, holders)
        return chosen

    def collect(
        self, number: int, holders: Group, wanted: Mapping[Clique, Group]
    ) -> Generator[FlaimRequest, FlaimAnswer, None]:
        """Charge and ask for sums, and fit the model to all there are."""
        opened: list[GroupMeasurement] = []
        if wanted:
            self.budget.charge(self._round_cost(number))
            slots = tuple(Slot(clique, wanted[clique]) for clique in ordered(self.domain, wanted))
            spent = self.budget.spent
            answer = yield Collect(number, holders, slots, self.schedule.sigma2, spent)
            opened = _checked_sums(answer, slots, self.domain)
        self.released += opened
        if opened:
            population = Population(self.released)
            self.model = self._estimator.fit(self.domain, self._combined(population), self.model)
        records = tuple((item.measurement.clique, len(item.group)) for item in opened)
        self.rounds.append(FlaimRound(number, len(holders), records, self.budget.spent))

    def _round_cost(self, number: int) -> Fraction:
        """Return what one record pays for a round's sums at most, whatever its holder chose."""
        variant, d = self.settings.variant, len(self.oneways)
        n_oneways = {Variant.PRIVATE: d, Variant.ONEWAY: d}.get(variant, 0)
        n_chosen = 0 if variant is Variant.ONEWAY else self.settings.local_steps
        if number == 0:
            n_oneways, n_chosen = d, 0
        elif variant is Variant.PRIVATE and number == self.settings.rounds:
            n_oneways = 0
        return (n_oneways + n_chosen) * self._noise.measure_rho(self.schedule.sigma2)

    def _ask(
        self, number: int, holders: Group, eligible: tuple[Clique, ...]
    ) -> Generator[FlaimRequest, FlaimAnswer, dict[Clique, Group]]:
        """Charge and ask the holders for their choices; return who chose what."""
        epsilon = self.schedule.epsilon
        if epsilon is None:
            raise MechanismError(f"{self.settings.variant} leaves no choice to the holders")
        n_steps = min(self.settings.local_steps, len(eligible))
        self.budget.charge(n_steps * self._noise.select_rho(epsilon))
        sigma = self._noise.true_sigma(self.schedule.sigma2)
        answer = yield Choose(
            round=number,
            holders=holders,
            candidates=eligible,
            weights=tuple(self._weight[clique] for clique in eligible),
            epsilon=epsilon,
            biases=tuple(round(noise_l1(sigma, self.domain.n_cells(c))) for c in eligible),
            n_steps=n_steps,
            model=self.model,
            oneways=self._public_oneways(),
        )
        chosen: dict[Clique, Group] = {}
        for holder, places in _checked_choices(answer, holders, n_steps, len(eligible)).items():
            for place in places:
                clique = eligible[place]
                chosen[clique] = chosen.get(clique, frozenset()) | {holder}
        return chosen

    def _draw(self, number: int, eligible: tuple[Clique, ...]) -> list[Clique]:
        """Draw the round's cliques from the public seed."""
        seed = json.dumps(["flaim-random", self.settings.seed, number])
        n_steps = min(self.settings.local_steps, len(eligible))
        return random.Random(seed).sample(eligible, n_steps)  # noqa: S311 - a public choice

    def _combined(self, population: Population) -> list[Measurement]:
        """Bring all marginals to the population of all holders."""
        everybody = self.settings.participation.n_holders
        total = everybody * population.records_per_holder
        return [population.scaled(item, total) for item in self.released]

    def _public_oneways(self) -> dict[Clique, Shares]:
        """Average each one-way marginal over the rounds, for the private correction."""
        if self.settings.variant is not Variant.PRIVATE:
            return {}
        combined = self._combined(Population(self.released))
        modelled = self.model.marginals(self.oneways)  # for what has never been opened
        return {
            clique: to_shares(_average([m for m in combined if m.clique == clique], instead))
            for clique, instead in zip(self.oneways, modelled, strict=True)
        }

    def _measured(self) -> tuple[Clique, ...]:
        return tuple(dict.fromkeys(item.measurement.clique for item in self.released))

    def _limit(self, number: int) -> float:
        """Return the cells that the junction tree may have, more with every round."""
        part = (number + 1) / (self.settings.rounds + 1)
        return self.settings.max_model_mb * 2**20 / 8 * part

    def _fitting(self, number: int, chosen: Mapping[Clique, Group]) -> dict[Clique, Group]:
        """Keep what the model can hold all at once, cliques with many contributors first."""
        measured, limit = list(self._measured()), self._limit(number)
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


def to_shares(values: NDArray[np.float64]) -> Shares:
    """Normalise a marginal to whole units of 2**-SHARE_BITS that sum to exactly 2**SHARE_BITS.

    Negative cells count as 0; a marginal without any mass is uniform. Cumulative sums are rounded,
    so each entry is off by less than one unit, up to floating point.
    """
    positive = np.maximum(values, 0.0)
    sums = np.cumsum(positive if positive.any() else np.ones_like(positive))
    steps = np.floor(sums / sums[-1] * 2**SHARE_BITS + 0.5).astype(np.int64)
    shares: Shares = np.diff(steps, prepend=np.int64(0))
    return shares


def _average(
    measurements: Sequence[Measurement], instead: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average measurements of one clique by inverse variance; `instead` if there are none."""
    if not measurements:
        return instead
    values = np.stack([m.values for m in measurements]).astype(np.float64)
    averaged: NDArray[np.float64] = np.average(
        values, axis=0, weights=[1 / m.variance for m in measurements]
    )
    return averaged


def _checked_choices(
    answer: FlaimAnswer, holders: Group, n_steps: int, n_candidates: int
) -> Mapping[int, Sequence[int]]:
    if not isinstance(answer, Mapping):
        raise MechanismError("a question for choices was answered by something else")
    for holder, places in answer.items():
        known = holder in holders and len(set(places)) == len(places) == n_steps
        if not known or not all(0 <= place < n_candidates for place in places):
            raise MechanismError(
                f"holder {holder} did not choose {n_steps} different candidates out of "
                f"{n_candidates}, or was not asked; its program and this one disagree"
            )
    return answer


def _checked_sums(
    answer: FlaimAnswer, slots: Sequence[Slot], domain: Domain
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
