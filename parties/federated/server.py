"""FLAIM's server over serialised messages: it has no row, and no holder's object.

Sums come by secure aggregation (`mpc.aggregation.parameters`). Who contributes to a slot adds his
part of the noise to his own vector, so the server sees noisy sums only; a slot with one contributor
carries all of the noise.
"""

import math
import secrets
from collections.abc import Callable, Generator, Mapping
from fractions import Fraction

from aim_core.counts.workload import Workload, closure
from aim_core.mechanisms.flaim_requests import (
    Choices,
    Choose,
    Collect,
    FlaimAnswer,
    FlaimRequest,
    Sums,
)
from aim_core.mechanisms.flaim_server import FlaimResult, flaim
from aim_core.mechanisms.flaim_terms import FlaimSettings
from aim_core.models.measurement import Fitter, Measurement
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.population import GroupMeasurement
from mpc.aggregation.parameters import from_ring
from mpc.aggregation.server import Aggregator, SlotSum
from mpc.errors import TooFewMembers
from mpc.noise.in_the_clear import gaussian_bound
from parties.federated.messages import Choice, Order, OrderSlot, Stage, encode_question
from parties.federated.noise import GRID_BITS, noise_part
from parties.wire.messages import parse

Exchange = Callable[[Stage, int, int, bytes], bytes | None]
"""Sends (stage, round, holder, body) and returns the holder's answer, None if none came in time."""


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
        exchange: Exchange,
        tolerance: Fraction = Fraction(0),
    ) -> None:
        self._settings, self._workload = settings, workload
        self._candidates = closure(workload)
        self._n_max, self._tolerance = n_max, tolerance
        self._exchange = exchange

    def run(self, noise: Noise, fitter: Fitter) -> FlaimResult:
        """Run to the end; raises what `aim_core.mechanisms.flaim_server.flaim` raises."""
        server = flaim(self._settings, self._workload, noise, fitter)
        return _drive(server, self._answer)

    def _answer(self, request: FlaimRequest) -> FlaimAnswer:
        return self._choices(request) if isinstance(request, Choose) else self._sums(request)

    def _choices(self, request: Choose) -> Choices:
        body = encode_question(request, self._candidates)
        bodies = dict.fromkeys(sorted(request.holders), body)
        answers = self._ask(Stage.CHOOSE, request.round, bodies)
        return {holder: parse(Choice, answer).chosen for holder, answer in answers.items()}

    def _sums(self, request: Collect) -> Sums:
        """Sum a round's slots by secure aggregation; none opens if too few holders are left."""
        order = self._order(request)
        aggregator = Aggregator(order.parameters())
        slots = order.slot_table(self._candidates, self._workload.domain)
        number, body = request.round, order.model_dump_json().encode()
        try:
            keys = self._ask(Stage.ADVERTISE, number, dict.fromkeys(order.members, body))
            roster = aggregator.roster(keys.values())
            shares = self._ask(Stage.SHARE_KEYS, number, dict.fromkeys(keys, roster))
            inboxes = aggregator.inboxes(shares.values(), slots)
            masked = self._ask(Stage.CONTRIBUTE, number, inboxes)
            survivors = aggregator.survivors(masked.values())
            opening = self._ask(Stage.UNMASK, number, dict.fromkeys(masked, survivors))
            opened = aggregator.sums(opening.values())
        except TooFewMembers:
            opened = {}
        return [
            self._opened(request, index, opened[index], order) if index in opened else None
            for index in range(len(request.slots))
        ]

    def _opened(
        self, request: Collect, index: int, found: SlotSum, order: Order
    ) -> GroupMeasurement:
        """Turn a slot's opened sum into counts, with the noise that is really in it."""
        values = from_ring(found.values, order.ring_bits) / 2**GRID_BITS
        variance = request.sigma2 * len(found.contributors) / order.slots[index].minimum
        measurement = Measurement(request.slots[index].clique, values, float(variance))
        return GroupMeasurement(measurement, frozenset(found.contributors))

    def _order(self, request: Collect) -> Order:
        index = {clique: number for number, clique in enumerate(self._candidates)}
        slots = [
            OrderSlot(
                index=index[slot.clique],
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

    def _ask(self, stage: Stage, number: int, bodies: Mapping[int, bytes]) -> dict[int, bytes]:
        answers = {h: self._exchange(stage, number, h, body) for h, body in bodies.items()}
        return {holder: answer for holder, answer in answers.items() if answer is not None}


def _ring_bits(n_max: int, sigma2: Fraction, slot: OrderSlot) -> int:
    """Return the bits that a noisy sum, in units of the grid, never overflows."""
    bound = gaussian_bound(noise_part(sigma2, slot.minimum))
    return ((n_max << GRID_BITS) + len(slot.holders) * bound).bit_length() + 1


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
