"""The federated mode: sums over serialised messages, dropouts, budgets, what the server sees."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from aim_core.arrays import CodeTable, Counts
from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import closure, parse_workload
from aim_core.domain import Clique
from aim_core.errors import BudgetExceeded
from aim_core.mechanisms.flaim_holder import FlaimHolder
from aim_core.mechanisms.flaim_requests import (
    Choose,
    Collect,
    FlaimAnswer,
    FlaimRequest,
    MarginalSlot,
)
from aim_core.mechanisms.flaim_server import FlaimResult, flaim
from aim_core.mechanisms.flaim_terms import FlaimSettings, Variant, to_proportions
from aim_core.mechanisms.plaintext import Sampler
from aim_core.models.descent import MirrorDescent
from aim_core.models.measurement import Measurement
from aim_core.privacy.participation import Participation
from aim_core.privacy.population import GroupMeasurement
from mpc.shares.packing import pack_ring
from parties.agreement.budget import noise_terms
from parties.errors import RequestRefused
from parties.federated.holder import FederatedHolder
from parties.federated.messages import Order, Stage, decode_question, encode_question
from parties.federated.noise import GRID_BITS, MIN_GRID_SIGMA2, federated_costs
from parties.federated.server import FederatedServer
from parties.federated.simulation import Deliver, FederatedOutcome, simulate
from parties.wire.messages import pack, unpack
from tests.support.toys import TOY, NoNoise, SeededNoise

PAIRS = parse_workload("2way", TOY)
CANDIDATES = closure(PAIRS)
RHO = Fraction(1, 2)
K = 5
N_MAX = 1000
NOISE = noise_terms(federated_costs(K))
EVERYBODY = Participation(K, Fraction(1), 0)


def tables() -> list[CodeTable]:
    generator = np.random.default_rng(0)
    sizes = generator.integers(20, 60, K)
    return [np.stack([generator.integers(0, size, n) for size in TOY.sizes], axis=1) for n in sizes]


def setup(
    variant: Variant = Variant.NAIVE, participation: Participation = EVERYBODY, rounds: int = 2
) -> FlaimSettings:
    return FlaimSettings(variant, RHO, participation, rounds)


def members(
    settings: FlaimSettings, source: Callable[[int], Sampler] | None = None, rho: Fraction = RHO
) -> list[FederatedHolder]:
    whole = np.concatenate(tables())
    exact = count_marginals([whole], TOY, CANDIDATES)
    truths = {clique: to_proportions(counts.astype(float)) for clique, counts in exact.items()}
    return [
        FederatedHolder(
            number,
            PAIRS,
            FlaimHolder(TOY, rows),
            rho,
            NOISE,
            None if source is None else source(number),
            truths if settings.variant is Variant.ORACLE else None,
        )
        for number, rows in enumerate(tables())
    ]


def run(
    settings: FlaimSettings,
    holders: Sequence[FederatedHolder],
    tolerance: Fraction = Fraction(0),
    deliver: Deliver = lambda stage, round_number, holder: True,
) -> FederatedOutcome:
    return simulate(settings, PAIRS, holders, N_MAX, NOISE, MirrorDescent(), tolerance, deliver)


def exact_sum(clique: Clique, holders: Sequence[FlaimHolder]) -> Counts:
    total: Counts = np.sum([holder.marginal(clique) for holder in holders], axis=0)
    return total


class InTheClear:
    """Answers FLAIM's requests without messages: what the federation must come to."""

    def __init__(self, settings: FlaimSettings) -> None:
        self.holders = members(settings, lambda _: NoNoise())
        self.tables = [FlaimHolder(TOY, rows) for rows in tables()]

    def answer(self, request: FlaimRequest) -> FlaimAnswer:
        if isinstance(request, Choose):
            body = encode_question(request, CANDIDATES)
            return {h: json.loads(self.holders[h].choose(body))["chosen"] for h in request.holders}
        return [self.opened(slot, request) for slot in request.slots]

    def opened(self, slot: MarginalSlot, request: Collect) -> GroupMeasurement:
        total = exact_sum(slot.clique, [self.tables[h] for h in slot.holders])
        return GroupMeasurement(
            Measurement(slot.clique, total.astype(float), float(request.sigma2)), slot.holders
        )


