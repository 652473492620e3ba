"""The federated mode: FLAIM's server and data holders, over serialised messages.

One process simulates all of them, for comparison, but they only exchange bytes, which are counted:
`FederatedServer` has no row and no holder's object. Sums come by secure aggregation
(`mpc.aggregation`). Who contributes to a slot adds his part of the noise to his own vector, so the
server sees noisy sums only; a slot with one contributor carries all of the noise.
"""

import functools
import math
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from aim_core.accounting import PrivacyFilter
from aim_core.aim import Noise
from aim_core.domain import Clique, Domain
from aim_core.estimation_types import Estimator, Measurement
from aim_core.flaim import (
    Choices,
    Choose,
    Collect,
    FlaimAnswer,
    FlaimRequest,
    FlaimResult,
    FlaimSettings,
    Shares,
    Sums,
    flaim,
)
from aim_core.flaim_holder import FlaimHolder, Question, model_references
from aim_core.plaintext import NoiseSource
from aim_core.population import GroupMeasurement
from aim_core.workload import Workload, closure, weights
from mpc.aggregation import Parameters, from_ring, to_ring
from mpc.aggregator import Aggregator
from mpc.contributor import Contributor
from mpc.errors import TooFewMembers
from mpc.job import FRACTION_BITS
from mpc.noise import NoiseCosts, SystemSampler
from mpc.sampling import PER_SAMPLE_DELTA, gaussian_bound, gumbel_error
from parties.errors import RequestRefused
from parties.federation_messages import (
    Choice,
    Order,
    QuestionHeader,
    SlotHeader,
    decode_question,
    encode_question,
)
from parties.messages import parse

GRID_BITS = 8
"""Vectors are summed in units of 2**-GRID_BITS counts, so that small parts of noise are fine."""

MIN_GRID_SIGMA2 = 16
"""Least variance, in squared units of the grid, of one holder's part of the noise."""


def federated_costs(n_holders: int) -> NoiseCosts:
    """Return what the holders' noise costs.

    A slot of variance sigma2 needs h contributors; each adds N_Z(0, sigma2 4**GRID_BITS / h) on the
    grid. By [KLS21, Thm 1], with one cell of sensitivity 1, the sum of h costs at most
    1 / (2 sigma2) + tau / 4 where tau <= 10 (h - 1) exp(-pi^2 s^2), s^2 the variance of a part in
    grid units. At s^2 = MIN_GRID_SIGMA2 = 16 and h <= 2**16 that is below 2**-200.
    """
    return NoiseCosts(
        variance_factor=Fraction(1),
        select_scale=1.0,
        gumbel_eta=gumbel_error(FRACTION_BITS),
        measure_slack=Fraction(1, 2**200),
        sigma2_min=Fraction(MIN_GRID_SIGMA2 * n_holders, 4**GRID_BITS),
        measure_delta=n_holders * PER_SAMPLE_DELTA,
        select_delta=PER_SAMPLE_DELTA,
        measure_loss=Fraction(0),
    )


@dataclass
class Traffic:
    """Bytes of serialised messages, by holder: up to the server, down to the holder."""

    n_holders: int
    up: list[int] = field(init=False)
    down: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.up = [0] * self.n_holders
        self.down = [0] * self.n_holders


