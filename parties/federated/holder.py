"""A data holder of the federated mode: bytes in, bytes out."""

import functools
from collections.abc import Mapping
from fractions import Fraction

from aim_core.counts.workload import Workload, closure, weights
from aim_core.domain import Clique, Domain
from aim_core.mechanisms.flaim_holder import FlaimHolder, Question, model_references
from aim_core.mechanisms.flaim_terms import Proportions
from aim_core.mechanisms.plaintext import Sampler
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.zcdp import PrivacyFilter
from mpc.aggregation.member import Contributor
from mpc.aggregation.parameters import to_ring
from mpc.arrays import Words
from mpc.noise.sources import SystemSampler
from mpc.steps.job import FRACTION_BITS
from parties.errors import RequestRefused
from parties.federated.messages import Choice, Order, QuestionHeader, Stage, decode_question
from parties.federated.noise import GRID_BITS, noise_part
from parties.wire.messages import parse


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
        sampler: Sampler | None = None,
        truths: Mapping[Clique, Proportions] | None = None,
    ) -> None:
        self.number = number
        self._workload, self._candidates = workload, closure(workload)
        self._table, self._truths = table, truths
        self._noise, self._budget = noise, PrivacyFilter(rho)
        self._sampler = sampler or SystemSampler()
        self._order: Order | None = None
        self._contributor: Contributor | None = None

    def __repr__(self) -> str:
        return f"FederatedHolder({self.number})"

    def answer(self, stage: Stage, body: bytes) -> bytes:
        """Answer one message of the server.

        Raises RequestRefused for what does not fit and BudgetExceeded for what was not agreed to.
        """
        match stage:
            case Stage.CHOOSE:
                return self.choose(body)
            case Stage.ADVERTISE:
                return self.advertise(body)
            case Stage.SHARE_KEYS:
                return self.share_keys(body)
            case Stage.CONTRIBUTE:
                return self.contribute(body)
            case Stage.UNMASK:
                return self.unmask(body)

    def choose(self, body: bytes) -> bytes:
        """Answer a question with this holder's choice of cliques; the choice is all it reveals.

        Raises RequestRefused for a question that does not fit and BudgetExceeded for one too many.
        """
        header, references, oneways = _read_question(body, self._workload.domain, self._candidates)
        candidates = tuple(self._candidates[index] for index in header.indices)
        question = Question(
            candidates=candidates,
            weights=weights(self._workload, candidates),
            selection_epsilon=Fraction(header.selection_epsilon),
            biases=tuple(header.biases),
            n_steps=header.n_steps,
            references=references,
            oneways=oneways or None,
            truths=self._truths,
        )
        self._budget.charge(header.n_steps * self._noise.select_rho(question.selection_epsilon))
        chosen = self._table.choose(question, self._sampler, FRACTION_BITS)
        return Choice(round=header.round, chosen=list(chosen)).model_dump_json().encode()

    def advertise(self, body: bytes) -> bytes:
        """Take an order and return the first message of its aggregation."""
        order = parse(Order, body)
        if self.number not in order.members:
            raise RequestRefused(f"holder {self.number} is no member of this aggregation")
        self._order = order
        self._contributor = Contributor(order.parameters(), self.number)
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

    def _vector(self, order: Order, number: int, sigma2: Fraction) -> Words:
        """Return a slot's marginal plus this holder's part of the noise, as ring elements."""
        slot = order.slots[number]
        exact = self._table.marginal(self._candidates[slot.index]) << GRID_BITS
        own = self._sampler.gaussian(len(exact), noise_part(sigma2, slot.minimum))
        return to_ring(exact + own, order.ring_bits)


@functools.lru_cache(maxsize=1)
def _read_question(
    body: bytes, domain: Domain, candidates: tuple[Clique, ...]
) -> tuple[QuestionHeader, tuple[Proportions, ...], Mapping[Clique, Proportions]]:
    """Decode a question. All holders of a round get the same bytes, so here it is done once."""
    header, model, oneways = decode_question(body, domain, candidates)
    asked = [candidates[index] for index in header.indices]
    return header, model_references(model, asked), oneways