@pytest.mark.parametrize("variant", list(Variant))
def test_sums_over_messages_are_the_sums(variant: Variant) -> None:
    settings = setup(variant)
    clear = InTheClear(settings)
    server = flaim(settings, PAIRS, NOISE, MirrorDescent())
    request = next(server)
    try:
        while True:
            request = server.send(clear.answer(request))
    except StopIteration as stop:
        expected: FlaimResult = stop.value
    found = run(settings, members(settings, lambda _: NoNoise())).result
    assert found.rounds == expected.rounds
    assert found.rho_spent == expected.rho_spent
    for clique in CANDIDATES:
        assert np.allclose(
            found.model.marginals([clique])[0], expected.model.marginals([clique])[0]
        )


def test_the_same_seed_and_noise_give_the_same_run() -> None:
    some = Participation(K, Fraction(1, 2), 3)
    settings = setup(Variant.PRIVATE, participation=some, rounds=4)
    runs = [run(settings, members(settings, SeededNoise)) for _ in range(2)]
    assert runs[0].result.rounds == runs[1].result.rounds
    assert runs[0].traffic == runs[1].traffic
    cells = [found.result.model.marginals([("a", "b")])[0] for found in runs]
    assert np.array_equal(cells[0], cells[1])


Message = tuple[Stage, int, bytes, bytes]


@dataclass
class Wire:
    """Writes down everything that is sent between a server and its holders."""

    holders: Sequence[FederatedHolder]
    sent: list[Message] = field(default_factory=list)

    def exchange(self, stage: Stage, round_number: int, number: int, body: bytes) -> bytes:
        answer = self.holders[number].answer(stage, body)
        self.sent.append((stage, number, body, answer))
        return answer


def served(settings: FlaimSettings, wire: Wire) -> FederatedServer:
    return FederatedServer(settings, PAIRS, N_MAX, wire.exchange)


def test_unmasked_contributions_never_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = setup(Variant.PRIVATE)
    holders = members(settings, lambda _: NoNoise())
    plain: list[bytes] = []
    own = FederatedHolder._vector

    def noted(
        holder: FederatedHolder, order: Order, number: int, sigma2: Fraction
    ) -> npt.NDArray[np.uint64]:
        vector = own(holder, order, number, sigma2)
        plain.append(pack_ring(vector.astype(np.uint32), order.ring_bits))
        return vector

    monkeypatch.setattr(FederatedHolder, "_vector", noted)
    wire = Wire(holders)
    served(settings, wire).run(NOISE, MirrorDescent())
    # vectors of two cells may occur by chance; the others have at least six bytes
    long = [vector for vector in plain if len(vector) >= 6]
    assert len(long) > 20
    everything = b"".join(body + answer for _, _, body, answer in wire.sent)
    assert not any(vector in everything for vector in long)