class FederatedHolder:
    """A data holder: bytes in, bytes out. It checks what it is asked, and pays for it itself.

    `truths` are the exact marginals of all holders together, for AugFLAIM (Oracle) only.
    """

    def __init__(
        self,
        number: int,
        workload: Workload,
        table: FlaimHolder,
        rho: Fraction,
        noise: Noise,
        noise_source: NoiseSource | None = None,
        truths: Mapping[Clique, Shares] | None = None,
    ) -> None:
        self.number = number
        self._workload, self._candidates = workload, closure(workload)
        self._table, self._truths = table, truths
        self._noise, self._budget = noise, PrivacyFilter(rho)
        self._noise_source = noise_source or SystemSampler()
        self._order: Order | None = None
        self._contributor: Contributor | None = None

    def __repr__(self) -> str:
        return f"FederatedHolder({self.number})"

    def choose(self, body: bytes) -> bytes:
        """Answer a question with this holder's choice of cliques; the choice is all it reveals.

        Raises RequestRefused for a question that does not fit and BudgetExceeded for one too many.
        """
        header, references, oneways = _read_question(body, self._workload.domain, self._candidates)
        candidates = tuple(self._candidates[place] for place in header.places)
        question = Question(
            candidates=candidates,
            weights=weights(self._workload, candidates),
            epsilon=Fraction(header.epsilon),
            biases=tuple(header.biases),
            n_steps=header.n_steps,
            references=references,
            oneways=oneways or None,
            truths=self._truths,
        )
        self._budget.charge(header.n_steps * self._noise.select_rho(question.epsilon))
        chosen = self._table.choose(question, self._noise_source, FRACTION_BITS)
        return Choice(round=header.round, chosen=list(chosen)).model_dump_json().encode()

    def advertise(self, body: bytes) -> bytes:
        """Take an order and return the first message of its aggregation."""
        order = parse(Order, body)
        if self.number not in order.members:
            raise RequestRefused(f"holder {self.number} is no member of this aggregation")
        self._order = order
        self._contributor = Contributor(_parameters(order), self.number)
        return self._contributor.advertise()

    def share_keys(self, roster: bytes) -> bytes:
        """Return this holder's sealed shares, see `Contributor.share_keys`."""
        contributor, order = self._session()
        table = order.slot_table(self._candidates, self._workload.domain)
        return contributor.share_keys(roster, table)

    def contribute(self, inbox: bytes) -> bytes:
        """Pay for this holder's slots, and return its masked marginals with their noise."""
        contributor, order = self._session()
        own = [n for n, slot in enumerate(order.slots) if self.number in slot.holders]
        sigma2 = Fraction(order.sigma2)
        if own:
            self._budget.charge(len(own) * self._noise.measure_rho(sigma2))
        vectors = {number: self._vector(order, number, sigma2) for number in own}
        return contributor.contribute(inbox, vectors)

    def unmask(self, survivors: bytes) -> bytes:
        """Return the shares that open the sums, see `Contributor.unmask`."""
        contributor, _ = self._session()
        self._contributor = self._order = None
        return contributor.unmask(survivors)

    def _session(self) -> tuple[Contributor, Order]:
        if self._contributor is None or self._order is None:
            raise RequestRefused(f"holder {self.number} is in no aggregation")
        return self._contributor, self._order

    def _vector(self, order: Order, number: int, sigma2: Fraction) -> NDArray[np.uint64]:
        """Return a slot's marginal plus this holder's part of the noise, as ring elements."""
        slot = order.slots[number]
        exact = self._table.marginal(self._candidates[slot.place]) << GRID_BITS
        part = sigma2 * 4**GRID_BITS / slot.minimum
        return to_ring(exact + self._noise_source.gaussian(len(exact), part), order.ring_bits)


@functools.lru_cache(maxsize=1)
def _read_question(
    body: bytes, domain: Domain, candidates: tuple[Clique, ...]
) -> tuple[QuestionHeader, tuple[Shares, ...], Mapping[Clique, Shares]]:
    """Decode a question. All holders of a round get the same bytes, so here it is done once."""
    header, model, oneways = decode_question(body, domain, candidates)
    asked = [candidates[place] for place in header.places]
    return header, model_references(model, asked), oneways


