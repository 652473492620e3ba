"""FLAIM's server: budgets by variant, who is asked for what, which marginals become a model."""

from collections.abc import Callable, Collection, Iterable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import pytest

from aim_core.counts.workload import Workload, parse_workload
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.mechanisms.flaim_requests import (
    Choose,
    Collect,
    FlaimAnswer,
    FlaimRequest,
    MarginalSlot,
)
from aim_core.mechanisms.flaim_server import FlaimResult, flaim
from aim_core.mechanisms.flaim_terms import (
    PROPORTION_BITS,
    FlaimSettings,
    Variant,
    VariantPlan,
    schedule,
    to_proportions,
)
from aim_core.models.measurement import Fitter, Measurement, Model
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.participation import Participation
from aim_core.privacy.population import GroupMeasurement
from aim_core.privacy.zcdp import rho_from_epsilon_delta
from tests.support.toys import TOY, DenseModel, ProportionalFitter, UniformFitter

PAIRS = parse_workload("2way", TOY)
EXACT = Noise()
DELTA = Fraction(1, 10**5)
FOUR = Participation(4, Fraction(1), 0)

Request = TypeVar("Request", Choose, Collect)

setup = partial(FlaimSettings, rho=Fraction(1, 8), participation=FOUR, rounds=3)


def first_ones(request: Choose, holder: int) -> Iterable[int]:
    return range(request.n_steps)


class World:
    """Answers a server: choices as scripted, sums that are all 10 but for the noise's place."""

    def __init__(
        self,
        choose: Callable[[Choose, int], Iterable[int]] = first_ones,
        closed: Collection[Clique] = (),
    ) -> None:
        self.choose, self.closed = choose, closed
        self.requests: list[FlaimRequest] = []

    def run(
        self, settings: FlaimSettings, workload: Workload = PAIRS, fitter: Fitter | None = None
    ) -> FlaimResult:
        self.domain = workload.domain
        server = flaim(settings, workload, EXACT, fitter or ProportionalFitter(2))
        request = next(server)
        try:
            while True:
                self.requests.append(request)
                request = server.send(self.answer(request))
        except StopIteration as stop:
            result: FlaimResult = stop.value
            return result

    def answer(self, request: FlaimRequest) -> FlaimAnswer:
        if isinstance(request, Choose):
            return {h: tuple(self.choose(request, h)) for h in request.holders}
        return [self.opened(slot, request) for slot in request.slots]

    def opened(self, slot: MarginalSlot, request: Collect) -> GroupMeasurement | None:
        if slot.clique in self.closed:
            return None
        values = np.full(self.domain.n_cells(slot.clique), 10 * len(slot.holders))
        measurement = Measurement(slot.clique, values, float(request.sigma2))
        return GroupMeasurement(measurement, slot.holders)

    def of(self, kind: type[Request]) -> list[Request]:
        return [request for request in self.requests if isinstance(request, kind)]


class WrongWorld(World):
    """Answers requests of one kind with what does not fit."""

    def __init__(self, kind: type[FlaimRequest], wrong: object) -> None:
        super().__init__()
        self.kind, self.wrong = kind, cast("FlaimAnswer", wrong)

    def answer(self, request: FlaimRequest) -> FlaimAnswer:
        return self.wrong if isinstance(request, self.kind) else super().answer(request)


@pytest.mark.parametrize(
    ("variant", "epsilon", "sigma", "step"),
    [
        (Variant.NAIVE, 1, 20.9, 0.0494),
        (Variant.ORACLE, 1, 20.9, 0.0494),
        (Variant.PRIVATE, 1, 52.2, 0.0494),
        (Variant.NAIVE, 5, 4.92, None),
        (Variant.PRIVATE, 5, 12.3, None),
    ],
)
def test_noise_has_the_check_values_of_the_specification(
    variant: Variant, epsilon: int, sigma: float, step: float | None
) -> None:
    rho = rho_from_epsilon_delta(Fraction(epsilon), DELTA)
    if epsilon == 1:
        assert float(rho) == pytest.approx(0.03056, abs=5e-6)
    found = schedule(setup(variant, rho=rho, rounds=10), 14, EXACT)
    assert float(found.sigma2) ** 0.5 == pytest.approx(sigma, rel=3e-3)
    if step is not None:
        assert found.selection_epsilon is not None
        assert float(found.selection_epsilon) == pytest.approx(step, abs=5e-5)


def test_holders_are_asked_with_the_cliques_weights() -> None:
    world = World()
    world.run(setup(Variant.NAIVE, rounds=1), Workload(TOY, PAIRS.cliques, (1, 1, 7)))
    (asked,) = world.of(Choose)
    weight_of = dict(zip(asked.candidates, asked.weights, strict=True))
    assert weight_of[("a", "b")] == 2 + 7 + 1
    assert weight_of[("b", "c")] == 7 * 2 + 1 + 1