def test_without_masks_the_same_check_finds_the_contributions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control of the test above."""
    for name in ("add_self_mask", "add_pair_mask"):
        monkeypatch.setattr(f"mpc.aggregation.member.{name}", lambda *_: None)
    settings = setup(Variant.ONEWAY)
    holders = members(settings, lambda _: NoNoise())
    wire = Wire(holders)
    seen: list[bool] = []

    def exchange(stage: Stage, round_number: int, number: int, body: bytes) -> bytes:
        answer = wire.exchange(stage, round_number, number, body)
        if stage == Stage.CONTRIBUTE:
            counts = holders[number]._table.marginal(("a",)) << GRID_BITS
            bits = order_bits(wire.sent)
            packed = pack_ring(counts.astype(np.uint32), bits)
            seen.append(packed in answer)
        return answer

    server = FederatedServer(settings, PAIRS, N_MAX, exchange)
    server.run(NOISE, MirrorDescent())
    assert seen
    assert all(seen)


def order_bits(sent: Sequence[Message]) -> int:
    orders = [body for stage, _, body, _ in sent if stage == Stage.ADVERTISE]
    return Order.model_validate_json(orders[-1]).ring_bits


def test_bytes_are_those_of_the_messages() -> None:
    settings = setup(Variant.PRIVATE)
    wire = Wire(members(settings, SeededNoise))
    served(settings, wire).run(NOISE, MirrorDescent())
    found = run(settings, members(settings, SeededNoise)).traffic
    for number in range(K):
        own = [(body, answer) for _, who, body, answer in wire.sent if who == number]
        assert found.up[number] == sum(len(answer) for _, answer in own)
        assert found.down[number] == sum(len(body) for body, _ in own)
    stages = {stage for stage, *_ in wire.sent}
    assert stages == set(Stage)


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("tolerance", [Fraction(0), Fraction(1, 2)])
def test_a_holder_that_drops_out_costs_slots_never_the_run(
    stage: Stage, tolerance: Fraction
) -> None:
    settings = setup(Variant.PRIVATE, rounds=2)

    def deliver(at: Stage, round_number: int, holder: int) -> bool:
        return not (at == stage and round_number == 1 and holder == 2)

    found = run(
        settings, members(settings, lambda _: NoNoise()), tolerance=tolerance, deliver=deliver
    )
    first = dict(found.result.rounds[1].opened)
    # the first round has the one-ways of all, and the pairs that were chosen
    if stage in {Stage.CHOOSE, Stage.UNMASK}:  # it chose nothing, but contributes to the one-ways
        assert first["a",] == K
    elif tolerance:
        assert first["a",] == K - 1
    else:  # a slot needs all of its contributors, or there would be too little noise
        assert ("a",) not in first
    assert len(found.result.rounds) == 3


def test_too_few_holders_leave_a_round_without_sums() -> None:
    settings = setup(Variant.ONEWAY)

    def deliver(at: Stage, round_number: int, holder: int) -> bool:
        return not (at == Stage.CONTRIBUTE and round_number == 0 and holder < 3)

    found = run(settings, members(settings), tolerance=Fraction(1, 2), deliver=deliver)
    assert found.result.rounds[0].opened == ()
    assert len(found.result.rounds[2].opened) == 3


@pytest.mark.parametrize(("holders", "tolerance"), [(5, 0), (5, Fraction(2, 5)), (1, 0)])
def test_a_slot_has_the_noise_that_was_asked_for(holders: int, tolerance: Fraction | int) -> None:
    """Also with a single contributor, and with as many dropouts as are tolerated."""
    wide = parse_workload("3way", TOY)
    settings = setup(Variant.ONEWAY, participation=Participation(holders, Fraction(1), 0))
    people = [
        FederatedHolder(number, wide, FlaimHolder(TOY, rows), Fraction(10**9), NOISE)
        for number, rows in enumerate(tables()[:holders])
    ]
    n_missing = int(tolerance * holders)

    def exchange(stage: Stage, round_number: int, number: int, body: bytes) -> bytes | None:
        if stage == Stage.CONTRIBUTE and number < n_missing:
            return None
        return people[number].answer(stage, body)

    server = FederatedServer(settings, wide, N_MAX, exchange, Fraction(tolerance))
    everybody = frozenset(range(holders))
    sigma2 = Fraction(9)
    request = Collect(
        0, everybody, (MarginalSlot(("a", "b", "c"), everybody),), sigma2, Fraction(0)
    )
    exact = exact_sum(("a", "b", "c"), [holder._table for holder in people[n_missing:]])

    def summed() -> Measurement:
        (found,) = server._sums(request)
        assert found is not None
        return found.measurement

    draws = np.concatenate([summed().values - exact for _ in range(150)])
    # 1800 draws: the variance is within 4 standard deviations, 4 sqrt(2 / 1800) = 13 %
    assert draws.var() == pytest.approx(float(sigma2), rel=0.14)
    assert summed().variance == pytest.approx(float(sigma2))
    assert abs(draws.mean()) < 4 * 3 / math.sqrt(len(draws))


def test_holders_refuse_what_they_cannot_pay() -> None:
    settings = setup(Variant.NAIVE)
    with pytest.raises(BudgetExceeded):
        run(settings, members(settings, rho=RHO / 2))


def test_holders_pay_exactly_what_the_server_books() -> None:
    settings = setup(Variant.PRIVATE)
    holders = members(settings, lambda _: NoNoise())
    result = run(settings, holders).result
    assert all(holder._budget.spent == result.rho_spent for holder in holders)


def test_the_cost_of_summed_noise_is_below_what_is_claimed() -> None:
    costs = federated_costs(2**16)
    tau = 10 * 2**16 * math.exp(-(math.pi**2) * MIN_GRID_SIGMA2)
    assert tau / 4 < float(costs.measure_slack)
    # the least variance that is asked for leaves every holder's part as wide as the bound needs
    assert costs.sigma2_min * 4**GRID_BITS / 2**16 == MIN_GRID_SIGMA2


def question() -> bytes:
    settings = setup(Variant.PRIVATE)
    asked: list[bytes] = []

    def exchange(stage: Stage, round_number: int, number: int, body: bytes) -> bytes:
        if stage == Stage.CHOOSE:
            asked.append(body)
        return holders[number].answer(stage, body)

    holders = members(settings, lambda _: NoNoise())
    FederatedServer(settings, PAIRS, N_MAX, exchange).run(NOISE, MirrorDescent())
    return asked[0]


def test_a_question_carries_model_and_oneways() -> None:
    header, model, oneways = decode_question(question(), TOY, CANDIDATES)
    assert header.n_steps == 1
    assert sorted(oneways) == [("a",), ("b",), ("c",)]
    assert all(proportions.sum() == 2**32 for proportions in oneways.values())
    assert model.marginals([("a",)])[0].sum() == pytest.approx(model.total)


def changed(body: bytes, **changes: object) -> bytes:
    text, payload = unpack(body)
    return pack({**json.loads(text), **changes}, payload)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-1],
        lambda body: body[:20],
        lambda body: changed(body, indices=[0, 99]),
        lambda body: changed(body, biases=[1]),
        lambda body: changed(body, has_oneways=False),
        lambda body: changed(body, extra=1),
        lambda body: changed(body, selection_epsilon="0.5"),
        lambda body: changed(body, model={"total": -1.0, "cliques": []}),
    ],
)
def test_spoilt_questions_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    holder = members(setup(Variant.PRIVATE))[0]
    with pytest.raises(RequestRefused):
        holder.choose(spoil(question()))


def test_steps_out_of_order_are_refused() -> None:
    holder = members(setup())[0]
    for stage in (Stage.SHARE_KEYS, Stage.CONTRIBUTE, Stage.UNMASK):
        with pytest.raises(RequestRefused):
            holder.answer(stage, b"")
    order: dict[str, object] = {
        "round": 0,
        "session": "00" * 16,
        "members": [3, 4],
        "ring_bits": 20,
        "sigma2": "4",
        "slots": [{"index": 0, "holders": [3, 4], "minimum": 2}],
    }
    with pytest.raises(RequestRefused, match="no member"):
        holder.advertise(json.dumps(order).encode())
    wrong: list[object] = [None, -1, "x", []]
    for key, value in itertools.product(order, wrong):
        with pytest.raises(RequestRefused):
            holder.advertise(json.dumps({**order, key: value}).encode())


def test_secrets_do_not_show() -> None:
    assert repr(members(setup())[1]) == "FederatedHolder(1)"