def _parameters(order: Order) -> Parameters:
    members = tuple(sorted(order.members))
    # t is the least that secure aggregation allows, so that most dropouts are survived
    return Parameters(bytes.fromhex(order.session), members, len(members) // 2 + 1, order.ring_bits)


@dataclass(frozen=True)
class FederatedOutcome:
    """A finished run and what it sent."""

    result: FlaimResult
    traffic: Traffic


class FederatedServer:
    """The server of FLAIM: drives the mechanism, and sees nothing but the holders' messages.

    `exchange` sends one body to a holder and returns its answer, None if none came in time.
    `tolerance` is the part of a slot's contributors that may drop out with enough noise left; each
    adds that much more, so 0 is the paper's noise, and a slot then needs all of them. `n_max`
    bounds the number of records of all holders together; it sizes the ring.
    """

    def __init__(
        self,
        settings: FlaimSettings,
        workload: Workload,
        n_max: int,
        exchange: Callable[[str, int, int, bytes], bytes | None],
        tolerance: Fraction = Fraction(0),
    ) -> None:
        self._settings, self._workload = settings, workload
        self._candidates = closure(workload)
        self._n_max, self._tolerance = n_max, tolerance
        self._exchange = exchange

    def run(self, noise: Noise, estimator: Estimator) -> FlaimResult:
        """Run to the end; raises what `aim_core.flaim.flaim` raises."""
        server = flaim(self._settings, self._workload, noise, estimator)
        return _drive(server, self._answer)

    def _answer(self, request: FlaimRequest) -> FlaimAnswer:
        return self._choices(request) if isinstance(request, Choose) else self._sums(request)

    def _choices(self, request: Choose) -> Choices:
        body = encode_question(request, self._candidates)
        answers = self._ask("choose", request.round, dict.fromkeys(sorted(request.holders), body))
        return {holder: parse(Choice, answer).chosen for holder, answer in answers.items()}

    def _sums(self, request: Collect) -> Sums:
        """Sum a round's slots by secure aggregation; none opens if too few holders are left."""
        order = self._order(request)
        aggregator = Aggregator(_parameters(order))
        slots = order.slot_table(self._candidates, self._workload.domain)
        number, body = request.round, order.model_dump_json().encode()
        try:
            keys = self._ask("advertise", number, dict.fromkeys(order.members, body))
            roster = aggregator.roster(keys.values())
            shares = self._ask("share_keys", number, dict.fromkeys(keys, roster))
            inboxes = aggregator.inboxes(shares.values(), slots)
            masked = self._ask("contribute", number, inboxes)
            survivors = aggregator.survivors(masked.values())
            opening = self._ask("unmask", number, dict.fromkeys(masked, survivors))
            opened = aggregator.sums(opening.values())
        except TooFewMembers:
            opened = {}
        sums: list[GroupMeasurement | None] = []
        for place, slot in enumerate(request.slots):
            if place not in opened:
                sums.append(None)
                continue
            found = opened[place]
            values = from_ring(found.values, order.ring_bits) / 2**GRID_BITS
            variance = request.sigma2 * len(found.contributors) / slots[place].minimum
            measurement = Measurement(slot.clique, values, float(variance))
            sums.append(GroupMeasurement(measurement, frozenset(found.contributors)))
        return sums

    def _order(self, request: Collect) -> Order:
        place = {clique: number for number, clique in enumerate(self._candidates)}
        slots = [
            SlotHeader(
                place=place[slot.clique],
                holders=sorted(slot.holders),
                minimum=max(1, math.ceil(len(slot.holders) * (1 - self._tolerance))),
            )
            for slot in request.slots
        ]
        return Order(
            round=request.round,
            session=secrets.token_hex(16),
            members=sorted(frozenset().union(*(slot.holders for slot in request.slots))),
            ring_bits=max(_ring_bits(self._n_max, request.sigma2, slot) for slot in slots),
            sigma2=str(request.sigma2),
            slots=slots,
        )

    def _ask(self, step: str, number: int, bodies: Mapping[int, bytes]) -> dict[int, bytes]:
        answers = {h: self._exchange(step, number, h, body) for h, body in bodies.items()}
        return {holder: answer for holder, answer in answers.items() if answer is not None}


def _ring_bits(n_max: int, sigma2: Fraction, slot: SlotHeader) -> int:
    """Return the bits that a noisy sum, in units of the grid, never overflows."""
    part = sigma2 * 4**GRID_BITS / slot.minimum
    return ((n_max << GRID_BITS) + len(slot.holders) * gaussian_bound(part)).bit_length() + 1


def _drive(
    server: Generator[FlaimRequest, FlaimAnswer, FlaimResult],
    answer: Callable[[FlaimRequest], FlaimAnswer],
) -> FlaimResult:
    request = next(server)
    while True:
        try:
            request = server.send(answer(request))
        except StopIteration as stop:
            result: FlaimResult = stop.value
            return result


Deliver = Callable[[str, int, int], bool]
"""Says whether a holder answers: (step, round, holder)."""


def simulate(
    settings: FlaimSettings,
    workload: Workload,
    holders: Sequence[FederatedHolder],
    n_max: int,
    noise: Noise,
    estimator: Estimator,
    tolerance: Fraction = Fraction(0),
    deliver: Deliver = lambda step, round_number, holder: True,  # noqa: ARG005 - a signature
) -> FederatedOutcome:
    """Run server and holders in one process, over bytes; `holders[k]` has the number k.

    Raises what `aim_core.flaim.flaim` raises, and the holders' RequestRefused and BudgetExceeded.
    """
    traffic = Traffic(len(holders))

    def exchange(step: str, round_number: int, number: int, body: bytes) -> bytes | None:
        traffic.down[number] += len(body)
        if not deliver(step, round_number, number):
            return None
        answer: bytes = getattr(holders[number], step)(body)
        traffic.up[number] += len(answer)
        return answer

    server = FederatedServer(settings, workload, n_max, exchange, tolerance)
    return FederatedOutcome(server.run(noise, estimator), traffic)