@pytest.mark.parametrize(
    ("variant", "n_measured", "alpha"),
    [
        (Variant.NAIVE, 5 * 2 + 3, Fraction(9, 10)),
        (Variant.ORACLE, 5 * 2 + 3, Fraction(9, 10)),
        (Variant.PRIVATE, 5 * (2 + 3), Fraction(9, 10)),
        (Variant.RANDOM, 5 * 2 + 3, Fraction(1)),
        (Variant.ONEWAY, 5 * 3, Fraction(1)),
    ],
)
def test_schedules_by_hand(variant: Variant, n_measured: int, alpha: Fraction) -> None:
    settings = setup(variant, rounds=5, local_steps=2)
    found = schedule(settings, 3, EXACT)
    assert found.n_measured == n_measured
    assert float(found.sigma2) == pytest.approx(n_measured / float(2 * alpha / 8))
    if variant.holders_choose:
        assert found.n_chosen == 10
        assert found.selection_epsilon is not None
        assert float(found.selection_epsilon) ** 2 == pytest.approx(8 * 0.1 / 8 / 10)
    else:
        assert found.selection_epsilon is None
        assert found.n_chosen == 0
    spent = found.n_measured * EXACT.measure_rho(found.sigma2)
    if found.selection_epsilon is not None:
        spent += found.n_chosen * EXACT.select_rho(found.selection_epsilon)
    assert settings.rho * (1 - Fraction(1, 10**9)) < spent <= settings.rho


@pytest.mark.parametrize(
    ("variant", "oneways", "choices"),
    [
        (Variant.NAIVE, [3, 0, 0, 0], [0, 2, 2, 2]),
        (Variant.ORACLE, [3, 0, 0, 0], [0, 2, 2, 2]),
        (Variant.PRIVATE, [3, 3, 3, 0], [0, 2, 2, 2]),
        (Variant.RANDOM, [3, 0, 0, 0], [0, 2, 2, 2]),
        (Variant.ONEWAY, [3, 0, 3, 3], [0, 0, 0, 0]),
    ],
)
def test_a_plan_says_what_each_round_measures(
    variant: Variant, oneways: list[int], choices: list[int]
) -> None:
    plan = VariantPlan(setup(variant, rounds=3, local_steps=2), 3)
    assert [plan.oneways_in(number) for number in range(4)] == oneways
    assert [plan.choices_in(number) for number in range(4)] == choices
    assert plan.n_measured == sum(oneways) + sum(choices)
    assert plan.n_chosen == (sum(choices) if variant.holders_choose else 0)


@pytest.mark.parametrize("variant", list(Variant))
@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_spends_its_schedule_and_no_more(variant: Variant, steps: int) -> None:
    settings = setup(variant, local_steps=steps)
    world = World()
    result = world.run(settings)
    found = result.schedule
    due = found.n_measured * EXACT.measure_rho(found.sigma2)
    if found.selection_epsilon is not None:
        due += found.n_chosen * EXACT.select_rho(found.selection_epsilon)
    assert result.rho_spent == due <= settings.rho
    assert [record.rho_spent for record in result.rounds] == sorted(
        record.rho_spent for record in result.rounds
    )
    # per holder and round: as many cliques as a record pays for, not one more
    for request in world.of(Collect):
        others = [slot for slot in request.slots if len(slot.clique) > 1]
        for holder in request.holders:
            n_chosen = sum(holder in slot.holders for slot in others)
            assert n_chosen <= settings.local_steps


def test_requests_by_variant() -> None:
    ways = {}
    for variant in Variant:
        world = World()
        world.run(setup(variant))
        ways[variant] = [
            sorted(len(slot.clique) for slot in request.slots) for request in world.of(Collect)
        ]
        assert len(world.of(Choose)) == (3 if variant.holders_choose else 0)
        if variant is Variant.PRIVATE:
            assert all(len(c) > 1 for ask in world.of(Choose) for c in ask.candidates)
            assert set(world.of(Choose)[0].oneways) == {("a",), ("b",), ("c",)}
        elif variant.holders_choose:
            assert ("a",) in world.of(Choose)[0].candidates
            assert not world.of(Choose)[0].oneways
    # here all holders choose the first candidate: a one-way, but for the private correction
    assert ways[Variant.NAIVE] == ways[Variant.ORACLE] == [[1, 1, 1], [1], [1], [1]]
    assert ways[Variant.PRIVATE] == [[1, 1, 1], [1, 1, 1, 2], [1, 1, 1, 2], [2]]
    assert ways[Variant.ONEWAY] == [[1, 1, 1]] * 3
    assert [len(sizes) for sizes in ways[Variant.RANDOM]] == [3, 1, 1, 1]


def test_only_sampled_holders_are_asked_and_cliques_go_to_those_who_chose_them() -> None:
    some = Participation(20, Fraction(1, 4), 5)
    world = World(lambda request, holder: [holder % len(request.candidates)])
    world.run(setup(Variant.NAIVE, participation=some))
    for ask, collect in zip(world.of(Choose), world.of(Collect)[1:], strict=True):
        assert ask.holders == some.sampled(ask.round) == collect.holders
        for slot in collect.slots:
            index = ask.candidates.index(slot.clique)
            chose = {h for h in ask.holders if h % len(ask.candidates) == index}
            assert slot.holders == chose


def test_random_cliques_are_a_public_draw() -> None:
    def cliques(seed: int) -> list[Clique]:
        world = World()
        world.run(setup(Variant.RANDOM, rounds=12, seed=seed))
        return [request.slots[0].clique for request in world.of(Collect)[1:]]

    assert cliques(1) == cliques(1)
    assert cliques(1) != cliques(2)
    assert len(set(cliques(1))) > 2


def test_groups_are_brought_to_one_population() -> None:
    class Keeping(ProportionalFitter):
        def fit(
            self, domain: Domain, measurements: Sequence[Measurement], warm_start: Model | None
        ) -> DenseModel:
            self.seen = measurements
            return UniformFitter().fit(domain, measurements, warm_start)

    estimator = Keeping()
    world = World(lambda request, holder: [min(holder, 1)])
    world.run(setup(Variant.NAIVE, rounds=1, rho=Fraction(100)), fitter=estimator)
    # every marginal counts 10 a cell and holder; holders 0 and 1 to 3 chose different cliques
    totals = {m.clique: m.values.sum() for m in estimator.seen[3:]}
    assert len(totals) == 2
    # the cells of a and b differ in number, so the world's holders have 20 or 30 records
    assert all(60 <= total <= 140 for total in totals.values())


def test_slots_that_stayed_closed_are_charged_and_left_out() -> None:
    world = World(closed={("a",)})
    result = world.run(setup(Variant.NAIVE))
    assert result.rho_spent == World().run(setup(Variant.NAIVE)).rho_spent
    opened = [clique for record in result.rounds for clique, _ in record.opened]
    assert ("a",) not in opened
    world = World(closed={("a",)})
    world.run(setup(Variant.PRIVATE))
    assert np.array_equal(world.of(Choose)[0].oneways["a",], np.full(2, 2 ** (PROPORTION_BITS - 1)))


def test_the_model_never_outgrows_its_limit() -> None:
    domain = Domain(("a", "b", "c", "d"), (20, 20, 20, 20))
    workload = parse_workload("3way", domain)
    world = World(lambda request, holder: [len(request.candidates) - 1 - holder])
    # two 3-way marginals make 16,000 cells, 0.12 MB; with a third all four attributes are joined
    result = world.run(
        setup(Variant.NAIVE, rounds=1, max_model_mb=0.13), workload, fitter=UniformFitter()
    )
    wide = [clique for clique, _ in result.rounds[1].opened if len(clique) == 3]
    assert len(wide) == 2
    assert len(world.of(Choose)[0].candidates) == 14


def test_shares_are_whole_and_add_up() -> None:
    for values in ([0.0, 0.0, 0.0], [-5.0, 1.0, 3.0], [1e-9, 1e9, 1.0], np.arange(1000.0)):
        shares = to_proportions(np.asarray(values))
        assert shares.sum() == 2**PROPORTION_BITS
        assert shares.min() >= 0
    assert to_proportions(np.array([-5.0, 1.0, 3.0])).tolist() == [0, 2**30, 3 * 2**30]


@pytest.mark.parametrize(
    "answer",
    [{0: (0,), 9: (0,)}, {0: (0, 1)}, {0: (99,)}, {0: (-1,)}, [], {0: ()}],
)
def test_choices_that_do_not_fit_are_refused(answer: object) -> None:
    with pytest.raises(MechanismError):
        WrongWorld(Choose, answer).run(setup(Variant.NAIVE))


def test_sums_that_do_not_fit_are_refused() -> None:
    for wrong in ([], [None], {0: (0,)}):
        with pytest.raises(MechanismError):
            WrongWorld(Collect, wrong).run(setup(Variant.ONEWAY))


def test_settings_that_cannot_be_are_refused() -> None:
    impossible: list[dict[str, Any]] = [
        {"rho": Fraction(0)},
        {"rounds": 0},
        {"local_steps": 0},
        {"max_model_mb": 0},
        {"max_model_mb": 1.1e6},
    ]
    for changes in impossible:
        with pytest.raises(MechanismError):
            setup(Variant.NAIVE, **changes)
    with pytest.raises(MechanismError, match="too small"):
        schedule(setup(Variant.NAIVE), 3, Noise(gumbel_eta=Fraction(1)))


def test_only_the_oracle_is_not_private() -> None:
    assert [variant for variant in Variant if not variant.is_private] == [Variant.ORACLE]
